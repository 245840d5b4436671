// SPDX-License-Identifier: Apache-2.0
#include "codegen/model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <functional>
#include <limits>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "api/tiny_models.h"
#include "codegen/benchmark.h"
#include "codegen/session.h"
#include "codegen/version.h"
#include "support/shared_files.h"
#include "support/sine_folder.h"
#include "support/status_is.h"

namespace codegen {
namespace {

using ::testing::HasSubstr;
using testing::Keep;
using testing::SafetensorsFile;
using testing::SineTensors;
using testing::StatusIs;
using testing::StoredTensors;
using testing::TempFolder;
using testing::TinyCodeGen;
using testing::WriteSineFolder;

std::string Message(const absl::StatusOr<Model>& model) {
  return std::string(model.status().message());
}

// Loads the tiny model after `change` to its tensors.
template <class Change>
absl::StatusOr<Model> LoadChanged(const Change& change) {
  TempFolder folder;
  WriteSineFolder(folder);
  StoredTensors tensors = SineTensors(TinyCodeGen(4));
  change(tensors);
  folder.Write("model.safetensors", SafetensorsFile(tensors));
  return Model::Load(folder.path(), {.threads = 1});
}

TEST(Model, DescribesTheShippedModel) {
  const absl::StatusOr<Model> model = Model::Load(testing::ShippedModel(), {.threads = 1});

  ASSERT_TRUE(model.ok()) << model.status();
  const ModelInfo& info = model->info();
  EXPECT_EQ(info.family, "codegen1");
  EXPECT_EQ(info.weights, WeightFormat::kF16);
  EXPECT_EQ(info.tokenizer, "byte-level-bpe");
  EXPECT_EQ(info.end_of_text, *model->tokenizer()->end_of_text());
  EXPECT_EQ(info.kv_bytes_per_token, 2 * 2 * info.layers * info.width);  // of bf16
  EXPECT_EQ(info.fingerprint.size(), 16U);
  EXPECT_EQ(info.parameters, model->memory().parameters);
  EXPECT_LE(info.weight_bytes, model->memory().f32_bytes);
}

TEST(Model, FingerprintFollowsValuesNotFormats) {
  TempFolder folder;
  WriteSineFolder(folder);
  const auto as_f32 = Model::Load(folder.path(), {.weights = WeightFormat::kF32, .threads = 1});
  const auto as_bf16 = Model::Load(folder.path(), {.weights = WeightFormat::kBf16, .threads = 2});
  const auto changed =
      LoadChanged([](StoredTensors& tensors) { tensors["lm_head.bias"].values[3] += 0.5F; });

  EXPECT_EQ(as_f32->info().fingerprint, as_bf16->info().fingerprint);
  EXPECT_NE(as_f32->info().fingerprint, changed->info().fingerprint);
  EXPECT_EQ(as_bf16->info().weights, WeightFormat::kBf16);
}

TEST(Model, LoadsTorchFilesToTheSameValues) {
  TempFolder safetensors, torch;
  WriteSineFolder(safetensors);
  WriteSineFolder(torch);
  StoredTensors tensors = SineTensors(TinyCodeGen(4));
  tensors["transformer.h.0.attn.qkv_proj.weight"].layout = testing::Layout::kTransposed;
  tensors["lm_head.weight"].layout = testing::Layout::kParameter;
  std::filesystem::remove(torch.Path("model.safetensors"));
  torch.Write("pytorch_model.bin", testing::TorchFile(tensors));

  const auto a = Model::Load(safetensors.path(), {.threads = 1});
  const auto b = Model::Load(torch.path(), {.threads = 1});

  ASSERT_TRUE(b.ok()) << b.status();
  EXPECT_EQ(a->info().fingerprint, b->info().fingerprint);
}

TEST(Model, ReportsProgressUpToTheEnd) {
  TempFolder folder;
  WriteSineFolder(folder);
  std::vector<LoadProgress> reports;
  const auto model = Model::Load(folder.path(), {.threads = 1, .progress = Keep(reports)});

  ASSERT_TRUE(model.ok());
  ASSERT_FALSE(reports.empty());
  EXPECT_EQ(reports.back().bytes_done, reports.back().bytes_total);
  EXPECT_EQ(reports.back().bytes_total, model->info().weight_bytes);
}

TEST(Model, L20ALoadCanBeCancelledAfterEveryMatrix) {
  TempFolder folder;
  WriteSineFolder(folder);
  TempFolder saved;
  ASSERT_TRUE(Model::Load(folder.path(), {.threads = 1})->Save(saved.path()).ok());
  for (const std::string& path : {folder.path(), saved.path()}) {
    std::vector<LoadProgress> all;
    ASSERT_TRUE(Model::Load(path, {.threads = 1, .progress = Keep(all)}).ok());
    for (std::size_t last = 1; last <= all.size(); ++last) {
      std::size_t reports = 0;
      const auto cancel = [&](const LoadProgress&) {
        return ++reports == last ? Next::kCancel : Next::kContinue;
      };

      const absl::Status status = Model::Load(path, {.threads = 1, .progress = cancel}).status();

      EXPECT_TRUE(absl::IsCancelled(status)) << status;
      EXPECT_EQ(reports, last) << "it went on";
    }
  }
}

TEST(Model, L20AProgressThatThrowsEndsTheLoad) {
  TempFolder folder;
  WriteSineFolder(folder);
  const auto load = [&](std::function<Next(const LoadProgress&)> progress) {
    return Model::Load(folder.path(), {.threads = 1, .progress = std::move(progress)}).status();
  };
  EXPECT_EQ(load([](const LoadProgress&) -> Next { throw std::runtime_error("enough"); }),
            absl::UnknownError("LoadOptions::progress threw: enough"));
  EXPECT_TRUE(absl::IsUnknown(load([](const LoadProgress&) -> Next { throw 42; })));
}

TEST(Model, C01SaysWhenTheFolderHasNoConfig) {
  const TempFolder folder;
  EXPECT_EQ(Model::Load(folder.path()).status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(Message(Model::Load(folder.path())), HasSubstr("config.json"));
  EXPECT_EQ(Model::Load("/nonexistent").status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(Message(Model::Load("/nonexistent")), HasSubstr("folder does not exist"));
}

TEST(Model, C09RefusesAConfigThatNeedsMoreMemoryThanThereIs) {
  TempFolder folder;
  folder.Write(
      "config.json",
      R"({"model_type": "codegen", "vocab_size": 51200, "n_positions": 2048, "n_embd": 1048576, "n_layer": 1000,
                   "n_head": 4096, "rotary_dim": 64})");
  const auto model = Model::Random(folder.path() + "/config.json");
  EXPECT_EQ(model.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(Message(model), HasSubstr("bytes of memory"));
}

TEST(Model, S12NamesAMissingTensor) {
  const auto model =
      LoadChanged([](StoredTensors& tensors) { tensors.erase("transformer.h.1.mlp.fc_in.bias"); });
  EXPECT_EQ(model.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(Message(model), HasSubstr("tensor \"transformer.h.1.mlp.fc_in.bias\" is missing"));
}

TEST(Model, S12NamesAnUnknownTensor) {
  const auto model = LoadChanged([](StoredTensors& tensors) {
    tensors["transformer.wpe.weight"] = tensors["lm_head.weight"];
  });
  EXPECT_EQ(model.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(Message(model), HasSubstr("transformer.wpe.weight"));
}

TEST(Model, S13ShowsBothShapes) {
  const auto model = LoadChanged([](StoredTensors& tensors) {
    tensors["lm_head.weight"].shape = {64, 13};
  });
  EXPECT_EQ(model.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(Message(model), HasSubstr("shape [64, 13], expected [13, 64]"));
}

TEST(Model, S14RefusesWeightsThatAreNotFinite) {
  const auto model = LoadChanged([](StoredTensors& tensors) {
    tensors["transformer.h.0.attn.out_proj.weight"].values[77] =
        std::numeric_limits<float>::quiet_NaN();
  });
  EXPECT_EQ(model.status().code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(Message(model), HasSubstr("transformer.h.0.attn.out_proj.weight"));
}

TEST(Model, G03ReportsLogitsThatAreNotFinite) {
  TempFolder folder;
  WriteSineFolder(folder);
  StoredTensors tensors = SineTensors(TinyCodeGen(4));
  tensors["lm_head.bias"].values[5] = std::numeric_limits<float>::quiet_NaN();
  folder.Write("model.safetensors", SafetensorsFile(tensors));
  const auto model = Model::Load(folder.path(), {.threads = 1, .check_finite = false});
  ASSERT_TRUE(model.ok()) << model.status();
  auto session = Session::Create(*model);

  EXPECT_EQ(session->Complete({.prompt_ids = {1, 2}}).status().code(), absl::StatusCode::kInternal);
  EXPECT_EQ(session->ScoreTokens(std::vector<TokenId>{1, 2}).status().code(),
            absl::StatusCode::kInternal);
}

TEST(Model, IgnoresTheBuffersOfPublishedFiles) {
  const auto model = LoadChanged([](StoredTensors& tensors) {
    tensors["transformer.h.0.attn.causal_mask"] = {
        .shape = {1, 1, 2, 2}, .values = {1, 0, 1, 1}, .dtype = tensor::DType::kBool};
    tensors["transformer.h.1.attn.masked_bias"] = {.shape = {}, .values = {-1e9F}};
  });
  EXPECT_TRUE(model.ok()) << model.status();
}

TEST(Model, RefusesOptionsOutOfRange) {
  TempFolder folder;
  WriteSineFolder(folder);
  EXPECT_THAT(Message(Model::Load(folder.path(), {.threads = -1})), HasSubstr("threads is -1"));
  EXPECT_THAT(Message(Model::Load(folder.path(), {.threads = 257})), HasSubstr("allowed 0 to 256"));
  EXPECT_THAT(Message(Model::Load(folder.path(), {.qkv_groups = -1})),
              HasSubstr("qkv_groups is -1"));
  EXPECT_THAT(Message(Model::Load(folder.path(), {.qkv_groups = 5})), HasSubstr("5 q,v,k groups"));
}

TEST(Device, IsTheCpuUnlessSaidOtherwise) {
  EXPECT_EQ(LoadOptions().device, Device::Cpu());
  EXPECT_EQ(testing::TinyModel().info().device, Device::Cpu());
}

TEST(Device, IsComparedByKindAndIndex) {
  EXPECT_EQ(Device::Cuda(), Device::Cuda(0));
  EXPECT_NE(Device::Cuda(0), Device::Cuda(1));
  EXPECT_NE(Device::Cuda(0), Device::Cpu());
}

TEST(Device, HasAName) {
  EXPECT_EQ(DeviceName(Device::Cpu()), "cpu");
  EXPECT_EQ(DeviceName(Device::Cuda()), "cuda:0");
  EXPECT_EQ(DeviceName(Device::Cuda(12)), "cuda:12");
}

TEST(Device, TheCpuHasNoNumberAndNoMemoryOfItsOwn) {
  const TempFolder folder;
  const auto load = [&](const LoadOptions& options) { return Model::Load(folder.path(), options); };
  using enum absl::StatusCode;

  EXPECT_THAT(load({.device = {.index = 1}}),
              StatusIs(kInvalidArgument, "LoadOptions::device.index is 1, must be 0 on the CPU"));
  EXPECT_THAT(load({.device_memory = 1}),
              StatusIs(kInvalidArgument, "LoadOptions::device_memory is 1, must be 0 on the CPU"));
  EXPECT_THAT(load({.device_memory = -1}), StatusIs(kInvalidArgument, "device_memory is -1"));
}

TEST(Device, IsTunedOnAGpuAndForAFileThatIsFilled) {
  const TempFolder folder;
  const auto load = [&](const LoadOptions& options) { return Model::Load(folder.path(), options); };
  using enum absl::StatusCode;

  EXPECT_THAT(load({.tuning = {.rows = 1}}),
              StatusIs(kInvalidArgument, "LoadOptions::tuning.rows is 1, must be 0 on the CPU"));
  for (const int rows : {-1, 8193}) {
    EXPECT_THAT(load({.device = Device::Cuda(3), .tuning = {.rows = rows}}),
                StatusIs(kInvalidArgument, "allowed 0 to 8192"));
  }
  EXPECT_THAT(load({.device = Device::Cuda(3), .deterministic = true, .tuning = {.rows = 512}}),
              StatusIs(kInvalidArgument, "must be 0 where LoadOptions::deterministic is set"));
  for (const Device device : {Device::Cpu(), Device::Cuda(3)}) {
    EXPECT_THAT(load({.device = device, .tuning = {.file = "file"}}),
                StatusIs(kInvalidArgument, "LoadOptions::tuning.file is given, but tuning.rows"));
  }
}

TEST(Device, IsDeterministicOnTheCpuWhateverIsAsked) {
  TempFolder folder;
  WriteSineFolder(folder);

  EXPECT_TRUE(Model::Load(folder.path(), {.deterministic = true, .threads = 1}).ok());
}

// Said before the device is looked for, so with and without one.
TEST(Device, AGpuRefusesWhatItCannotDo) {
  const TempFolder folder;
  const auto load = [&](LoadOptions options) {
    if (options.device == Device::Cpu()) options.device = Device::Cuda(3);
    return Model::Load(folder.path(), options);
  };
  using enum absl::StatusCode;

  EXPECT_THAT(load({.device = Device::Cuda(-1)}),
              StatusIs(kInvalidArgument, "LoadOptions::device.index is -1, must be at least 0"));
  EXPECT_THAT(load({.device_memory = -5}),
              StatusIs(kInvalidArgument, "LoadOptions::device_memory is -5, must be at least 0"));
  EXPECT_THAT(
      load({.cpu_features = CpuFeatures::kAvx2}),
      StatusIs(kInvalidArgument, "LoadOptions::cpu_features is avx2, must be auto on cuda:3"));
  EXPECT_THAT(load({.precision = ComputePrecision::kExact}),
              StatusIs(kUnimplemented, "LoadOptions::precision is exact, but cuda:3 multiplies"));
  EXPECT_THAT(load({.kv_cache = KvFormat::kF32}),
              StatusIs(kUnimplemented, "LoadOptions::kv_cache is f32, but cuda:3 holds"));
  EXPECT_THAT(load({.weights = WeightFormat::kInt4, .calibration = "text"}),
              StatusIs(kUnimplemented, "LoadOptions::calibration is for the CPU only, not cuda:3"));
}

TEST(Device, AGpuHoldsKeysAndValuesInBf16) {
  TempFolder folder;
  folder.Write("config.json", testing::ConfigJson(TinyCodeGen(4), 12));
  const auto kv_bytes = [&](const LoadOptions& options) {
    return Model::EstimateMemory(folder.path(), options)->kv_bytes_per_token;
  };

  EXPECT_EQ(kv_bytes({.device = Device::Cuda()}), kv_bytes({.kv_cache = KvFormat::kBf16}));
}

TEST(Model, FormatsCanBeSwitchedOff) {
  TempFolder folder;
  WriteSineFolder(folder);
  EXPECT_EQ(Model::Load(folder.path(), {.formats = {.safetensors = false}}).status().code(),
            absl::StatusCode::kNotFound);
}

TEST(Model, T03RefusesATokenizerLargerThanTheEmbedding) {
  TempFolder folder;
  WriteSineFolder(folder);
  const auto model =
      Model::Load(folder.path(), {.threads = 1, .tokenizer_folder = testing::ShippedModel()});
  EXPECT_EQ(model.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(Message(model), HasSubstr("embedding 13 rows"));
}

TEST(Model, RandomRunsAtAnyShape) {
  TempFolder folder;
  folder.Write(
      "config.json",
      R"({"model_type": "llama", "vocab_size": 50, "hidden_size": 48, "intermediate_size": 72,
    "num_hidden_layers": 2, "num_attention_heads": 3, "max_position_embeddings": 64, "rms_norm_eps": 1e-6})");
  const auto model = Model::Random(folder.path() + "/config.json", {.threads = 1});
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(model->info().weights, WeightFormat::kBf16);
  EXPECT_EQ(
      Session::Create(*model)->Complete({.prompt_ids = {1}, .max_new_tokens = 5})->token_ids.size(),
      5U);
}

TEST(Model, EstimatesFromTheConfigAlone) {
  TempFolder folder;
  folder.Write("config.json", testing::ConfigJson(TinyCodeGen(4), 12));
  const auto estimate = Model::EstimateMemory(folder.path());
  ASSERT_TRUE(estimate.ok());
  EXPECT_EQ(estimate->f32_bytes, 4 * estimate->parameters);
}

TEST(Benchmark, MeasuresEveryCase) {
  const auto model = Model::Load(testing::ShippedModel(), {.threads = 2});
  double last = 0;

  const auto result = RunBenchmark(*model, {.prompt_tokens = {16, 33},
                                            .new_tokens = 2,
                                            .batch = {1, 3},
                                            .progress = [&](double share) { last = share; }});

  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->machine.threads, 2);
  EXPECT_GT(result->machine.read_gb_s, 0);
  ASSERT_EQ(result->prefill.size(), 2U);
  EXPECT_GT(result->prefill[1].tok_s, 0);
  ASSERT_EQ(result->decode.size(), 2U);
  EXPECT_EQ(result->decode[1].batch, 3);
  EXPECT_EQ(result->decode[1].context, 16);
  EXPECT_DOUBLE_EQ(last, 1);
}

TEST(Benchmark, RefusesOptionsOutOfRange) {
  const auto model = Model::Load(testing::ShippedModel(), {.threads = 1});
  for (const BenchmarkOptions& options :
       {BenchmarkOptions{.prompt_tokens = {}}, BenchmarkOptions{.prompt_tokens = {0}},
        BenchmarkOptions{.prompt_tokens = {100'000}}, BenchmarkOptions{.new_tokens = 0},
        BenchmarkOptions{.batch = {}}, BenchmarkOptions{.batch = {0}}}) {
    EXPECT_EQ(RunBenchmark(*model, options).status().code(), absl::StatusCode::kInvalidArgument);
  }
}

TEST(Version, NamesTheLibrary) {
  EXPECT_EQ(std::string(Version()), std::to_string(CODEGEN_VERSION_MAJOR) + "." +
                                        std::to_string(CODEGEN_VERSION_MINOR) + "." +
                                        std::to_string(CODEGEN_VERSION_PATCH));
}

}  // namespace
}  // namespace codegen
