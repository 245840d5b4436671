// SPDX-License-Identifier: Apache-2.0
//
// What Load makes of a saved folder that somebody changed: an error that names the field or tensor,
// never a crash, and never a model that is not the saved one.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "checkpoint/checkpoint.h"
#include "codegen/model.h"
#include "codegen/session.h"
#include "quant/format.h"
#include "support/sine_folder.h"
#include "support/status_is.h"

namespace codegen {
namespace {

using ::testing::AnyOf;
using testing::IsOk;
using testing::SafetensorsBytes;
using testing::StatusIs;
using testing::TempFolder;
using testing::TinyCodeGen;
using testing::WriteSineFolder;
using enum absl::StatusCode;

// The tiny CodeGen model, saved, and its bytes to change.
class SavedFolder {
 public:
  explicit SavedFolder(WeightFormat format) {
    TempFolder original;
    WriteSineFolder(original);
    const auto model = Model::Load(original.path(), {.weights = format, .threads = 1});
    EXPECT_THAT(model->Save(folder_.path()), IsOk());
    bytes_ = *base::ReadFile(folder_.Path("model.safetensors"), 1 << 30);
    std::uint64_t header_bytes = 0;
    std::memcpy(&header_bytes, bytes_.data(), sizeof(header_bytes));
    data_begin_ = 8 + static_cast<std::size_t>(header_bytes);
  }

  std::string header() const { return bytes_.substr(8, data_begin_ - 8); }
  std::string data() const { return bytes_.substr(data_begin_); }
  const std::string& bytes() const { return bytes_; }
  std::size_t data_begin() const { return data_begin_; }

  absl::StatusOr<Model> LoadBytes(std::string_view bytes, LoadOptions options = {}) const {
    folder_.Write("model.safetensors", bytes);
    options.threads = 1;
    return Model::Load(folder_.path(), options);
  }

  // With every `from` of the header replaced.
  absl::StatusOr<Model> LoadWith(const std::string& from, const std::string& to) const {
    std::string changed = header();
    EXPECT_NE(changed.find(from), std::string::npos) << from;
    for (std::size_t at = 0; (at = changed.find(from, at)) != std::string::npos; at += to.size())
      changed.replace(at, from.size(), to);
    return LoadBytes(SafetensorsBytes(changed, data()));
  }

  // With `value` as the `index`-th element of a tensor.
  template <class T>
  absl::StatusOr<Model> LoadWithElement(const std::string& tensor, std::size_t index, T value,
                                        const LoadOptions& options = {}) const {
    folder_.Write("model.safetensors", bytes_);
    const auto checkpoint = checkpoint::Checkpoint::Open(folder_.path(), {});
    const auto offset = static_cast<std::size_t>(checkpoint->tensors().at(tensor).file_offset);
    std::string changed = bytes_;
    std::memcpy(changed.data() + offset + index * sizeof(T), &value, sizeof(T));
    return LoadBytes(changed, options);
  }

  const TempFolder& folder() const { return folder_; }

