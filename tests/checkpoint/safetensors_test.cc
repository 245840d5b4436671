// SPDX-License-Identifier: Apache-2.0
//
// The ids (S01, ...) are rows of our catalogue of hostile files.
#include "checkpoint/safetensors.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <string_view>

#include "codegen/options.h"
#include "support/checkpoint_writer.h"
#include "support/status_is.h"
#include "support/temp_folder.h"

namespace codegen::checkpoint {
namespace {

using testing::AppendLittle;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using testing::IsOk;
using testing::SafetensorsBytes;
using testing::StatusIs;
using enum absl::StatusCode;

absl::StatusOr<std::vector<TensorEntry>> ListTensors(std::string_view bytes) {
  const testing::TempFolder folder;
  const auto file = base::File::Open(folder.Write("model.safetensors", bytes));
  if (!file.ok()) return file.status();
  return ListSafetensors(*file);
}

// A file of one tensor "w" of 8 bytes, described by `fields`.
absl::StatusOr<std::vector<TensorEntry>> ListOne(std::string_view fields) {
  return ListTensors(SafetensorsBytes(fmt::format(R"({{"w":{{{}}}}})", fields), "12345678"));
}

TEST(Safetensors, ListsNameTypeShapeAndPlace) {
  const std::string header = R"({"b":{"dtype":"F16","shape":[2,3],"data_offsets":[4,16]},)"
                             R"("a":{"dtype":"F32","shape":[],"data_offsets":[0,4]}})";

  const auto tensors = ListTensors(SafetensorsBytes(header, std::string(16, '\0')));

  ASSERT_THAT(tensors, IsOk());
  ASSERT_EQ(tensors->size(), 2U);
  const TensorEntry& scalar = (*tensors)[0];
  EXPECT_EQ(scalar.name, "a");
  EXPECT_THAT(scalar.shape, IsEmpty());
  EXPECT_EQ(scalar.elements(), 1);
  EXPECT_EQ(scalar.file_offset, static_cast<std::int64_t>(8 + header.size()));
  const TensorEntry& matrix = (*tensors)[1];
  EXPECT_EQ(matrix.name, "b");
  EXPECT_EQ(matrix.dtype, tensor::DType::kF16);
  EXPECT_THAT(matrix.shape, ElementsAre(2, 3));
  EXPECT_THAT(matrix.strides, ElementsAre(3, 1));
  EXPECT_EQ(matrix.bytes(), 12);
  EXPECT_EQ(matrix.file_offset, scalar.file_offset + 4);
}

TEST(Safetensors, AcceptsEveryTypeThatABufferMayHave) {
  for (const char* dtype : {"BOOL", "U8", "I8"})
    EXPECT_THAT(ListOne(fmt::format(R"("dtype":"{}","shape":[8],"data_offsets":[0,8])", dtype)),
                IsOk());
  for (const char* dtype : {"F64", "I64"})
    EXPECT_THAT(ListOne(fmt::format(R"("dtype":"{}","shape":[1],"data_offsets":[0,8])", dtype)),
                IsOk());
  EXPECT_THAT(ListOne(R"("dtype":"I16","shape":[4],"data_offsets":[0,8])"), IsOk());
  EXPECT_THAT(ListOne(R"("dtype":"I32","shape":[2],"data_offsets":[0,8])"), IsOk());
}

TEST(Safetensors, AcceptsAFileWithoutTensors) {
  const auto tensors = ListTensors(SafetensorsBytes("{}", ""));

  ASSERT_THAT(tensors, IsOk());
  EXPECT_THAT(*tensors, IsEmpty());
}

TEST(Safetensors, S01RefusesAFileShorterThanItsLength) {
  EXPECT_THAT(ListTensors("1234567"), StatusIs(kDataLoss, "model.safetensors: 7 bytes"));
}

TEST(Safetensors, S01RefusesAnEmptyHeader) {
  EXPECT_THAT(ListTensors(SafetensorsBytes("", "")), StatusIs(kDataLoss, "not one JSON object"));
}

TEST(Safetensors, S01RefusesAHeaderLongerThanTheFile) {
  std::string bytes;
  AppendLittle(bytes, 3, 8);

  EXPECT_THAT(ListTensors(bytes + "{}"), StatusIs(kDataLoss, "header of 3 bytes in a file of 10"));
}

TEST(Safetensors, S01RefusesAHeaderLengthOf64Bits) {
  for (const std::uint64_t length : {std::uint64_t{1} << 63, ~std::uint64_t{0}}) {
    std::string bytes;
    AppendLittle(bytes, length, 8);
    EXPECT_THAT(ListTensors(bytes + "{}"), StatusIs(kDataLoss, "header of"));
  }
}

TEST(Safetensors, S01RefusesAHeaderBeyondTheLimit) {
  const testing::TempFolder folder;
  std::string bytes;
  AppendLittle(bytes, Limits::safetensors_header_bytes + 1, 8);
  const std::string path = folder.Write("model.safetensors", bytes);
  std::filesystem::resize_file(path, 8 + 1 + std::uintmax_t{Limits::safetensors_header_bytes});

  EXPECT_THAT(ListSafetensors(*base::File::Open(path)), StatusIs(kResourceExhausted, "limit"));
}

TEST(Safetensors, S02RefusesAHeaderThatIsNoObject) {
  EXPECT_THAT(ListTensors(SafetensorsBytes("[1]", "")), StatusIs(kDataLoss, "not one JSON object"));
  EXPECT_THAT(ListTensors(SafetensorsBytes(" {}", "")), StatusIs(kDataLoss, "not one JSON object"));
}

TEST(Safetensors, S02RefusesInvalidUtf8) {
  EXPECT_THAT(ListTensors(SafetensorsBytes("{\"\xFF\":{}}", "")), StatusIs(kDataLoss, "UTF"));
}

TEST(Safetensors, S02AcceptsSpacesAfterTheHeaderAndNothingElse) {
  EXPECT_THAT(ListTensors(SafetensorsBytes("{}   ", "")), IsOk());
  EXPECT_THAT(ListTensors(SafetensorsBytes("{} \n", "")),
              StatusIs(kDataLoss, "padded with spaces"));
  EXPECT_THAT(ListTensors(SafetensorsBytes("{}x", "")), StatusIs(kDataLoss, "padded with spaces"));
  EXPECT_THAT(ListTensors(SafetensorsBytes("{}{}", "")), StatusIs(kDataLoss, "JSON"));
}

TEST(Safetensors, S02RefusesDeepNesting) {
  const std::string deep = "{\"w\":" + std::string(100'000, '[') + std::string(100'000, ']') + "}";

  EXPECT_THAT(ListTensors(SafetensorsBytes(deep, "")), StatusIs(kDataLoss, "deeper"));
}

TEST(Safetensors, S03RefusesAnEndBeforeTheBegin) {
  EXPECT_THAT(ListOne(R"("dtype":"F32","shape":[2],"data_offsets":[8,0])"),
              StatusIs(kDataLoss, "tensor \"w\": begins at 8 and ends at 0"));
}

TEST(Safetensors, S03RefusesAnEndBeyondTheBuffer) {
  EXPECT_THAT(ListOne(R"("dtype":"F32","shape":[3],"data_offsets":[0,12])"),
              StatusIs(kDataLoss, "tensor \"w\": ends at byte 12 of a buffer of 8"));
  EXPECT_THAT(
      ListOne(
          R"("dtype":"U8","shape":[9223372036854775807],"data_offsets":[0,9223372036854775807])"),
      StatusIs(kDataLoss, "of a buffer of 8"));
}

TEST(Safetensors, S03RefusesOffsetsThatAreNoTwoIntegers) {
  for (const char* offsets : {"[0]", "[0,4,8]", "[]", "[0,\"8\"]", "[0,8.0]", "[-1,7]", "8", "null",
                              "[0,18446744073709551615]", "[0,1e2]", "[true,8]"}) {
    EXPECT_THAT(ListOne(fmt::format(R"("dtype":"F32","shape":[2],"data_offsets":{})", offsets)),
                StatusIs(kDataLoss, "data_offsets"))
        << offsets;
  }
}

TEST(Safetensors, S04RefusesOverlappingTensors) {
  EXPECT_THAT(
      ListTensors(SafetensorsBytes(R"({"a":{"dtype":"U8","shape":[5],"data_offsets":[0,5]},)"
                                   R"("b":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}})",
                                   "12345678")),
      StatusIs(kDataLoss, "tensor \"b\": begins at byte"));
}

TEST(Safetensors, S04RefusesTwoTensorsInOnePlace) {
  EXPECT_THAT(
      ListTensors(SafetensorsBytes(R"({"a":{"dtype":"U8","shape":[8],"data_offsets":[0,8]},)"
                                   R"("b":{"dtype":"U8","shape":[8],"data_offsets":[0,8]}})",
                                   "12345678")),
      StatusIs(kDataLoss, "overlapping"));
}

TEST(Safetensors, S05RefusesAHoleBeforeAndBetweenTensors) {
  EXPECT_THAT(ListOne(R"("dtype":"U8","shape":[7],"data_offsets":[1,8])"),
              StatusIs(kDataLoss, "apart from"));
  EXPECT_THAT(
      ListTensors(SafetensorsBytes(R"({"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},)"
                                   R"("b":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}})",
                                   "12345678")),
      StatusIs(kDataLoss, "tensor \"b\""));
}

TEST(Safetensors, S05RefusesBytesAfterTheLastTensor) {
  EXPECT_THAT(ListOne(R"("dtype":"U8","shape":[7],"data_offsets":[0,7])"),
              StatusIs(kDataLoss, "1 bytes after the last tensor"));
  EXPECT_THAT(ListTensors(SafetensorsBytes("{}", "x")), StatusIs(kDataLoss, "1 bytes after"));
}

TEST(Safetensors, S06RefusesAShapeWhoseProductWraps) {
  EXPECT_THAT(ListOne(R"("dtype":"U8","shape":[4294967296,4294967296,2],"data_offsets":[0,8])"),
              StatusIs(kDataLoss, "expected 2^63 or more bytes, found 8"));
  EXPECT_THAT(ListOne(R"("dtype":"F32","shape":[4611686018427387906],"data_offsets":[0,8])"),
              StatusIs(kDataLoss, "expected 2^63 or more bytes, found 8"));
}

TEST(Safetensors, S06RefusesDimensionsThatAreNoCounts) {
  for (const char* shape : {"[-2]", "[2.0]", "[2.5]", "[\"2\"]", "[null]", "[[2]]",
                            "[18446744073709551615]", "2", "{}"}) {
    EXPECT_THAT(ListOne(fmt::format(R"("dtype":"F32","shape":{},"data_offsets":[0,8])", shape)),
                StatusIs(kDataLoss, "\"shape\""))
        << shape;
  }
}

TEST(Safetensors, S06RefusesMoreDimensionsThanTheLimit) {
  std::string shape = "2";
  for (int i = 0; i < Limits::tensor_rank; ++i) shape += ",1";

  EXPECT_THAT(ListOne(fmt::format(R"("dtype":"F32","shape":[{}],"data_offsets":[0,8])", shape)),
              StatusIs(kResourceExhausted, "\"shape\" of 9 numbers, limit 8"));
}

TEST(Safetensors, S07RefusesASizeThatIsNotTheShape) {
  EXPECT_THAT(ListOne(R"("dtype":"F16","shape":[2],"data_offsets":[0,8])"),
              StatusIs(kDataLoss, "tensor \"w\": shape [2] F16: expected 4 bytes, found 8"));
}

TEST(Safetensors, S08RefusesATypeItDoesNotKnow) {
  for (const char* dtype : {"F8_E4M3", "F4", "U32", "C64", "f32", ""}) {
    EXPECT_THAT(ListOne(fmt::format(R"("dtype":"{}","shape":[8],"data_offsets":[0,8])", dtype)),
                StatusIs(kUnimplemented, fmt::format("tensor \"w\": dtype \"{}\"", dtype)));
  }
}

TEST(Safetensors, S08RefusesATypeThatIsNoString) {
  EXPECT_THAT(ListOne(R"("dtype":32,"shape":[2],"data_offsets":[0,8])"),
              StatusIs(kDataLoss, "\"dtype\""));
}

TEST(Safetensors, S09AcceptsTensorsWithoutElements) {
  const auto tensors =
      ListTensors(SafetensorsBytes(R"({"a":{"dtype":"F32","shape":[0,9],"data_offsets":[0,0]},)"
                                   R"("b":{"dtype":"U8","shape":[8],"data_offsets":[0,8]},)"
                                   R"("c":{"dtype":"F32","shape":[4611686018427387904,8,0],)"
                                   R"("data_offsets":[8,8]}})",
                                   "12345678"));

  ASSERT_THAT(tensors, IsOk());
  EXPECT_EQ((*tensors)[0].elements(), 0);
  EXPECT_EQ((*tensors)[2].elements(), 0);
  EXPECT_THAT((*tensors)[2].strides, ElementsAre(0, 0, 0));
}

TEST(Safetensors, S10RefusesANameTwice) {
  EXPECT_THAT(
      ListTensors(SafetensorsBytes(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},)"
                                   R"("a":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}})",
                                   "12345678")),
      StatusIs(kDataLoss, "key \"a\" appears twice"));
}

