// SPDX-License-Identifier: Apache-2.0
#include "base/new_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <cstddef>
#include <filesystem>
#include <iterator>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "base/file.h"
#include "support/status_is.h"
#include "support/temp_folder.h"

namespace codegen::base {
namespace {

using testing::IsOk;
using testing::StatusIs;
using testing::TempFolder;
using enum absl::StatusCode;

std::span<const std::byte> BytesOf(std::string_view text) { return std::as_bytes(std::span(text)); }

std::ptrdiff_t FilesIn(const TempFolder& folder) {
  return std::distance(std::filesystem::directory_iterator(folder.path()), {});
}

TEST(NewFile, TakesItsNameWhenComplete) {
  const TempFolder folder;
  auto file = NewFile::Create(folder.path(), "name");
  ASSERT_THAT(file, IsOk());
  ASSERT_THAT(file->Write(BytesOf("ab")), IsOk());
  EXPECT_FALSE(Exists(folder.Path("name")));
  ASSERT_THAT(file->Write(BytesOf("cd")), IsOk());

  ASSERT_THAT(file->Commit(), IsOk());

  EXPECT_EQ(*ReadFile(folder.Path("name"), 100), "abcd");
  EXPECT_EQ(FilesIn(folder), 1);
}

TEST(NewFile, LeavesNothingWithoutACommit) {
  const TempFolder folder;
  {
    auto file = NewFile::Create(folder.path(), "name");
    ASSERT_THAT(file, IsOk());
    ASSERT_THAT(file->Write(BytesOf("ab")), IsOk());
    const NewFile moved = *std::move(file);
  }
  EXPECT_EQ(FilesIn(folder), 0);
}

TEST(NewFile, TakesThePlaceOfAnother) {
  const TempFolder folder;
  ASSERT_THAT(WriteNewFile(folder.path(), "name", "before"), IsOk());
  {
    auto file = NewFile::Create(folder.path(), "name", Taken::kReplaced);
    ASSERT_THAT(file, IsOk());
    ASSERT_THAT(file->Write(BytesOf("after")), IsOk());
    EXPECT_EQ(*ReadFile(folder.Path("name"), 100), "before");

    ASSERT_THAT(file->Commit(), IsOk());
  }
  EXPECT_EQ(*ReadFile(folder.Path("name"), 100), "after");
  EXPECT_EQ(FilesIn(folder), 1);
}

TEST(NewFile, TakesThePlaceOfNoFolder) {
  const TempFolder folder;
  ASSERT_THAT(MakeFolder(folder.Path("name")), IsOk());

  EXPECT_THAT(WriteNewFile(folder.path(), "name", "text", Taken::kReplaced),
              StatusIs(kFailedPrecondition, "name: cannot be written"));

  EXPECT_EQ(FilesIn(folder), 1);
}

TEST(NewFile, WritesOverNothing) {
  const TempFolder folder;
  auto file = NewFile::Create(folder.path(), "name");
  folder.Write("name", "old");

  EXPECT_THAT(NewFile::Create(folder.path(), "name"), StatusIs(kFailedPrecondition, "name"));
  EXPECT_THAT(file->Commit(), StatusIs(kFailedPrecondition, "name"));
  EXPECT_EQ(*ReadFile(folder.Path("name"), 100), "old");
}

TEST(NewFile, SaysWhyItCannotBeMade) {
  const TempFolder folder;
  folder.Write("file", "");

  EXPECT_THAT(NewFile::Create(folder.Path("none"), "name"), StatusIs(kNotFound, "name"));
  EXPECT_THAT(NewFile::Create(folder.Path("file"), "name"), StatusIs(kFailedPrecondition, "name"));
  EXPECT_THAT(NewFile::Create(folder.path(), std::string(1000, 'n')), StatusIs(kInvalidArgument));
}

TEST(NewFile, SaysThatThereIsNoRoom) {
  const TempFolder folder;
  const auto ignored = std::signal(SIGXFSZ, SIG_IGN);
  rlimit before = {};
  getrlimit(RLIMIT_FSIZE, &before);
  rlimit tight = before;
  tight.rlim_cur = 10;
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &tight), 0);

  const absl::Status status = WriteNewFile(folder.path(), "name", std::string(100, 'x'));

  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, ignored);
  EXPECT_THAT(status, StatusIs(kResourceExhausted, "name"));
  EXPECT_EQ(FilesIn(folder), 0);
}

TEST(MakeFolder, MakesThoseAround) {
  const TempFolder folder;

  EXPECT_THAT(MakeFolder(folder.Path("a/b")), IsOk());
  EXPECT_THAT(MakeFolder(folder.Path("a/b")), IsOk());
  EXPECT_TRUE(std::filesystem::is_directory(folder.Path("a/b")));
}

TEST(MakeFolder, SaysThatSomethingElseIsThere) {
  const TempFolder folder;
  folder.Write("file", "");

  EXPECT_THAT(MakeFolder(folder.Path("file")), StatusIs(kFailedPrecondition));
  EXPECT_THAT(MakeFolder(folder.Path("file/b")), StatusIs(kFailedPrecondition));
}

}  // namespace
}  // namespace codegen::base
