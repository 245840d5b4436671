// SPDX-License-Identifier: Apache-2.0
//
// The ids (B02, ...) are rows of our catalogue of hostile files.
#include "checkpoint/torch_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <string_view>

#include "support/checkpoint_writer.h"
#include "support/status_is.h"
#include "support/temp_folder.h"

namespace codegen::checkpoint {
namespace {

using ::testing::ElementsAre;
using testing::IsOk;
using testing::Layout;
using testing::PickledView;
using testing::PickleWriter;
using testing::StatusIs;
using testing::TorchFile;
using testing::TorchMembers;
using testing::ZipFile;
using testing::ZipMember;
using enum absl::StatusCode;

constexpr std::int64_t kMax = std::numeric_limits<std::int64_t>::max();

absl::StatusOr<std::vector<TensorEntry>> ListTorch(std::string_view bytes) {
  const testing::TempFolder folder;
  const auto file = base::File::Open(folder.Write("pytorch_model.bin", bytes));
  if (!file.ok()) return file.status();
  return ListTorchFile(*file);
}

std::string PickleOf(const PickledView& view) {
  PickleWriter pickle;
  return pickle.OrderedDict().Text("w").Tensor(view).SetItem().Stop().bytes();
}

// One float tensor "w", a view of storage "0" in a record of 24 bytes.
absl::StatusOr<std::vector<TensorEntry>> ListView(const PickledView& view) {
  return ListTorch(ZipFile(TorchMembers(PickleOf(view), {std::string(24, '\0')})));
}

// As above for a matrix that fits, with one record more or instead.
std::vector<ZipMember> GoodMembers() {
  return TorchMembers(PickleOf({.elements = 6, .shape = {2, 3}, .strides = {3, 1}}),
                      {std::string(24, '\0')});
}

absl::StatusOr<std::vector<TensorEntry>> ListWith(const ZipMember& extra) {
  std::vector<ZipMember> members = GoodMembers();
  std::erase_if(members, [&](const ZipMember& member) { return member.name == extra.name; });
  members.push_back(extra);
  return ListTorch(ZipFile(members));
}

TEST(TorchFile, ListsNameTypeShapeAndPlace) {
  const std::string bytes = TorchFile(
      {{"w", {.shape = {2, 3}, .values = {1, 2, 3, 4, 5, 6}, .dtype = tensor::DType::kF16}},
       {"scalar", {.shape = {}, .values = {-1e9F}}},
       {"mask", {.shape = {1, 1, 2, 2}, .values = {1, 0, 1, 1}, .dtype = tensor::DType::kBool}}});

  const auto tensors = ListTorch(bytes);

  ASSERT_THAT(tensors, IsOk());
  ASSERT_EQ(tensors->size(), 3U);
  EXPECT_EQ((*tensors)[0].name, "mask");
  EXPECT_EQ((*tensors)[0].dtype, tensor::DType::kBool);
  EXPECT_THAT((*tensors)[0].shape, ElementsAre(1, 1, 2, 2));
  EXPECT_EQ((*tensors)[1].elements(), 1);
  const TensorEntry& w = (*tensors)[2];
  EXPECT_EQ(w.dtype, tensor::DType::kF16);
  EXPECT_THAT(w.shape, ElementsAre(2, 3));
  EXPECT_THAT(w.strides, ElementsAre(3, 1));
  EXPECT_EQ(w.file_offset % 64, 0);
  EXPECT_EQ(bytes.substr(static_cast<std::size_t>(w.file_offset), 4),
            std::string("\x00\x3C\x00\x40", 4));
}

TEST(TorchFile, KeepsTheStridesOfATransposedMatrix) {
  const auto tensors = ListTorch(TorchFile(
      {{"w", {.shape = {2, 3}, .values = {1, 2, 3, 4, 5, 6}, .layout = Layout::kTransposed}}}));

  ASSERT_THAT(tensors, IsOk());
  EXPECT_THAT((*tensors)[0].shape, ElementsAre(2, 3));
  EXPECT_THAT((*tensors)[0].strides, ElementsAre(1, 2));
}

TEST(TorchFile, UnwrapsParameters) {
  EXPECT_THAT(
      ListTorch(TorchFile({{"w", {.shape = {1}, .values = {1}, .layout = Layout::kParameter}}})),
      IsOk());
}

TEST(TorchFile, B11ListsASharedStorageUnderBothNames) {
  const auto tensors = ListTorch(TorchFile(
      {{"a", {.shape = {4}, .values = {1, 2, 3, 4}}}, {"b", {.shape = {2, 2}, .shares = "a"}}}));

  ASSERT_THAT(tensors, IsOk());
  EXPECT_EQ((*tensors)[0].file_offset, (*tensors)[1].file_offset);
}

TEST(TorchFile, ReadsAZip64File) {
  EXPECT_THAT(ListTorch(TorchFile({{"w", {.shape = {1}, .values = {1}}}}, {.zip64 = true})),
              IsOk());
}

TEST(TorchFile, AcceptsAFileThatNamesNoByteOrder) {
  std::vector<ZipMember> members = GoodMembers();
  std::erase_if(members, [](const ZipMember& m) { return m.name == "archive/byteorder"; });

  EXPECT_THAT(ListTorch(ZipFile(members)), IsOk());
}

TEST(TorchFile, AddsTheStorageOffset) {
  const auto whole = ListView({.elements = 6, .shape = {6}, .strides = {1}});
  const auto part = ListView({.elements = 6, .offset = 2, .shape = {4}, .strides = {1}});

  ASSERT_THAT(part, IsOk());
  EXPECT_GT((*whole)[0].file_offset, 0);
  EXPECT_EQ(((*part)[0].file_offset - (*whole)[0].file_offset) % 64, 8);
}

TEST(TorchFile, AcceptsAnyStrideOfADimensionOfOne) {
  EXPECT_THAT(ListView({.elements = 6, .shape = {1, 6}, .strides = {0, 1}}), IsOk());
  EXPECT_THAT(ListView({.elements = 6, .shape = {1, 6}, .strides = {kMax, 1}}), IsOk());
}

TEST(TorchFile, AcceptsATensorWithoutElements) {
  const auto tensors = ListView({.elements = 0, .shape = {0, 5}, .strides = {5, 1}});

  ASSERT_THAT(tensors, IsOk());
  EXPECT_EQ((*tensors)[0].elements(), 0);
}

TEST(TorchFile, B02RefusesTheFormatBeforeTorch16) {
  EXPECT_THAT(ListTorch("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."),
              StatusIs(kUnimplemented, "torch before 1.6"));
}

TEST(TorchFile, RefusesATorchScriptProgram) {
  EXPECT_THAT(ListWith({.name = "archive/constants.pkl", .bytes = "x"}),
              StatusIs(kUnimplemented, "TorchScript"));
  EXPECT_THAT(ListWith({.name = "archive/code/__torch__.py", .bytes = "x"}),
              StatusIs(kUnimplemented, "TorchScript"));
}

TEST(TorchFile, B10RefusesBigEndian) {
  EXPECT_THAT(ListWith({.name = "archive/byteorder", .bytes = "big"}),
              StatusIs(kUnimplemented, "big-endian"));
}

TEST(TorchFile, B10RefusesAnotherByteOrder) {
  EXPECT_THAT(ListWith({.name = "archive/byteorder", .bytes = "middle"}),
              StatusIs(kDataLoss, "\"middle\""));
  EXPECT_THAT(ListWith({.name = "archive/byteorder", .bytes = std::string(17, 'x')}),
              StatusIs(kResourceExhausted, "limit 16"));
}

TEST(TorchFile, RefusesAnArchiveWithoutPickle) {
  EXPECT_THAT(ListTorch(ZipFile({{.name = "archive/version", .bytes = "3\n"}})),
              StatusIs(kDataLoss, "no record \"data.pkl\""));
}

TEST(TorchFile, B05RefusesAStorageThatIsNotThere) {
  EXPECT_THAT(ListView({.key = "1", .elements = 6, .shape = {6}, .strides = {1}}),
              StatusIs(kDataLoss, "tensor \"w\": no record for its storage \"1\""));
}

TEST(TorchFile, B05RefusesAStorageLargerThanItsRecord) {
  for (const std::int64_t elements : {std::int64_t{7}, std::int64_t{-1}, kMax, kMax / 4 + 1}) {
    EXPECT_THAT(ListView({.elements = elements, .shape = {6}, .strides = {1}}),
                StatusIs(kDataLoss, "in a record of 24 bytes"));
  }
}

TEST(TorchFile, B05RefusesAViewThatLeadsOutOfItsStorage) {
  const std::vector<PickledView> views = {
      {.elements = 6, .offset = 1, .shape = {6}, .strides = {1}},
      {.elements = 6, .offset = 6, .shape = {}, .strides = {}},
      {.elements = 6, .offset = kMax, .shape = {6}, .strides = {1}},
      {.elements = 6, .shape = {7}, .strides = {1}},
      {.elements = 6, .shape = {4}, .strides = {2}},
      {.elements = 6, .shape = {2, 3}, .strides = {4, 1}},
      {.elements = 6, .shape = {kMax}, .strides = {kMax}},
      {.elements = 6, .shape = {kMax, kMax}, .strides = {1, 1}},
      {.elements = 6, .shape = {2, 2, 2}, .strides = {kMax, kMax, 2}},
  };
  for (const PickledView& view : views) {
    EXPECT_THAT(ListView(view), StatusIs(kDataLoss, "leads out of a storage of 6 elements"));
  }
}

TEST(TorchFile, B05RefusesANegativeSizeOrOffset) {
  EXPECT_THAT(ListView({.elements = 6, .shape = {-1}, .strides = {1}}),
              StatusIs(kDataLoss, "shape [-1]"));
  EXPECT_THAT(ListView({.elements = 6, .offset = -1, .shape = {1}, .strides = {1}}),
              StatusIs(kDataLoss, "offset -1"));
}

TEST(TorchFile, B05RefusesStridesThatDoNotFitTheShape) {
  EXPECT_THAT(ListView({.elements = 6, .shape = {2, 3}, .strides = {1}}),
              StatusIs(kDataLoss, "shape [2, 3] with strides [1]"));
}

TEST(TorchFile, B06RefusesANegativeStride) {
  EXPECT_THAT(ListView({.elements = 6, .offset = 5, .shape = {6}, .strides = {-1}}),
              StatusIs(kInvalidArgument, "strides [-1]"));
}

TEST(TorchFile, B06RefusesAViewThatOverlapsItself) {
  for (const std::vector<std::int64_t>& strides :
       {std::vector<std::int64_t>{0, 1}, {1, 1}, {2, 1}, {1, 0}, {0, 0}}) {
    EXPECT_THAT(ListView({.elements = 6, .shape = {2, 3}, .strides = strides}),
                StatusIs(kInvalidArgument, "overlaps itself"));
  }
  EXPECT_THAT(ListView({.elements = 6, .shape = {kMax, kMax}, .strides = {0, 0}}),
              StatusIs(kInvalidArgument, "overlaps itself"));
}

TEST(TorchFile, S21SaysWhatTheFileLooksLike) {
  EXPECT_THAT(ListTorch(""), StatusIs(kDataLoss, "the file is empty"));
  EXPECT_THAT(ListTorch("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"),
              StatusIs(kDataLoss, "Git LFS pointer"));
  EXPECT_THAT(ListTorch("<html>"), StatusIs(kDataLoss, "HTML page"));
  EXPECT_THAT(ListTorch("hello"), StatusIs(kDataLoss, "expected a zip archive"));
}

}  // namespace
}  // namespace codegen::checkpoint
