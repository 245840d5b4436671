// SPDX-License-Identifier: Apache-2.0
//
// A saved model is the model that was saved, to the bit. What a damaged or hostile saved folder
// gives is in saved_folder_test.cc.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <filesystem>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "api/tiny_models.h"
#include "base/file.h"
#include "codegen/model.h"
#include "codegen/session.h"
#include "support/shared_files.h"
#include "support/sine_folder.h"
#include "support/status_is.h"

namespace codegen {
namespace {

using ::testing::Combine;
using testing::IsOk;
using testing::Keep;
using testing::StatusIs;
using testing::TempFolder;
using testing::TinyCodeGen;
using testing::TinyLlama;
using ::testing::Values;
using testing::WriteSineFolder;
using enum absl::StatusCode;

// Log-probabilities of a text, then a greedy completion of its beginning.
std::tuple<std::vector<float>, std::vector<TokenId>> Answers(const Model& model) {
  auto session = Session::Create(model);
  const std::vector<TokenId> text = {3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3, 2};
  const auto score = session->ScoreTokens(text);
  EXPECT_THAT(score, IsOk());
  const auto completion = session->Complete(
      {.prompt_ids = {3, 1, 4}, .max_new_tokens = 20, .stop = {.ignore_eos = true}});
  EXPECT_THAT(completion, IsOk());
  return {score->logprobs, completion->token_ids};
}

void ExpectSameInfo(const ModelInfo& a, const ModelInfo& b) {
  EXPECT_EQ(a.family, b.family);
  EXPECT_EQ(a.qkv_groups, b.qkv_groups);
  EXPECT_EQ(a.parameters, b.parameters);
  EXPECT_EQ(a.weights, b.weights);
  EXPECT_EQ(a.head_weights, b.head_weights);
  EXPECT_EQ(a.weight_bytes, b.weight_bytes);
  EXPECT_EQ(a.kv_bytes_per_token, b.kv_bytes_per_token);
  EXPECT_EQ(a.end_of_text, b.end_of_text);
  EXPECT_EQ(a.tokenizer, b.tokenizer);
  EXPECT_EQ(a.fingerprint, b.fingerprint);
  EXPECT_EQ(a.warnings, b.warnings);
}

// Saves what `options` make of `original`, removes the original, and loads what was saved.
void ExpectSurvives(std::unique_ptr<TempFolder> original, const LoadOptions& options) {
  const TempFolder saved;
  const auto before = Model::Load(original->path(), options);
  ASSERT_THAT(before, IsOk());
  ASSERT_THAT(before->Save(saved.path()), IsOk());
  original.reset();

  const auto after = Model::Load(saved.path(), {.threads = 2});

  ASSERT_THAT(after, IsOk());
  ExpectSameInfo(before->info(), after->info());
  EXPECT_EQ(Answers(*before), Answers(*after));
}

std::unique_ptr<TempFolder> SineFolder(const model::ModelConfig& config) {
  auto folder = std::make_unique<TempFolder>();
  WriteSineFolder(*folder, config);
  return folder;
}

std::string BytesOf(const TempFolder& folder, const std::string& name) {
  return *base::ReadFile(folder.Path(name), 1 << 30);
}

std::vector<std::string> FilesIn(const TempFolder& folder) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder.path()))
    names.push_back(entry.path().filename());
  std::ranges::sort(names);
  return names;
}

class SaveFormat
    : public ::testing::TestWithParam<std::tuple<model::Architecture, WeightFormat, WeightFormat>> {
};

TEST_P(SaveFormat, LoadsAgainBitForBit) {
  const auto [architecture, weights, head_weights] = GetParam();
  const bool llama = architecture == model::Architecture::kLlama;

  ExpectSurvives(SineFolder(llama ? TinyLlama() : TinyCodeGen(4)),
                 {.weights = weights, .head_weights = head_weights, .threads = 3});
}

