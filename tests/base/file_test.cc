// SPDX-License-Identifier: Apache-2.0
#include "base/file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <filesystem>
#include <limits>
#include <string>

#include "support/status_is.h"
#include "support/temp_folder.h"

namespace codegen::base {
namespace {

using testing::IsOk;
using testing::StatusIs;
using testing::TempFolder;
using enum absl::StatusCode;

TEST(File, ReadsAnyPart) {
  const TempFolder folder;
  const auto file = File::Open(folder.Write("name.txt", "0123456789"));
  ASSERT_THAT(file, IsOk());

  EXPECT_EQ((*file)->size(), 10);
  EXPECT_EQ((*file)->name(), "name.txt");
  EXPECT_EQ(*(*file)->ReadString(0, 10), "0123456789");
  EXPECT_EQ(*(*file)->ReadString(3, 4), "3456");
  EXPECT_EQ(*(*file)->ReadString(10, 0), "");
}

TEST(File, RefusesToReadBeyondItsEnd) {
  const TempFolder folder;
  const auto file = File::Open(folder.Write("name.txt", "0123456789"));
  ASSERT_THAT(file, IsOk());
  constexpr std::int64_t kMax = std::numeric_limits<std::int64_t>::max();

  EXPECT_THAT((*file)->ReadString(3, 8), StatusIs(kDataLoss, "name.txt: file ends at byte 10"));
  EXPECT_THAT((*file)->ReadString(kMax, kMax), StatusIs(kDataLoss));
  EXPECT_THAT((*file)->ReadString(-1, 1), StatusIs(kDataLoss));
  EXPECT_THAT((*file)->ReadString(0, -1), StatusIs(kDataLoss));
  std::array<std::byte, 11> bytes = {};
  EXPECT_THAT((*file)->Read(0, bytes), StatusIs(kDataLoss, "name.txt: file ends at byte 10"));
}

TEST(File, RefusesToReadWhatHasShrunk) {
  const TempFolder folder;
  const auto file = File::Open(folder.Write("name.txt", "0123456789"));
  ASSERT_THAT(file, IsOk());
  std::filesystem::resize_file(folder.Path("name.txt"), 5);

  EXPECT_THAT((*file)->ReadString(0, 10), StatusIs(kDataLoss, "file ends at byte 5"));
}

TEST(File, StaysReadableWhenItsNameIsGone) {
  const TempFolder folder;
  const auto file = File::Open(folder.Write("name.txt", "text"));
  ASSERT_THAT(file, IsOk());
  std::filesystem::remove(folder.Path("name.txt"));

  EXPECT_EQ(*(*file)->ReadString(0, 4), "text");
}

TEST(File, RefusesWhatIsNotThere) {
  EXPECT_THAT(File::Open("/nowhere/name.txt"), StatusIs(kNotFound, "name.txt: no such file"));
  EXPECT_THAT(File::Open(""), StatusIs(kNotFound));
}

TEST(File, RefusesWhatIsNoRegularFileWithoutWaiting) {
  const TempFolder folder;
  ASSERT_EQ(::mkfifo(folder.Path("fifo").c_str(), 0600), 0);

  EXPECT_THAT(File::Open(folder.Path("fifo")), StatusIs(kInvalidArgument, "fifo: not a regular"));
  EXPECT_THAT(File::Open(folder.path()), StatusIs(kInvalidArgument, "not a regular"));
  EXPECT_THAT(File::Open("/dev/zero"), StatusIs(kInvalidArgument, "not a regular"));
}

TEST(File, RefusesWhatMayNotBeRead) {
  const TempFolder folder;
  std::filesystem::permissions(folder.path(), std::filesystem::perms::all);
  std::filesystem::permissions(folder.Write("name.txt", ""), std::filesystem::perms::none);
  constexpr uid_t kNobody = 65534;
  const uid_t user = ::geteuid();
  if (user == 0) {  // root may read everything
    ASSERT_EQ(::seteuid(kNobody), 0);
  }

  EXPECT_THAT(File::Open(folder.Path("name.txt")), StatusIs(kPermissionDenied, "name.txt"));

  ASSERT_EQ(::seteuid(user), 0);
}

TEST(File, RefusesPathsThatCannotBe) {
  const TempFolder folder;
  std::filesystem::create_symlink("loop", folder.Path("loop"));

  EXPECT_THAT(File::Open(folder.Path("loop")), StatusIs(kInvalidArgument, "loop"));
  EXPECT_THAT(File::Open(folder.Path(std::string(300, 'x'))), StatusIs(kInvalidArgument));
  const std::string path = folder.Write("name.txt", "");
  EXPECT_THAT(File::Open(path + std::string("\0.bin", 5)), StatusIs(kInvalidArgument, "NUL"));
}

TEST(File, ExistsEvenIfItCannotBeOpened) {
  const TempFolder folder;
  std::filesystem::create_symlink("nowhere", folder.Path("dangling"));

  EXPECT_TRUE(Exists(folder.path()));
  EXPECT_TRUE(Exists(folder.Path("dangling")));
  EXPECT_FALSE(Exists(folder.Path("nowhere")));
}

TEST(File, ReadsAWholeFileUpToALimit) {
  const TempFolder folder;
  const std::string path = folder.Write("name.txt", "0123456789");

  EXPECT_EQ(*ReadFile(path, 10), "0123456789");
  EXPECT_THAT(ReadFile(path, 9), StatusIs(kResourceExhausted, "name.txt: 10 bytes, limit 9"));
}

TEST(File, JoinsFolderAndName) {
  EXPECT_EQ(JoinPath("a", "b"), "a/b");
  EXPECT_EQ(JoinPath("a/", "b"), "a/b");
}

TEST(WhatItLooksLike, KnowsWhatDownloadsLeaveBehind) {
  EXPECT_EQ(WhatItLooksLike(" \n"), " (the file is empty)");
  EXPECT_THAT(WhatItLooksLike("version https://git-lfs.github.com/spec/v1\n"),
              ::testing::HasSubstr("Git LFS"));
  EXPECT_THAT(WhatItLooksLike("\n<!DOCTYPE html>"), ::testing::HasSubstr("HTML"));
  EXPECT_EQ(WhatItLooksLike("{}"), "");
}

}  // namespace
}  // namespace codegen::base
