// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/safetensors_writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "base/file.h"
#include "checkpoint/safetensors.h"
#include "support/status_is.h"
#include "support/temp_folder.h"

namespace codegen::checkpoint {
namespace {

using testing::IsOk;
using testing::StatusIs;
using testing::TempFolder;

constexpr std::array<float, 6> kMatrix = {1, 2, 3, 4, 5, 6};
constexpr std::array<std::uint8_t, 3> kBytes = {7, 8, 9};

std::vector<TensorBytes> TwoTensors() {
  return {{"a", tensor::DType::kU8, {3}, std::as_bytes(std::span(kBytes))},
          {"z \"1\"\\\n", tensor::DType::kF32, {2, 3}, std::as_bytes(std::span(kMatrix))}};
}

TEST(SafetensorsWriter, WritesWhatTheReaderReads) {
  const TempFolder folder;
  const std::map<std::string, std::string> metadata = {{"format", "codegen"},
                                                       {"q\"\t", "\xC3\xA9"}};

  ASSERT_THAT(WriteSafetensors(folder.path(), "x", metadata, TwoTensors()), IsOk());

  const auto file = base::File::Open(folder.Path("x"));
  const auto read = ReadSafetensors(*file);
  ASSERT_THAT(read, IsOk());
  EXPECT_EQ(read->metadata, metadata);
  ASSERT_EQ(read->tensors.size(), 2U);
  EXPECT_EQ(read->tensors[0].name, "a");
  EXPECT_EQ(read->tensors[0].file_offset % 64, 0);
  EXPECT_EQ(read->tensors[1].name, "z \"1\"\\\n");
  EXPECT_EQ(read->tensors[1].shape, (std::vector<std::int64_t>{2, 3}));
  std::array<float, 6> values = {};
  ASSERT_THAT(
      (*file)->Read(read->tensors[1].file_offset, std::as_writable_bytes(std::span(values))),
      IsOk());
  EXPECT_EQ(values, kMatrix);
}

TEST(SafetensorsWriter, WritesAFileOfNoTensors) {
  const TempFolder folder;

  ASSERT_THAT(WriteSafetensors(folder.path(), "x", {}, {}), IsOk());

  EXPECT_THAT(ReadSafetensors(*base::File::Open(folder.Path("x"))), IsOk());
  EXPECT_EQ(std::filesystem::file_size(folder.Path("x")), 64U);
}

TEST(SafetensorsWriter, WritesOverNothing) {
  const TempFolder folder;
  folder.Write("x", "old");

  EXPECT_THAT(WriteSafetensors(folder.path(), "x", {}, TwoTensors()),
              StatusIs(absl::StatusCode::kFailedPrecondition, "x"));
  EXPECT_EQ(*base::ReadFile(folder.Path("x"), 100), "old");
}

}  // namespace
}  // namespace codegen::checkpoint