std::string NameOf(const ::testing::TestParamInfo<SaveFormat::ParamType>& info) {
  const auto [architecture, weights, head_weights] = info.param;
  return fmt::format("{}_{}_{}", architecture == model::Architecture::kLlama ? "Llama" : "CodeGen",
                     WeightFormatName(weights), WeightFormatName(head_weights));
}

constexpr auto kCodeGen = model::Architecture::kCodeGen;
constexpr auto kLlama = model::Architecture::kLlama;
using enum WeightFormat;
INSTANTIATE_TEST_SUITE_P(Every, SaveFormat,
                         Combine(Values(kCodeGen, kLlama),
                                 Values(kAuto, kF32, kBf16, kF16, kInt8, kInt4), Values(kAuto)),
                         NameOf);
INSTANTIATE_TEST_SUITE_P(Mixed, SaveFormat,
                         Values(std::tuple(kCodeGen, kInt4, kInt4),
                                std::tuple(kLlama, kBf16, kInt8),
                                std::tuple(kCodeGen, kInt8, kF32)),
                         NameOf);

TEST(Save, KeepsFormatsThatDifferWithinTheBlocks) {
  auto folder = SineFolder(TinyLlama());
  testing::StoredTensors tensors = testing::SineTensors(TinyLlama());
  tensors["model.layers.0.self_attn.q_proj.weight"].dtype = tensor::DType::kBf16;  // becomes f32
  tensors["model.layers.1.mlp.down_proj.weight"].dtype = tensor::DType::kF16;
  tensors["lm_head.weight"].dtype = tensor::DType::kBf16;
  folder->Write("model.safetensors", testing::SafetensorsFile(tensors));
  const TempFolder saved;
  const auto before = Model::Load(folder->path(), {.threads = 1});
  ASSERT_THAT(before, IsOk());

  ASSERT_THAT(before->Save(saved.path()), IsOk());

  const auto after = Model::Load(saved.path(), {.threads = 1});
  ASSERT_THAT(after, IsOk());
  EXPECT_EQ(after->info().head_weights, kBf16);
  EXPECT_EQ(Answers(*before), Answers(*after));
}

TEST(Save, WritesTheSameFilesAgain) {
  const auto folder = SineFolder(TinyCodeGen(4));
  const TempFolder first, second;
  const auto model = Model::Load(folder->path(), {.weights = kInt8, .threads = 1});
  ASSERT_THAT(model->Save(first.path()), IsOk());

  ASSERT_THAT(Model::Load(first.path(), {.threads = 2})->Save(second.path()), IsOk());

  EXPECT_EQ(FilesIn(second), (std::vector<std::string>{"config.json", "model.safetensors"}));
  EXPECT_EQ(BytesOf(first, "config.json"), BytesOf(*folder, "config.json"));
  EXPECT_EQ(BytesOf(first, "model.safetensors"), BytesOf(second, "model.safetensors"));
}

TEST(Save, MakesTheFolder) {
  const auto folder = SineFolder(TinyCodeGen(4));
  const TempFolder around;

  EXPECT_THAT(Model::Load(folder->path(), {.threads = 1})->Save(around.Path("a/b")), IsOk());

  EXPECT_THAT(Model::Load(around.Path("a/b"), {.threads = 1}), IsOk());
}

TEST(Save, ReportsProgressOfTheSavedModel) {
  const auto folder = SineFolder(TinyLlama());
  const TempFolder saved;
  ASSERT_THAT(Model::Load(folder->path(), {.weights = kInt4})->Save(saved.path()), IsOk());
  std::vector<LoadProgress> reports;

  const auto model = Model::Load(saved.path(), {.progress = Keep(reports)});

  ASSERT_THAT(model, IsOk());
  ASSERT_FALSE(reports.empty());
  EXPECT_EQ(reports.back().bytes_done, reports.back().bytes_total);
}

