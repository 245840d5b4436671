// SPDX-License-Identifier: Apache-2.0
//
// The ids (S16, ...) are rows of our catalogue of hostile files.
#include "checkpoint/shard_index.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "codegen/options.h"
#include "support/checkpoint_writer.h"
#include "support/status_is.h"
#include "support/temp_folder.h"

namespace codegen::checkpoint {
namespace {

using ::testing::ElementsAre;
using testing::IsOk;
using ::testing::Pair;
using testing::ShardIndexFile;
using testing::StatusIs;
using enum absl::StatusCode;

absl::StatusOr<ShardIndex> Read(std::string_view text) {
  const testing::TempFolder folder;
  return ReadShardIndex(folder.Write("model.safetensors.index.json", text));
}

TEST(ShardIndex, MapsTensorsToFiles) {
  const auto index = Read(ShardIndexFile({{"a", "x.bin"}, {"b", "y.bin"}, {"c", "x.bin"}}));

  ASSERT_THAT(index, IsOk());
  EXPECT_THAT(index->file_of,
              ElementsAre(Pair("a", "x.bin"), Pair("b", "y.bin"), Pair("c", "x.bin")));
  EXPECT_THAT(index->files, ElementsAre("x.bin", "y.bin"));
}

TEST(ShardIndex, NeedsNoMetadata) { EXPECT_THAT(Read(R"({"weight_map":{}})"), IsOk()); }

TEST(ShardIndex, RefusesAMissingFile) {
  EXPECT_THAT(ReadShardIndex("/nowhere/model.safetensors.index.json"), StatusIs(kNotFound));
}

TEST(ShardIndex, RefusesAnIndexWithoutMap) {
  EXPECT_THAT(Read("{}"), StatusIs(kDataLoss, "no \"weight_map\""));
  EXPECT_THAT(Read(R"({"weight_map":[]})"), StatusIs(kDataLoss, "no \"weight_map\""));
}

TEST(ShardIndex, RefusesAFileNameThatIsNoString) {
  EXPECT_THAT(Read(R"({"weight_map":{"w":1}})"),
              StatusIs(kDataLoss, "tensor \"w\": expected a file name, found integer"));
}

TEST(ShardIndex, RefusesATensorTwice) {
  EXPECT_THAT(Read(R"({"weight_map":{"w":"a","w":"b"}})"), StatusIs(kDataLoss, "twice"));
}

TEST(ShardIndex, S16RefusesFileNamesThatAreNotPlain) {
  for (const std::string& name :
       {std::string("../x"), std::string("/etc/passwd"), std::string("a/b"), std::string("C:\\\\x"),
        std::string("C:x"), std::string("a\\\\b"), std::string("a\\u0000b"), std::string(""),
        std::string("."), std::string(".."), std::string("a\\nb"), std::string("a\\u007fb"),
        std::string(256, 'x'), std::string(10'000, 'x')}) {
    EXPECT_THAT(Read(fmt::format(R"({{"weight_map":{{"w":"{}"}}}})", name)),
                StatusIs(kInvalidArgument, "tensor \"w\": shard name must be a plain file name"))
        << name;
  }
}

TEST(ShardIndex, S20RefusesMoreShardsThanTheLimit) {
  std::map<std::string, std::string> file_of;
  for (int i = 0; i <= Limits::shards; ++i) file_of[fmt::to_string(i)] = fmt::format("{}.bin", i);

  EXPECT_THAT(Read(ShardIndexFile(file_of)), StatusIs(kResourceExhausted, "shards"));
}

TEST(ShardIndex, S20RefusesMoreTensorsThanTheLimit) {
  std::string entries;
  for (int i = 0; i <= Limits::tensors; ++i)
    entries += fmt::format(R"({}"{}":"a")", i == 0 ? "" : ",", i);

  EXPECT_THAT(Read(fmt::format(R"({{"weight_map":{{{}}}}})", entries)),
              StatusIs(kResourceExhausted, "tensors"));
}

}  // namespace
}  // namespace codegen::checkpoint
