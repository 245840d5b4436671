// SPDX-License-Identifier: Apache-2.0
//
// The ids (B03, ...) are rows of our catalogue of hostile files.
#include "checkpoint/zip.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "support/status_is.h"
#include "support/temp_folder.h"
#include "support/zip_writer.h"

namespace codegen::checkpoint {
namespace {

using testing::IsOk;
using testing::PatchLittle;
using testing::StatusIs;
using testing::ZipFile;
using testing::ZipMember;
using enum absl::StatusCode;

constexpr std::string_view kLocal = "PK\x03\x04";
constexpr std::string_view kEntry = "PK\x01\x02";
constexpr std::string_view kEnd = "PK\x05\x06";
constexpr std::string_view kZip64End = "PK\x06\x06";
constexpr std::string_view kZip64Locator = "PK\x06\x07";

const std::vector<ZipMember>& TwoMembers() {
  static const std::vector<ZipMember> members = {{.name = "top/a", .bytes = "first"},
                                                 {.name = "top/data/0", .bytes = "second one"}};
  return members;
}

absl::StatusOr<ZipArchive> Open(const testing::TempFolder& folder, std::string_view bytes) {
  const auto file = base::File::Open(folder.Write("a.zip", bytes));
  if (!file.ok()) return file.status();
  return ZipArchive::Open(*file);
}

absl::StatusOr<ZipArchive> Open(std::string_view bytes) {
  return Open(testing::TempFolder(), bytes);
}

// An archive of TwoMembers in which `bytes` bytes at `offset` after the last `signature` say
// `value` instead.
std::string Patched(std::string_view signature, std::size_t offset, std::uint64_t value, int bytes,
                    const testing::ZipOptions& options = {}) {
  std::string file = ZipFile(TwoMembers(), options);
  PatchLittle(file, file.rfind(signature) + offset, value, bytes);
  return file;
}

void ExpectTwoMembers(const absl::StatusOr<ZipArchive>& archive) {
  ASSERT_THAT(archive, IsOk());
  EXPECT_EQ(archive->records().size(), 2U);
  EXPECT_EQ(*archive->Read("a", 100), "first");
  EXPECT_EQ(*archive->Read("data/0", 100), "second one");
  EXPECT_EQ(archive->Find("top/a"), std::nullopt);
}

TEST(Zip, ReadsStoredRecords) { ExpectTwoMembers(Open(ZipFile(TwoMembers()))); }

TEST(Zip, ReadsZip64Records) { ExpectTwoMembers(Open(ZipFile(TwoMembers(), {.zip64 = true}))); }

TEST(Zip, ReadsAnArchiveWithAComment) {
  ExpectTwoMembers(Open(ZipFile(TwoMembers(), {.comment = std::string(0xFFFF, 'c')})));
}

TEST(Zip, TakesTheEndRecordThatEndsWithTheFile) {
  const std::string fake = ZipFile({{.name = "top/fake", .bytes = "x"}});

  ExpectTwoMembers(Open(ZipFile(TwoMembers(), {.comment = fake + "..."})));
}

TEST(Zip, IgnoresLocalSizesThatAreLeftOpen) {
  std::string file = Patched(kLocal, 6, 0x0808, 2);
  PatchLittle(file, file.rfind(kLocal) + 18, 0, 8);

  ExpectTwoMembers(Open(file));
}

TEST(Zip, RefusesARecordThatIsNotThere) {
  const testing::TempFolder folder;
  const auto archive = Open(folder, ZipFile(TwoMembers()));

  ASSERT_THAT(archive, IsOk());
  EXPECT_THAT(archive->Read("b", 100), StatusIs(kDataLoss, "a.zip: no record \"b\""));
}

TEST(Zip, RefusesToReadBeyondTheLimit) {
  const testing::TempFolder folder;
  const auto archive = Open(folder, ZipFile(TwoMembers()));

  ASSERT_THAT(archive, IsOk());
  EXPECT_THAT(archive->Read("a", 4), StatusIs(kResourceExhausted, "of 5 bytes, limit 4"));
}

TEST(Zip, RefusesAFileWithoutEndRecord) {
  EXPECT_THAT(Open("PK"), StatusIs(kDataLoss, "no end of a zip archive"));
  EXPECT_THAT(Open(Patched(kEnd, 0, 0, 4)), StatusIs(kDataLoss, "no end of a zip archive"));
}

TEST(Zip, RefusesBytesAfterTheEnd) {
  EXPECT_THAT(Open(ZipFile(TwoMembers()) + "x"), StatusIs(kDataLoss, "no end of a zip archive"));
}

TEST(Zip, RefusesBytesBeforeTheArchive) {
  EXPECT_THAT(Open("x" + ZipFile(TwoMembers())), StatusIs(kDataLoss, "zip directory"));
}

TEST(Zip, B03RefusesCompression) {
  EXPECT_THAT(Open(ZipFile({{.name = "top/a", .bytes = "x", .method = 8}})),
              StatusIs(kUnimplemented, "record \"top/a\": compressed by method 8"));
}

TEST(Zip, B03RefusesEncryption) {
  for (const int flag : {0x0001, 0x0040, 0x2000}) {
    EXPECT_THAT(Open(ZipFile({{.name = "top/a", .bytes = "x", .flags = flag}})),
                StatusIs(kUnimplemented, "encrypted"));
  }
}

TEST(Zip, B03RefusesSeveralDisks) {
  EXPECT_THAT(Open(Patched(kEnd, 4, 1, 2)), StatusIs(kUnimplemented, "several disks"));
  EXPECT_THAT(Open(Patched(kEnd, 6, 1, 2)), StatusIs(kUnimplemented, "several disks"));
  EXPECT_THAT(Open(Patched(kEnd, 8, 1, 2)), StatusIs(kUnimplemented, "several disks"));
  EXPECT_THAT(Open(Patched(kEntry, 34, 1, 2)), StatusIs(kUnimplemented, "another disk"));
  const testing::ZipOptions zip64 = {.zip64 = true};
  EXPECT_THAT(Open(Patched(kZip64Locator, 16, 2, 4, zip64)),
              StatusIs(kUnimplemented, "several disks"));
  EXPECT_THAT(Open(Patched(kZip64End, 16, 1, 4, zip64)), StatusIs(kUnimplemented, "several disks"));
}

TEST(Zip, B03RefusesADirectoryThatIsNotWhereItSays) {
  EXPECT_THAT(Open(Patched(kEnd, 16, 0, 4)), StatusIs(kDataLoss, "zip directory"));
  EXPECT_THAT(Open(Patched(kEnd, 12, 0, 4)), StatusIs(kDataLoss, "zip directory"));
  EXPECT_THAT(Open(Patched(kEnd, 12, 0xFFFFFFFE, 4)), StatusIs(kDataLoss, "zip directory"));
}

TEST(Zip, B03RefusesAWrongNumberOfRecords) {
  for (const int count : {0, 1, 3, 1000}) {
    std::string file = Patched(kEnd, 8, static_cast<std::uint64_t>(count), 2);
    PatchLittle(file, file.rfind(kEnd) + 10, static_cast<std::uint64_t>(count), 2);
    EXPECT_THAT(Open(file), StatusIs(kDataLoss)) << count;
  }
}

TEST(Zip, B03RefusesMoreRecordsThanTheLimit) {
  std::vector<ZipMember> members;
  for (int i = 0; i < 100'065; ++i)
    members.push_back({.name = fmt::format("t/{}", i), .bytes = {}});

  EXPECT_THAT(Open(ZipFile(members, {.zip64 = true, .alignment = 1})),
              StatusIs(kResourceExhausted, "100065 records"));
}

TEST(Zip, B03RefusesZip64RecordsThatLie) {
  const testing::ZipOptions zip64 = {.zip64 = true};
  const std::uint64_t huge = ~std::uint64_t{0};
  EXPECT_THAT(Open(Patched(kZip64Locator, 8, 0, 8, zip64)), StatusIs(kDataLoss, "zip64"));
  EXPECT_THAT(Open(Patched(kZip64Locator, 8, huge, 8, zip64)), StatusIs(kDataLoss, "zip64"));
  EXPECT_THAT(Open(Patched(kZip64End, 0, 0, 4, zip64)), StatusIs(kDataLoss, "zip64"));
  EXPECT_THAT(Open(Patched(kZip64End, 4, 45, 8, zip64)), StatusIs(kDataLoss, "zip64"));
  EXPECT_THAT(Open(Patched(kZip64End, 40, huge, 8, zip64)), StatusIs(kDataLoss, "zip directory"));
  EXPECT_THAT(Open(Patched(kZip64End, 48, huge, 8, zip64)), StatusIs(kDataLoss, "zip directory"));
  EXPECT_THAT(Open(Patched(kEnd, 12, 7, 4, zip64)), StatusIs(kDataLoss, "contradict"));
  EXPECT_THAT(Open(Patched(kEnd, 16, 7, 4, zip64)), StatusIs(kDataLoss, "contradict"));
  EXPECT_THAT(Open(Patched(kEnd, 10, 7, 2, zip64)), StatusIs(kDataLoss, "contradict"));
}

TEST(Zip, B03RefusesARecordLargerThanTheFileByZip64) {
  const std::size_t zip64_field = 46 + std::string_view("top/data/0").size() + 4;
  for (const std::uint64_t bytes :
       {std::uint64_t{1000}, std::uint64_t{1} << 63, ~std::uint64_t{0}}) {
    std::string file = Patched(kEntry, zip64_field, bytes, 8, {.zip64 = true});
    PatchLittle(file, file.rfind(kEntry) + zip64_field + 8, bytes, 8);
    EXPECT_THAT(Open(file), StatusIs(kDataLoss, "record \"top/data/0\"")) << bytes;
  }
}

TEST(Zip, B03RefusesALocalHeaderOutsideTheFile) {
  const std::size_t offset_field = 46 + std::string_view("top/data/0").size() + 4 + 16;
  for (const std::uint64_t offset : {std::uint64_t{1} << 40, ~std::uint64_t{0}}) {
    EXPECT_THAT(Open(Patched(kEntry, offset_field, offset, 8, {.zip64 = true})),
                StatusIs(kDataLoss, "outside the file"));
  }
}

TEST(Zip, B03RefusesOpenFieldsWithoutZip64) {
  EXPECT_THAT(Open(Patched(kEntry, 24, 0xFFFFFFFF, 4)), StatusIs(kDataLoss, "no zip64 field"));
  EXPECT_THAT(Open(Patched(kEntry, 42, 0xFFFFFFFF, 4)), StatusIs(kDataLoss, "no zip64 field"));
}

TEST(Zip, B03RefusesAnExtraFieldThatLeadsOutOfItsEntry) {
  const std::size_t length_field = 46 + std::string_view("top/data/0").size() + 2;

  EXPECT_THAT(Open(Patched(kEntry, length_field, 25, 2, {.zip64 = true})),
              StatusIs(kDataLoss, "extra field"));
}

TEST(Zip, B03RefusesAnEntryThatLeadsOutOfTheDirectory) {
  EXPECT_THAT(Open(Patched(kEntry, 28, 0xFFFF, 2)), StatusIs(kDataLoss, "malformed zip directory"));
  EXPECT_THAT(Open(Patched(kEntry, 32, 1, 2)), StatusIs(kDataLoss, "malformed zip directory"));
  EXPECT_THAT(Open(Patched(kEntry, 0, 0, 4)), StatusIs(kDataLoss, "malformed zip directory"));
}

TEST(Zip, B03RefusesALocalHeaderThatContradictsTheDirectory) {
  EXPECT_THAT(Open(Patched(kLocal, 0, 0, 4)), StatusIs(kDataLoss, "no local header"));
  EXPECT_THAT(Open(Patched(kLocal, 6, 1, 2)), StatusIs(kDataLoss, "about compression"));
  EXPECT_THAT(Open(Patched(kLocal, 8, 8, 2)), StatusIs(kDataLoss, "about compression"));
  EXPECT_THAT(Open(Patched(kLocal, 18, 9, 4)), StatusIs(kDataLoss, "by the local header"));
  EXPECT_THAT(Open(Patched(kLocal, 22, 9, 4)), StatusIs(kDataLoss, "by the local header"));
  EXPECT_THAT(Open(Patched(kLocal, 26, 9, 2)), StatusIs(kDataLoss, "about the name"));
  EXPECT_THAT(Open(Patched(kLocal, 30, 'T', 1)), StatusIs(kDataLoss, "about the name"));
}

TEST(Zip, B03RefusesALocalHeaderThatPushesTheBytesOutOfTheFile) {
  EXPECT_THAT(Open(Patched(kLocal, 28, 0xFFFF, 2)), StatusIs(kDataLoss, "10 bytes at byte"));
}

TEST(Zip, B03RefusesAStoredSizeThatIsNotTheSize) {
  EXPECT_THAT(Open(Patched(kEntry, 20, 9, 4)), StatusIs(kDataLoss, "9 stored bytes, expected 10"));
}

TEST(Zip, B03RefusesOverlappingRecords) {
  // The first record, its sizes left open, claims the bytes of the second.
  std::string file = ZipFile(TwoMembers(), {.alignment = 1});
  PatchLittle(file, 6, 0x0808, 2);
  const std::size_t first_entry = file.find(kEntry);
  PatchLittle(file, first_entry + 20, 6, 4);
  PatchLittle(file, first_entry + 24, 6, 4);

  EXPECT_THAT(Open(file), StatusIs(kDataLoss, "overlap"));
}

TEST(Zip, B03RefusesANameTwice) {
  EXPECT_THAT(Open(ZipFile({{.name = "top/a", .bytes = "1"}, {.name = "top/a", .bytes = "2"}})),
              StatusIs(kDataLoss, "record \"top/a\": appears twice"));
}

TEST(Zip, RefusesASecondTopFolder) {
  EXPECT_THAT(Open(ZipFile({{.name = "top/a", .bytes = "1"}, {.name = "other/b", .bytes = "2"}})),
              StatusIs(kDataLoss, "record \"other/b\": expected a name in the top folder \"top\""));
}

TEST(Zip, B04RefusesNamesOutsideOneFolder) {
  EXPECT_THAT(Open(ZipFile({{.name = "a", .bytes = "1"}})), StatusIs(kDataLoss, "top folder"));
  EXPECT_THAT(Open(ZipFile({{.name = "/etc/passwd", .bytes = "1"}})),
              StatusIs(kDataLoss, "top folder"));
}

TEST(Zip, B04TakesNamesForNamesAndNeverForPaths) {
  const testing::TempFolder folder;
  const auto archive = Open(folder, ZipFile({{.name = "../../etc/passwd", .bytes = "harmless"}}));

  ASSERT_THAT(archive, IsOk());
  EXPECT_EQ(*archive->Read("../etc/passwd", 100), "harmless");
}

}  // namespace
}  // namespace codegen::checkpoint