 private:
  TempFolder folder_;
  std::string bytes_;
  std::size_t data_begin_ = 0;
};

TEST(SavedFolder, IsAlignedAndOrdered) {
  const SavedFolder saved(WeightFormat::kInt8);

  EXPECT_EQ(saved.data_begin() % 64, 0U);
  EXPECT_LT(saved.header().find("\"embedding.int8\""),
            saved.header().find("\"blocks.0.norm.gain\""));
  EXPECT_LT(saved.header().find("\"blocks.0.qkv.scales\""), saved.header().find("\"head.bias\""));
}

TEST(SavedFolder, S22RefusesEveryTruncation) {
  const SavedFolder saved(WeightFormat::kInt4);
  const std::size_t size = saved.bytes().size();
  std::vector<std::size_t> lengths = {
      0, 1, 7, 8, 9, saved.data_begin() - 1, saved.data_begin(), size - 1};
  for (std::size_t length = 13; length < size; length += length < saved.data_begin() ? 61 : 997)
    lengths.push_back(length);

  for (const std::size_t length : lengths) {
    EXPECT_THAT(saved.LoadBytes(saved.bytes().substr(0, length)), StatusIs(kDataLoss)) << length;
  }
  EXPECT_THAT(saved.LoadBytes(saved.bytes() + "x"), StatusIs(kDataLoss));
  EXPECT_THAT(saved.LoadBytes(saved.bytes()), IsOk());
}

TEST(SavedFolder, S23SurvivesFlippedBitsInItsHeader) {
  const SavedFolder saved(WeightFormat::kInt8);
  for (std::size_t i = 0; i < saved.data_begin(); i += 3) {
    std::string changed = saved.bytes();
    changed[i] = static_cast<char>(changed[i] ^ (1 << (i % 8)));
    const auto model = saved.LoadBytes(changed);
    EXPECT_THAT(model, AnyOf(IsOk(), StatusIs(kDataLoss), StatusIs(kInvalidArgument),
                             StatusIs(kUnimplemented), StatusIs(kResourceExhausted)))
        << i;
  }
}

TEST(SavedFolder, NamesTheFieldThatIsMissing) {
  const SavedFolder saved(WeightFormat::kInt8);
  for (const std::string key :
       {"layout", "weights", "head_weights", "fingerprint", "qkv_groups", "tokenizer"}) {
    EXPECT_THAT(saved.LoadWith("\"codegen." + key + "\"", "\"" + key + "\""),
                StatusIs(kDataLoss, "metadata lacks \"codegen." + key + "\""));
  }
}

TEST(SavedFolder, NamesTheFieldThatIsWrong) {
  const SavedFolder saved(WeightFormat::kInt8);
  const std::string weights = R"("codegen.weights":"int8")";
  const std::string head = R"("codegen.head_weights":"int8")";
  const std::string groups = R"("codegen.qkv_groups":"4")";
  const std::string tokenizer = R"("codegen.tokenizer":"none")";

  EXPECT_THAT(
      saved.LoadWith(weights, R"("codegen.weights":"int7")"),
      StatusIs(kDataLoss,
               R"("codegen.weights": expected auto, f32, bf16, f16, int8 or int4, found "int7")"));
  EXPECT_THAT(saved.LoadWith(weights, R"("codegen.weights":"bf16")"),
              StatusIs(kInvalidArgument, "\"codegen.weights\" is bf16, the tensors are int8"));
  EXPECT_THAT(saved.LoadWith(head, R"("codegen.head_weights":"f32")"),
              StatusIs(kInvalidArgument, "\"codegen.head_weights\" is f32, the tensors are int8"));
  EXPECT_THAT(saved.LoadWith(R"("codegen.fingerprint":")", R"("codegen.fingerprint":"0)"),
              StatusIs(kDataLoss, "codegen.fingerprint"));
  for (const char* wrong : {"", "-4", "4x", " 4", "99999999999999999999", "1048577"}) {
    EXPECT_THAT(saved.LoadWith(groups, fmt::format(R"("codegen.qkv_groups":"{}")", wrong)),
                StatusIs(kDataLoss, "codegen.qkv_groups"))
        << wrong;
  }
  EXPECT_THAT(saved.LoadWith(groups, R"("codegen.qkv_groups":"3")"),
              StatusIs(kInvalidArgument, "3 q,v,k groups"));
  EXPECT_THAT(saved.LoadWith(tokenizer, R"("codegen.tokenizer":"code")"),
              StatusIs(kDataLoss, "codegen.tokenizer"));
  EXPECT_THAT(saved.LoadWith(tokenizer, R"("codegen.tokenizer":"files")"),
              StatusIs(kNotFound, "tokenizer.json"));
}

TEST(SavedFolder, RefusesWhatLaterVersionsMayWrite) {
  const SavedFolder saved(WeightFormat::kInt8);

  EXPECT_THAT(
      saved.LoadWith("panels16-v1", "panels16-v2"),
      StatusIs(kUnimplemented, R"(layout "panels16-v2", this version reads "panels16-v1")"));
  EXPECT_THAT(saved.LoadWith(R"("format":"codegen")", R"("format":"codegen","codegen.new":"1")"),
              StatusIs(kUnimplemented, "codegen."));
}

TEST(SavedFolder, IsNoPublishedModelUnderAnotherFormat) {
  const SavedFolder saved(WeightFormat::kInt8);

  EXPECT_THAT(saved.LoadWith(R"("format":"codegen")", R"("format":"pt")"),
              StatusIs(kInvalidArgument, "is missing"));
}

TEST(SavedFolder, S12NamesAMissingTensor) {
  const SavedFolder saved(WeightFormat::kInt8);

  EXPECT_THAT(saved.LoadWith("blocks.1.qkv.int8", "blocks.1.qkv.int9"),
              StatusIs(kInvalidArgument, "tensor \"blocks.1.qkv.FORMAT\" is missing"));
  EXPECT_THAT(saved.LoadWith("blocks.1.qkv.int8", "blocks.2.qkv.int8"),
              StatusIs(kInvalidArgument, "tensor \"blocks.1.qkv.FORMAT\" is missing"));
  EXPECT_THAT(
      saved.LoadWith("blocks.0.norm.bias", "blocks.0.norm.bios"),
      StatusIs(kInvalidArgument, "tensor \"blocks.0.norm.bias\" is missing, expected F32 [64]"));
  EXPECT_THAT(saved.LoadWith("blocks.0.up.scales", "blocks.0.up.scale"),
              StatusIs(kInvalidArgument, "tensor \"blocks.0.up.scales\" is missing"));
}

TEST(SavedFolder, S12NamesAnUnknownTensor) {
  const SavedFolder saved(WeightFormat::kInt8);
  const std::string data = saved.data();
  for (const char* name : {"extra", "blocks.0.qkv.bf16", "blocks.2.norm.gain"}) {
    std::string header = saved.header();
    header.erase(header.find_last_of('}'));
    header += fmt::format(R"(,"{}":{{"dtype":"U8","shape":[4],"data_offsets":[{},{}]}}}})", name,
                          data.size(), data.size() + 4);

    EXPECT_THAT(saved.LoadBytes(SafetensorsBytes(header, data + "1234")),
                StatusIs(kInvalidArgument, name));
  }
}

TEST(SavedFolder, S13ShowsBothShapes) {
  const SavedFolder saved(WeightFormat::kInt8);
  const std::string bias = R"("head.bias":{"dtype":"F32","shape":[13])";

  EXPECT_THAT(
      saved.LoadWith(bias, R"("head.bias":{"dtype":"I32","shape":[13])"),
      StatusIs(kInvalidArgument, "\"head.bias\": I32 [13], expected F32 [13] by config.json"));
  EXPECT_THAT(saved.LoadWith(bias, R"("head.bias":{"dtype":"F32","shape":[1,13])"),
              StatusIs(kInvalidArgument, "F32 [1, 13], expected F32 [13]"));
  EXPECT_THAT(saved.LoadWith(bias, R"("head.bias":{"dtype":"F32","shape":[14])"),
              StatusIs(kDataLoss, "head.bias"));
  EXPECT_THAT(saved.LoadWith("blocks.0.qkv.int8", "blocks.0.qkv.f16"), StatusIs(kInvalidArgument));
}

TEST(SavedFolder, S13HoldsTheConfigAgainstTheTensors) {
  const SavedFolder saved(WeightFormat::kInt8);
  model::ModelConfig config = TinyCodeGen(4);
  config.vocabulary = 14;
  saved.folder().Write("config.json", testing::ConfigJson(config, 12));
  EXPECT_THAT(saved.LoadBytes(saved.bytes()), StatusIs(kInvalidArgument, "embedding.int8"));
  config = TinyCodeGen(4);
  config.layers = 1;
  saved.folder().Write("config.json", testing::ConfigJson(config, 12));
  EXPECT_THAT(saved.LoadBytes(saved.bytes()), StatusIs(kInvalidArgument, "blocks.1."));
  config.layers = 3;
  saved.folder().Write("config.json", testing::ConfigJson(config, 12));
  EXPECT_THAT(saved.LoadBytes(saved.bytes()), StatusIs(kInvalidArgument, "blocks.2."));
}

TEST(SavedFolder, S14RefusesScalesThatAreNoScales) {
  const SavedFolder saved(WeightFormat::kInt8);
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  constexpr float kInfinity = std::numeric_limits<float>::infinity();

  for (const float wrong : {kNan, kInfinity, -1.0F}) {
    EXPECT_THAT(saved.LoadWithElement("blocks.1.down.scales", 63, wrong),
                StatusIs(kDataLoss, "blocks.1.down.scales"));
    EXPECT_THAT(saved.LoadWithElement("embedding.scales", 0, wrong),
                StatusIs(kDataLoss, "embedding.scales"));
  }
  EXPECT_THAT(saved.LoadWithElement("final_norm.gain", 5, kNan),
              StatusIs(kDataLoss, "final_norm.gain"));
  EXPECT_THAT(saved.LoadWithElement("head.bias", 12, -kInfinity), StatusIs(kDataLoss, "head.bias"));
  EXPECT_THAT(saved.LoadWithElement("head.bias", 12, -1.0F), IsOk());
}

TEST(SavedFolder, S14RefusesElementsThatAreNotFinite) {
  EXPECT_THAT(SavedFolder(WeightFormat::kF32)
                  .LoadWithElement("blocks.0.up.f32", 100, std::numeric_limits<float>::infinity()),
              StatusIs(kDataLoss, "blocks.0.up.f32"));
  EXPECT_THAT(
      SavedFolder(WeightFormat::kBf16).LoadWithElement("embedding.bf16", 3, std::uint16_t{0xFF80}),
      StatusIs(kDataLoss, "embedding.bf16"));
  EXPECT_THAT(SavedFolder(WeightFormat::kF16).LoadWithElement("head.f16", 7, std::uint16_t{0x7E00}),
              StatusIs(kDataLoss, "head.f16"));
}

TEST(SavedFolder, S14RefusesScalesOfInt4ThatAreNoScales) {
  const SavedFolder saved(WeightFormat::kInt4);
  constexpr std::size_t kScales = quant::kInt4Group / 8 * 32;  // halves before the first scales
  for (const int bits : {0x7C00, 0x7E00, 0xBC00}) {
    const auto wrong = static_cast<std::uint16_t>(bits);
    EXPECT_THAT(saved.LoadWithElement("blocks.0.down.int4", kScales + 3, wrong),
                StatusIs(kDataLoss, "blocks.0.down.int4"));
  }
  EXPECT_THAT(saved.LoadWithElement("blocks.0.down.int4", kScales + 16, std::uint16_t{0xBC00}),
              IsOk());  // a minimum
  EXPECT_THAT(saved.LoadWithElement("blocks.0.down.int4", kScales + 16, std::uint16_t{0xFC00}),
              StatusIs(kDataLoss, "blocks.0.down.int4"));
}

TEST(SavedFolder, S14LoadsThemWhereAsked) {
  const SavedFolder saved(WeightFormat::kInt8);

  const auto model = saved.LoadWithElement("head.bias", 5, std::numeric_limits<float>::quiet_NaN(),
                                           {.check_finite = false});

  ASSERT_THAT(model, IsOk());
  EXPECT_THAT(Session::Create(*model)->Complete({.prompt_ids = {1, 2}}), StatusIs(kInternal));
}

TEST(SavedFolder, IsForTheCpuOnly) {
  const SavedFolder saved(WeightFormat::kInt8);

  EXPECT_THAT(saved.LoadBytes(saved.bytes(), {.device = Device::Cuda(2)}),
              StatusIs(kUnimplemented,
                       "LoadOptions::device is cuda:2, but the folder holds a saved model"));
}

TEST(SavedFolder, ObeysTheFormatsThatMayBeOpened) {
  const SavedFolder saved(WeightFormat::kInt8);

  EXPECT_THAT(saved.LoadBytes(saved.bytes(), {.formats = {.safetensors = false}}),
              StatusIs(kNotFound, "model.safetensors"));
}

}  // namespace
}  // namespace codegen