TEST(Save, TakesTheTokenizerAlong) {
  auto original = std::make_unique<TempFolder>();
  std::filesystem::copy(testing::ShippedModel(), original->path(),
                        std::filesystem::copy_options::recursive);
  const auto before = Model::Load(original->path(), {.weights = kInt8, .threads = 2});
  ASSERT_THAT(before, IsOk());
  const TempFolder saved;
  ASSERT_THAT(before->Save(saved.path()), IsOk());
  original.reset();

  const auto after = Model::Load(saved.path(), {.threads = 2});

  ASSERT_THAT(after, IsOk());
  ExpectSameInfo(before->info(), after->info());
  const Request request = {.prompt = "def add(a, b):", .max_new_tokens = 16};
  EXPECT_EQ(Session::Create(*before)->Complete(request)->text,
            Session::Create(*after)->Complete(request)->text);
}

TEST(Save, TakesATokenizerOfAnotherFolderAlong) {
  TempFolder weights, saved;
  std::filesystem::copy(testing::ShippedModel(), weights.path());
  std::filesystem::remove(weights.Path("tokenizer.json"));
  const auto before =
      Model::Load(weights.path(), {.threads = 1, .tokenizer_folder = testing::ShippedModel()});
  ASSERT_THAT(before, IsOk());

  ASSERT_THAT(before->Save(saved.path()), IsOk());

  const auto after = Model::Load(saved.path(), {.threads = 1});
  ASSERT_THAT(after, IsOk());
  ExpectSameInfo(before->info(), after->info());
}

TEST(Save, SaysThatTheTokenizerIsGone) {
  auto original = std::make_unique<TempFolder>();
  std::filesystem::copy(testing::ShippedModel(), original->path());
  const auto model = Model::Load(original->path(), {.threads = 1});
  ASSERT_THAT(model, IsOk());
  original.reset();
  const TempFolder saved;

  EXPECT_THAT(model->Save(saved.path()), StatusIs(kNotFound, "tokenizer"));

  EXPECT_THAT(FilesIn(saved), ::testing::IsEmpty());
}

TEST(Save, PublishedGpt2FilesMakeCodeGen25Again) {
  const std::string gpt2 = testing::SharedPath("data/tokenizers/codegen2");
  CODEGEN_SKIP_WITHOUT(gpt2);
  model::ModelConfig config = TinyLlama();
  config.vocabulary = 51200;
  config.width = 16;
  config.heads.count = 2;
  config.inner = 16;
  const auto folder = SineFolder(config);
  const TempFolder saved;
  const auto before = Model::Load(folder->path(), {.threads = 1, .tokenizer_folder = gpt2});
  ASSERT_THAT(before, IsOk());
  ASSERT_EQ(before->info().tokenizer, "codegen2.5");
  ASSERT_THAT(before->Save(saved.path()), IsOk());

  const auto after = Model::Load(saved.path(), {.threads = 1});

  ASSERT_THAT(after, IsOk());
  ExpectSameInfo(before->info(), after->info());
  EXPECT_EQ(*before->tokenizer()->Encode("def f():\n    return"),
            *after->tokenizer()->Encode("def f():\n    return"));
}

TEST(Save, RemembersTheGroupsThatNoConfigTells) {
  const auto folder = SineFolder(TinyCodeGen(4));
  const TempFolder saved;
  const auto before = Model::Load(folder->path(), {.threads = 1, .qkv_groups = 8});
  ASSERT_THAT(before->Save(saved.path()), IsOk());

  const auto after = Model::Load(saved.path(), {.threads = 1});

  ASSERT_THAT(after, IsOk());
  ExpectSameInfo(before->info(), after->info());
  EXPECT_EQ(Answers(*before), Answers(*after));
  EXPECT_THAT(Model::Load(saved.path(), {.qkv_groups = 8}), IsOk());
  EXPECT_THAT(
      Model::Load(saved.path(), {.qkv_groups = 4}),
      StatusIs(kInvalidArgument, "qkv_groups is 4, but the folder holds a model saved with 8"));
}