TEST(Safetensors, S10RefusesAFieldTwice) {
  EXPECT_THAT(ListOne(R"("dtype":"U8","dtype":"I8","shape":[8],"data_offsets":[0,8])"),
              StatusIs(kDataLoss, "key \"dtype\" appears twice"));
}

TEST(Safetensors, S10RefusesATensorThatIsNoObject) {
  EXPECT_THAT(ListTensors(SafetensorsBytes(R"({"w":[1]})", "")),
              StatusIs(kDataLoss, "tensor \"w\": expected an object, found array"));
}

TEST(Safetensors, S10RefusesAMissingField) {
  EXPECT_THAT(ListOne(R"("shape":[8],"data_offsets":[0,8])"), StatusIs(kDataLoss, "\"dtype\""));
  EXPECT_THAT(ListOne(R"("dtype":"U8","data_offsets":[0,8])"), StatusIs(kDataLoss, "\"shape\""));
  EXPECT_THAT(ListOne(R"("dtype":"U8","shape":[8])"), StatusIs(kDataLoss, "\"data_offsets\""));
}

TEST(Safetensors, ReadsItsMetadata) {
  const testing::TempFolder folder;
  const std::string bytes =
      SafetensorsBytes(R"({"__metadata__":{"format":"pt","a \"b\"":"\u00e9"}})", "");

  const auto read = ReadSafetensors(*base::File::Open(folder.Write("model.safetensors", bytes)));

  ASSERT_THAT(read, IsOk());
  EXPECT_THAT(read->metadata,
              ElementsAre(std::pair("a \"b\"", "\xC3\xA9"), std::pair("format", "pt")));
}

