// SPDX-License-Identifier: Apache-2.0
//
// Folders: search order, shards, the sweeps over every truncation and every flipped bit, and the
// reference folders if they are there. The ids (S10, ...) are rows of our catalogue of hostile
// files.
#include "checkpoint/checkpoint.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstddef>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "support/checkpoint_writer.h"
#include "support/shared_files.h"
#include "support/status_is.h"
#include "support/temp_folder.h"

namespace codegen::checkpoint {
namespace {

using ::testing::ElementsAre;
using testing::IsOk;
using testing::Layout;
using ::testing::Pair;
using testing::SafetensorsFile;
using testing::ShardIndexFile;
using testing::StatusIs;
using testing::StoredTensors;
using testing::TempFolder;
using testing::TorchFile;
using enum absl::StatusCode;
using tensor::DType;

StoredTensors One(const std::string& name, float value) {
  return {{name, {.shape = {1}, .values = {value}}}};
}

// Opens the folder and reads all rows of all weights.
absl::Status ReadAll(const std::string& folder, FileFormats formats = {}) {
  const auto checkpoint = Checkpoint::Open(folder, formats);
  if (!checkpoint.ok()) return checkpoint.status();
  for (const auto& [name, entry] : checkpoint->tensors()) {
    if (!tensor::IsWeightType(entry.dtype) || entry.shape.empty() || entry.shape.size() > 2)
      continue;
    const auto reader = Checkpoint::OpenRows(entry);
    if (!reader.ok()) return reader.status();
    std::vector<float> out(static_cast<std::size_t>(entry.elements()));
    if (absl::Status status = (*reader)->Read(0, (*reader)->rows(), out); !status.ok())
      return status;
  }
  return absl::OkStatus();
}

// --- What is looked for ---

TEST(Checkpoint, TakesTheFirstOfItsSearchOrder) {
  const TempFolder folder;
  const std::vector<std::string> order = {"model.safetensors", "model.safetensors.index.json",
                                          "pytorch_model.bin", "pytorch_model.bin.index.json"};
  folder.Write("shard.safetensors", SafetensorsFile(One("w", 1)));
  folder.Write("shard.bin", TorchFile(One("w", 1)));
  folder.Write(order[0], SafetensorsFile(One("w", 1)));
  folder.Write(order[1], ShardIndexFile({{"w", "shard.safetensors"}}));
  folder.Write(order[2], TorchFile(One("w", 1)));
  folder.Write(order[3], ShardIndexFile({{"w", "shard.bin"}}));

  for (const std::string& name : order) {
    const auto checkpoint = Checkpoint::Open(folder.path(), {});
    ASSERT_THAT(checkpoint, IsOk());
    EXPECT_EQ(checkpoint->source(), name);
    std::filesystem::remove(folder.Path(name));
  }
}

TEST(Checkpoint, NeverFallsBackFromAFileThatIsBroken) {
  const TempFolder folder;
  folder.Write("model.safetensors", "broken");
  folder.Write("pytorch_model.bin", TorchFile(One("w", 1)));

  EXPECT_THAT(Checkpoint::Open(folder.path(), {}), StatusIs(kDataLoss, "model.safetensors"));
}

TEST(Checkpoint, NeverFallsBackFromALinkToNowhere) {
  const TempFolder folder;
  std::filesystem::create_symlink("missing-blob", folder.Path("model.safetensors"));
  folder.Write("pytorch_model.bin", TorchFile(One("w", 1)));

  EXPECT_THAT(Checkpoint::Open(folder.path(), {}), StatusIs(kNotFound, "model.safetensors"));
}

TEST(Checkpoint, FollowsLinksAsHubCachesNeed) {
  const TempFolder folder;
  folder.Write("blob", SafetensorsFile(One("w", 1)));
  std::filesystem::create_symlink("blob", folder.Path("model.safetensors"));

  EXPECT_THAT(Checkpoint::Open(folder.path(), {}), IsOk());
}

TEST(Checkpoint, SkipsAFormatThatIsSwitchedOff) {
  const TempFolder folder;
  folder.Write("model.safetensors", SafetensorsFile(One("w", 1)));
  folder.Write("pytorch_model.bin", TorchFile(One("w", 1)));

  EXPECT_EQ(Checkpoint::Open(folder.path(), {.safetensors = false})->source(), "pytorch_model.bin");
  EXPECT_EQ(Checkpoint::Open(folder.path(), {.torch_pickle = false})->source(),
            "model.safetensors");
}

TEST(Checkpoint, SaysThatAFileIsThereButItsFormatSwitchedOff) {
  const TempFolder folder;
  folder.Write("pytorch_model.bin", TorchFile(One("w", 1)));

  const auto checkpoint = Checkpoint::Open(folder.path(), {.torch_pickle = false});

  EXPECT_THAT(checkpoint, StatusIs(kNotFound, "looked for model.safetensors"));
  EXPECT_THAT(checkpoint, StatusIs(kNotFound, "pytorch_model.bin is there, but"));
}

TEST(Checkpoint, SaysWhatItLookedFor) {
  const TempFolder folder;

  EXPECT_THAT(Checkpoint::Open(folder.path(), {}),
              StatusIs(kNotFound,
                       "no weights found; looked for model.safetensors "
                       "model.safetensors.index.json pytorch_model.bin "
                       "pytorch_model.bin.index.json"));
  EXPECT_THAT(Checkpoint::Open(folder.path(), {.safetensors = false, .torch_pickle = false}),
              StatusIs(kNotFound, "allows no format"));
}

TEST(Checkpoint, RefusesAFolderThatIsNone) {
  const TempFolder folder;
  const std::string file = folder.Write("file", "");

  EXPECT_THAT(Checkpoint::Open(folder.Path("nowhere"), {}), StatusIs(kNotFound, "no such folder"));
  EXPECT_THAT(Checkpoint::Open("", {}), StatusIs(kNotFound));
  EXPECT_THAT(Checkpoint::Open(file, {}), StatusIs(kInvalidArgument, "file: not a folder"));
}

TEST(Checkpoint, S18RefusesWhatIsNoFile) {
  const TempFolder folder;
  ASSERT_EQ(::mkfifo(folder.Path("model.safetensors").c_str(), 0600), 0);
  EXPECT_THAT(Checkpoint::Open(folder.path(), {}), StatusIs(kInvalidArgument, "not a regular"));

  std::filesystem::remove(folder.Path("model.safetensors"));
  std::filesystem::create_directory(folder.Path("model.safetensors"));
  EXPECT_THAT(Checkpoint::Open(folder.path(), {}), StatusIs(kInvalidArgument, "not a regular"));
}

// --- Shards ---

TEST(Checkpoint, JoinsTheShardsOfAnIndex) {
  const TempFolder folder;
  folder.Write("1.bin", TorchFile(One("a", 1)));
  folder.Write("2.bin", TorchFile(One("b", 2)));
  folder.Write("pytorch_model.bin.index.json", ShardIndexFile({{"a", "1.bin"}, {"b", "2.bin"}}));

  const auto checkpoint = Checkpoint::Open(folder.path(), {});

  ASSERT_THAT(checkpoint, IsOk());
  ASSERT_EQ(checkpoint->tensors().size(), 2U);
  EXPECT_EQ(checkpoint->tensors().at("a").file->name(), "1.bin");
  EXPECT_EQ(checkpoint->tensors().at("b").file->name(), "2.bin");
}

TEST(Checkpoint, ListsTensorsThatTheIndexLeavesOut) {
  const TempFolder folder;
  folder.Write("1.bin", TorchFile({{"a", {.shape = {1}, .values = {1}}},
                                   {"inv_freq", {.shape = {1}, .values = {1}}}}));
  folder.Write("pytorch_model.bin.index.json", ShardIndexFile({{"a", "1.bin"}}));

  EXPECT_EQ(Checkpoint::Open(folder.path(), {})->tensors().size(), 2U);
}

TEST(Checkpoint, S10RefusesANameInTwoShards) {
  const TempFolder folder;
  folder.Write("1.safetensors", SafetensorsFile({{"a", {.shape = {1}, .values = {1}}},
                                                 {"b", {.shape = {1}, .values = {1}}}}));
  folder.Write("2.safetensors", SafetensorsFile(One("b", 2)));
  folder.Write("model.safetensors.index.json",
               ShardIndexFile({{"a", "1.safetensors"}, {"b", "2.safetensors"}}));

  EXPECT_THAT(
      Checkpoint::Open(folder.path(), {}),
      StatusIs(kInvalidArgument, "tensor \"b\" is in two files: 1.safetensors and 2.safetensors"));
}

TEST(Checkpoint, S16RefusesAShardOutsideTheFolder) {
  const TempFolder folder;
  folder.Write("model.safetensors.index.json", ShardIndexFile({{"w", "../secret"}}));

  EXPECT_THAT(Checkpoint::Open(folder.path(), {}),
              StatusIs(kInvalidArgument, "plain file name, found \"../secret\""));
}

TEST(Checkpoint, S19RefusesAMissingShard) {
  const TempFolder folder;
  folder.Write("model.safetensors.index.json", ShardIndexFile({{"w", "1.safetensors"}}));

  EXPECT_THAT(Checkpoint::Open(folder.path(), {}), StatusIs(kNotFound, "1.safetensors"));
}

TEST(Checkpoint, S19RefusesATensorThatIsNotInItsShard) {
  const TempFolder folder;
  folder.Write("1.safetensors", SafetensorsFile(One("a", 1)));
  folder.Write("2.safetensors", SafetensorsFile(One("b", 2)));
  const auto open = [&](const std::map<std::string, std::string>& file_of) {
    folder.Write("model.safetensors.index.json", ShardIndexFile(file_of));
    return Checkpoint::Open(folder.path(), {});
  };

  EXPECT_THAT(open({{"a", "2.safetensors"}, {"b", "1.safetensors"}}),
              StatusIs(kDataLoss,
                       "model.safetensors.index.json: tensor \"a\": expected in 2.safetensors, "
                       "found in 1.safetensors"));
  EXPECT_THAT(open({{"a", "1.safetensors"}, {"c", "2.safetensors"}}),
              StatusIs(kDataLoss, "tensor \"c\": expected in 2.safetensors, found in no shard"));
}

TEST(Checkpoint, ReadsAShardByTheFormatOfTheIndexWhateverItsName) {
  const TempFolder folder;
  folder.Write("1.safetensors", TorchFile(One("w", 1)));
  folder.Write("model.safetensors.index.json", ShardIndexFile({{"w", "1.safetensors"}}));

  EXPECT_THAT(Checkpoint::Open(folder.path(), {}), StatusIs(kDataLoss, "1.safetensors"));
}

// --- Sweeps ---

const StoredTensors& SmallModel() {
  static const StoredTensors tensors = {
      {"f32", {.shape = {2, 2}, .values = {1, 2, 3, 4}}},
      {"f16",
       {.shape = {2, 3},
        .values = {1, 2, 3, 4, 5, 6},
        .dtype = DType::kF16,
        .layout = Layout::kTransposed}},
      {"mask", {.shape = {1, 1, 1, 3}, .values = {1, 0, 1}, .dtype = DType::kBool}},
      {"bf16",
       {.shape = {3}, .values = {1, 2, 3}, .dtype = DType::kBf16, .layout = Layout::kParameter}},
  };
  return tensors;
}

StoredTensors PlainSmallModel() {
  StoredTensors tensors = SmallModel();
  tensors["f16"].layout = Layout::kPlain;
  return tensors;
}

// Cuts a file shorter byte by byte: reading the folder must say DATA_LOSS at every length.
void ExpectDataLossAtEveryLength(const TempFolder& folder, const std::string& name) {
  const std::string path = folder.Path(name);
  ASSERT_THAT(ReadAll(folder.path()), IsOk());
  for (std::uintmax_t length = std::filesystem::file_size(path); length-- > 0;) {
    std::filesystem::resize_file(path, length);
    ASSERT_THAT(ReadAll(folder.path()), StatusIs(kDataLoss, name)) << length;
  }
}

TEST(Checkpoint, S22RefusesEveryTruncationOfASafetensorsFile) {
  const TempFolder folder;
  folder.Write("model.safetensors", SafetensorsFile(PlainSmallModel()));

  ExpectDataLossAtEveryLength(folder, "model.safetensors");
}

TEST(Checkpoint, S22RefusesEveryTruncationOfATorchFile) {
  const TempFolder folder;
  folder.Write("pytorch_model.bin", TorchFile(SmallModel()));

  ExpectDataLossAtEveryLength(folder, "pytorch_model.bin");
}

TEST(Checkpoint, S22RefusesEveryTruncationOfAZip64TorchFile) {
  const TempFolder folder;
  folder.Write("pytorch_model.bin", TorchFile(SmallModel(), {.zip64 = true, .alignment = 8}));

  ExpectDataLossAtEveryLength(folder, "pytorch_model.bin");
}

TEST(Checkpoint, S22RefusesEveryTruncationOfAnIndex) {
  const TempFolder folder;
  folder.Write("1.safetensors", SafetensorsFile(One("a", 1)));
  folder.Write("model.safetensors.index.json", ShardIndexFile({{"a", "1.safetensors"}}));

  ExpectDataLossAtEveryLength(folder, "model.safetensors.index.json");
}

TEST(Checkpoint, S22RefusesEveryTruncationOfAShard) {
  const TempFolder folder;
  folder.Write("1.safetensors", SafetensorsFile(One("a", 1)));
  folder.Write("2.safetensors", SafetensorsFile(One("b", 1)));
  folder.Write("model.safetensors.index.json",
               ShardIndexFile({{"a", "1.safetensors"}, {"b", "2.safetensors"}}));

  ExpectDataLossAtEveryLength(folder, "2.safetensors");
}

// Flips every bit of a file in turn and reads the folder: any status will do. One byte is written
// in place: file systems flush a file that is written anew, which would take minutes.
void ReadWithEveryBitFlipped(const std::string& name, const std::string& bytes,
                             const TempFolder& folder = TempFolder()) {
  std::fstream file(folder.Write(name, bytes), std::ios::binary | std::ios::in | std::ios::out);
  const auto write = [&](std::size_t at, char byte) {
    file.seekp(static_cast<std::streamoff>(at)).put(byte).flush();
    ASSERT_TRUE(file.good());
  };
  int refused = 0;
  for (std::size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
    const char original = bytes[bit / 8];
    write(bit / 8, static_cast<char>(original ^ (1 << (bit % 8))));
    if (!ReadAll(folder.path()).ok()) ++refused;
    write(bit / 8, original);
  }
  EXPECT_GT(refused, 0);
}

TEST(Checkpoint, S23SurvivesEveryFlippedBitOfASafetensorsFile) {
  ReadWithEveryBitFlipped("model.safetensors", SafetensorsFile(PlainSmallModel()));
}

TEST(Checkpoint, S23SurvivesEveryFlippedBitOfATorchFile) {
  ReadWithEveryBitFlipped("pytorch_model.bin", TorchFile(SmallModel(), {.alignment = 1}));
}

TEST(Checkpoint, S23SurvivesEveryFlippedBitOfAZip64TorchFile) {
  ReadWithEveryBitFlipped("pytorch_model.bin",
                          TorchFile(One("w", 1), {.zip64 = true, .alignment = 1}));
}

TEST(Checkpoint, S23SurvivesEveryFlippedBitOfAnIndex) {
  const TempFolder folder;
  folder.Write("1.safetensors", SafetensorsFile(One("a", 1)));

  ReadWithEveryBitFlipped("model.safetensors.index.json", ShardIndexFile({{"a", "1.safetensors"}}),
                          folder);
}

// --- Reference folders ---

class GoldenFolder : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    folder_ = testing::SharedPath(fmt::format("golden/{}", GetParam()));
    if (folder_.empty()) GTEST_SKIP() << "no ../shared/golden/" << GetParam();
  }
  std::string folder_;
};