TEST(Save, KeepsItsFormat) {
  const auto folder = SineFolder(TinyCodeGen(4));
  const TempFolder saved;
  ASSERT_THAT(Model::Load(folder->path(), {.weights = kInt4})->Save(saved.path()), IsOk());

  EXPECT_THAT(Model::Load(saved.path(), {.weights = kInt4, .head_weights = kInt8}), IsOk());
  EXPECT_THAT(
      Model::Load(saved.path(), {.weights = kInt8}),
      StatusIs(kInvalidArgument, "weights is int8, but the folder holds a model saved with int4"));
  EXPECT_THAT(Model::Load(saved.path(), {.head_weights = kBf16}),
              StatusIs(kInvalidArgument, "head_weights is bf16"));
}

TEST(Save, RefusesARandomModel) {
  const auto folder = SineFolder(TinyCodeGen(4));
  const TempFolder saved;

  EXPECT_THAT(Model::Random(folder->Path("config.json"), {.threads = 1})->Save(saved.path()),
              StatusIs(kFailedPrecondition, "Random"));
}

TEST(Save, RefusesAFolderThatHoldsAModel) {
  const auto folder = SineFolder(TinyCodeGen(4));
  const auto model = Model::Load(folder->path(), {.threads = 1});
  for (const char* name : {"model.safetensors", "model.safetensors.index.json", "pytorch_model.bin",
                           "pytorch_model.bin.index.json"}) {
    const TempFolder saved;
    saved.Write(name, "mine");

    EXPECT_THAT(model->Save(saved.path()), StatusIs(kFailedPrecondition, name));

    EXPECT_EQ(FilesIn(saved), std::vector<std::string>{name});
    EXPECT_EQ(BytesOf(saved, name), "mine");
  }
}

TEST(Save, WritesOverNothing) {
  const auto folder = SineFolder(TinyCodeGen(4));
  const auto model = Model::Load(folder->path(), {.threads = 1});
  const TempFolder config, tokenizer;
  config.Write("config.json", "{}");
  tokenizer.Write("merges.txt", "a b\n");

  EXPECT_THAT(model->Save(config.path()), StatusIs(kFailedPrecondition, "config.json"));
  EXPECT_THAT(model->Save(tokenizer.path()), StatusIs(kFailedPrecondition, "merges.txt"));

  EXPECT_EQ(FilesIn(config), std::vector<std::string>{"config.json"});
  EXPECT_EQ(FilesIn(tokenizer), std::vector<std::string>{"merges.txt"});
}

TEST(Save, RefusesAFolderThatCannotBe) {
  const auto folder = SineFolder(TinyCodeGen(4));
  const auto model = Model::Load(folder->path(), {.threads = 1});

  EXPECT_THAT(model->Save(folder->Path("config.json")), StatusIs(kFailedPrecondition));
  EXPECT_THAT(model->Save(folder->Path("config.json/below")), StatusIs(kFailedPrecondition));
  EXPECT_THAT(model->Save("/proc/self/none"), StatusIs(kNotFound));
  EXPECT_THAT(model->Save(""), StatusIs(kInvalidArgument));
}

TEST(Save, LeavesNoModelOnAFullDiskAndMayBeTriedAgain) {
  const auto folder = SineFolder(TinyCodeGen(4));
  const auto model = Model::Load(folder->path(), {.threads = 1});
  const TempFolder saved;
  const auto ignored = std::signal(SIGXFSZ, SIG_IGN);
  rlimit before = {};
  getrlimit(RLIMIT_FSIZE, &before);
  rlimit tight = before;
  tight.rlim_cur = 20'000;
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &tight), 0);

  const absl::Status status = model->Save(saved.path());

  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, ignored);
  EXPECT_THAT(status, StatusIs(kResourceExhausted, "model.safetensors"));
  EXPECT_EQ(FilesIn(saved), std::vector<std::string>{"config.json"});
  EXPECT_THAT(model->Save(saved.path()), IsOk());
}

}  // namespace
}  // namespace codegen