TEST(Safetensors, S11RefusesMetadataThatIsNoMapOfStrings) {
  EXPECT_THAT(ListTensors(SafetensorsBytes(R"({"__metadata__":"pt"})", "")),
              StatusIs(kDataLoss, "__metadata__: expected an object, found string"));
  EXPECT_THAT(ListTensors(SafetensorsBytes(R"({"__metadata__":{"format":1}})", "")),
              StatusIs(kDataLoss, "__metadata__ \"format\": expected a string, found integer"));
}

TEST(Safetensors, S20RefusesMoreTensorsThanTheLimit) {
  std::string header = "{";
  for (int i = 0; i <= Limits::tensors; ++i)
    header += fmt::format(R"("{}":{{"dtype":"U8","shape":[0],"data_offsets":[0,0]}},)", i);
  header.back() = '}';

  EXPECT_THAT(ListTensors(SafetensorsBytes(header, "")), StatusIs(kResourceExhausted, "100000"));
}

TEST(Safetensors, S21SaysWhatTheFileLooksLike) {
  EXPECT_THAT(ListTensors(""), StatusIs(kDataLoss, "the file is empty"));
  EXPECT_THAT(ListTensors("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"),
              StatusIs(kDataLoss, "Git LFS pointer"));
  EXPECT_THAT(ListTensors("<!DOCTYPE html><html></html>"), StatusIs(kDataLoss, "HTML page"));
}

}  // namespace
}  // namespace codegen::checkpoint