// Reads one element where the entry says it lies.
float ElementAt(const TensorEntry& entry, std::int64_t row, std::int64_t column) {
  const std::int64_t index = entry.shape.size() == 1
                                 ? column * entry.strides[0]
                                 : row * entry.strides[0] + column * entry.strides[1];
  const std::int64_t bytes = tensor::ItemBytes(entry.dtype);
  const std::string raw = *entry.file->ReadString(entry.file_offset + index * bytes, bytes);
  if (entry.dtype == DType::kF32) {
    float value = 0;
    std::memcpy(&value, raw.data(), sizeof(value));
    return value;
  }
  std::uint16_t bits = 0;
  std::memcpy(&bits, raw.data(), sizeof(bits));
  return entry.dtype == DType::kF16 ? tensor::FloatFromF16(bits) : tensor::FloatFromBf16(bits);
}

TEST_P(GoldenFolder, ReadsEveryElementWhereItsEntrySaysItLies) {
  const auto checkpoint = Checkpoint::Open(folder_, {});
  ASSERT_THAT(checkpoint, IsOk());

  for (const auto& [name, entry] : checkpoint->tensors()) {
    if (!tensor::IsWeightType(entry.dtype) || entry.shape.empty() || entry.shape.size() > 2)
      continue;
    const auto reader = Checkpoint::OpenRows(entry);
    ASSERT_THAT(reader, IsOk());
    std::vector<float> values(static_cast<std::size_t>(entry.elements()));
    ASSERT_THAT((*reader)->Read(0, (*reader)->rows(), values), IsOk());
    const std::int64_t columns = (*reader)->columns();
    for (std::int64_t i = 0; i < entry.elements(); i += 1 + i % 97) {
      ASSERT_EQ(values[static_cast<std::size_t>(i)], ElementAt(entry, i / columns, i % columns))
          << name << " element " << i;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, GoldenFolder,
                         ::testing::Values("codegen1-bin-f32", "codegen1-st-f16",
                                           "codegen1-bin-transposed-f16",
                                           "codegen1-d80-st-sharded-bf16",
                                           "codegen2-bin-sharded-f32", "llama-st-f32",
                                           "llama-bin-sharded-f16", "codegen1-text-bin-f16"),
                         [](const auto& param_info) {
                           std::string name = param_info.param;
                           for (char& c : name) c = c == '-' ? '_' : c;
                           return name;
                         });

absl::StatusOr<Checkpoint> OpenGolden(const std::string& name) {
  const std::string folder = testing::SharedPath("golden/" + name);
  if (folder.empty()) return absl::NotFoundError("not there");
  return Checkpoint::Open(folder, {});
}

// Whether the entry has this type, shape and strides.
::testing::AssertionResult Is(const TensorEntry& entry, DType dtype,
                              const std::vector<std::int64_t>& shape,
                              const std::vector<std::int64_t>& strides) {
  if (entry.dtype == dtype && entry.shape == shape && entry.strides == strides)
    return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure()
         << entry.name << ": " << tensor::DTypeName(entry.dtype) << " " << ShapeText(entry.shape)
         << " strides " << ShapeText(entry.strides);
}

TEST(CheckpointGolden, ListsCausalMasksThatShareOneStorage) {
  const auto checkpoint = OpenGolden("codegen1-bin-f32");
  if (!checkpoint.ok()) GTEST_SKIP() << checkpoint.status();
  const auto& tensors = checkpoint->tensors();

  EXPECT_EQ(tensors.size(), 32U);
  EXPECT_TRUE(Is(tensors.at("transformer.wte.weight"), DType::kF32, {512, 128}, {128, 1}));
  EXPECT_TRUE(Is(tensors.at("lm_head.bias"), DType::kF32, {512}, {1}));
  const TensorEntry& mask = tensors.at("transformer.h.0.attn.causal_mask");
  EXPECT_TRUE(Is(mask, DType::kBool, {1, 1, 64, 64}, {4096, 4096, 64, 1}));
  EXPECT_EQ(mask.file_offset, tensors.at("transformer.h.2.attn.causal_mask").file_offset);
}

TEST(CheckpointGolden, KeepsTransposedViews) {
  const auto checkpoint = OpenGolden("codegen1-bin-transposed-f16");
  if (!checkpoint.ok()) GTEST_SKIP() << checkpoint.status();
  const auto& tensors = checkpoint->tensors();

  EXPECT_EQ(tensors.size(), 35U);
  EXPECT_TRUE(
      Is(tensors.at("transformer.h.0.attn.qkv_proj.weight"), DType::kF16, {384, 128}, {1, 384}));
  EXPECT_TRUE(Is(tensors.at("transformer.wte.weight"), DType::kF16, {512, 128}, {1, 512}));
  EXPECT_TRUE(Is(tensors.at("transformer.h.0.attn.masked_bias"), DType::kF32, {}, {}));
}

TEST(CheckpointGolden, JoinsShardsOfBothFormats) {
  const auto safetensors = OpenGolden("codegen1-d80-st-sharded-bf16");
  const auto torch = OpenGolden("llama-bin-sharded-f16");
  if (!safetensors.ok() || !torch.ok()) GTEST_SKIP() << safetensors.status() << torch.status();

  EXPECT_EQ(safetensors->source(), "model.safetensors.index.json");
  EXPECT_EQ(safetensors->tensors().at("transformer.wte.weight").dtype, DType::kBf16);
  EXPECT_EQ(torch->source(), "pytorch_model.bin.index.json");
  EXPECT_EQ(torch->tensors().at("model.embed_tokens.weight").dtype, DType::kF16);
  EXPECT_TRUE(torch->tensors().contains("model.layers.0.self_attn.rotary_emb.inv_freq"));
}

}  // namespace
}  // namespace codegen::checkpoint
