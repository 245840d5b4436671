// SPDX-License-Identifier: Apache-2.0
//
// The format, from PKWARE's APPNOTE.TXT 6.3.10 (section numbers below), as far as torch writes it:
//
//   local header, name, extra, bytes [, descriptor]   (4.3.7)   for every record
//   central directory                                 (4.3.12)  one entry a record
//   [zip64 end record (4.3.14), zip64 locator (4.3.15)]
//   end record, comment                               (4.3.16)
//
// The central directory is what counts; a local header is read to learn how long its name and
// padding are, and what it repeats must agree, for two readers that believe different copies see
// different files. Its sizes may be left open (flag bit 3: torch writes a descriptor behind the
// bytes, which the directory makes needless), so only closed ones are compared.
//
// Torch stores records uncompressed, hence all are read in place. Compressed and encrypted records
// and archives of several disks are refused, as are duplicate names, names outside one top folder,
// records that overlap each other or the directory, and bytes between the directory and the end
// record. Names are compared, never used as paths. The CRC is not verified: recent versions of
// torch may leave it out, and weights have no other protection in safetensors either.
#include "checkpoint/zip.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <tuple>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/checked_math.h"
#include "base/quote.h"
#include "checkpoint/little_endian.h"
#include "codegen/options.h"

namespace codegen::checkpoint {
namespace {

constexpr std::int64_t kEndBytes = 22;
constexpr std::int64_t kMaxCommentBytes = 0xFFFF;
constexpr std::int64_t kZip64LocatorBytes = 20;
constexpr std::int64_t kZip64EndBytes = 56;
constexpr std::int64_t kEntryBytes = 46;
constexpr std::int64_t kLocalBytes = 30;
constexpr std::uint32_t kEndSignature = 0x06054b50;
constexpr std::uint32_t kZip64LocatorSignature = 0x07064b50;
constexpr std::uint32_t kZip64EndSignature = 0x06064b50;
constexpr std::uint32_t kEntrySignature = 0x02014b50;
constexpr std::uint32_t kLocalSignature = 0x04034b50;
constexpr std::uint16_t kOpen16 = 0xFFFF;      // "see zip64"
constexpr std::uint32_t kOpen32 = 0xFFFFFFFF;  // "see zip64"
constexpr std::uint16_t kZip64ExtraId = 0x0001;
constexpr std::uint16_t kEncryptedFlags = 0x2041;  // encrypted, strongly, directory hidden (4.4.4)
constexpr std::uint16_t kSizesOpenFlag = 0x0008;
// A few records beside one per tensor, and about a hundred bytes for each.
constexpr std::int64_t kMaxRecords = Limits::tensors + 64;
constexpr std::int64_t kMaxDirectoryBytes = std::int64_t{1024} * kMaxRecords;

// A header of fixed layout with what follows it.
struct Fields {
  std::string_view bytes;
  std::uint16_t U16(std::size_t at) const { return LittleEndian<std::uint16_t>(bytes, at); }
  std::uint32_t U32(std::size_t at) const { return LittleEndian<std::uint32_t>(bytes, at); }
  std::uint64_t U64(std::size_t at) const { return LittleEndian<std::uint64_t>(bytes, at); }
};

// The central directory, unchecked.
struct Directory {
  std::uint64_t offset = 0;
  std::uint64_t bytes = 0;
  std::uint64_t records = 0;
  std::int64_t end_record = 0;  // where what follows the directory starts
};

struct Entry {
  std::string_view name;
  std::uint16_t flags = 0;
  std::uint64_t stored_bytes = 0;
  std::uint64_t bytes = 0;
  std::uint64_t local_offset = 0;
};

// What a record occupies, its local header included.
struct Extent {
  std::int64_t begin = 0;
  std::int64_t end = 0;
};

class Reader {
 public:
  explicit Reader(const base::File& file) : file_(file) {}

  absl::StatusOr<std::map<std::string, ZipRecord, std::less<>>> Records();

 private:
  absl::StatusOr<Directory> FindDirectory() const;
  absl::StatusOr<Directory> FindZip64Directory(const Fields& locator, std::int64_t locator_offset,
                                               const Directory& plain) const;
  absl::StatusOr<std::string> ReadDirectory(const Directory& directory) const;
  absl::StatusOr<Entry> TakeEntry(std::string_view& directory) const;
  absl::Status ApplyZip64(std::string_view extra, Entry& entry) const;
  absl::StatusOr<ZipRecord> Locate(const Entry& entry);
  absl::Status CheckLocalHeader(const Entry& entry, const Fields& local) const;
  absl::StatusOr<std::string_view> StripTopFolder(std::string_view name);
  absl::Status CheckApart();

  absl::Status Malformed(std::string_view what) const {
    return absl::DataLossError(fmt::format("{}: {}", file_.name(), what));
  }
  absl::Status Malformed(const Entry& entry, std::string_view what) const {
    return Malformed(fmt::format("record {}: {}", base::Quote(entry.name), what));
  }
  absl::Status Unsupported(const Entry& entry, std::string_view what) const {
    return absl::UnimplementedError(
        fmt::format("{}: record {}: {}", file_.name(), base::Quote(entry.name), what));
  }

  const base::File& file_;
  std::int64_t directory_offset_ = 0;
  std::string top_folder_;
  std::vector<Extent> extents_;
};

// Returns where in `tail`, the end of the file, the end record starts: the last one whose comment
// ends with the file.
std::optional<std::size_t> FindEndRecord(std::string_view tail) {
  if (tail.size() < kEndBytes) return std::nullopt;
  for (std::size_t at = tail.size() - kEndBytes + 1; at-- > 0;) {
    const Fields end{tail.substr(at)};
    if (end.U32(0) == kEndSignature && end.U16(20) == end.bytes.size() - kEndBytes) return at;
  }
  return std::nullopt;
}

absl::StatusOr<Directory> Reader::FindDirectory() const {
  const std::int64_t tail_bytes =
      std::min(file_.size(), kZip64LocatorBytes + kEndBytes + kMaxCommentBytes);
  const std::int64_t tail_offset = file_.size() - tail_bytes;
  CODEGEN_ASSIGN_OR_RETURN(const std::string tail, file_.ReadString(tail_offset, tail_bytes));
  const std::optional<std::size_t> at = FindEndRecord(tail);
  if (!at) return Malformed("no end of a zip archive (truncated file?)");

  const Fields end{std::string_view(tail).substr(*at)};
  const Directory plain = {.offset = end.U32(16),
                           .bytes = end.U32(12),
                           .records = end.U16(10),
                           .end_record = tail_offset + static_cast<std::int64_t>(*at)};
  if (*at >= kZip64LocatorBytes) {
    const Fields locator{std::string_view(tail).substr(*at - kZip64LocatorBytes)};
    if (locator.U32(0) == kZip64LocatorSignature)
      return FindZip64Directory(locator, plain.end_record - kZip64LocatorBytes, plain);
  }
  if (end.U16(4) != 0 || end.U16(6) != 0 || end.U16(8) != plain.records)
    return absl::UnimplementedError(
        fmt::format("{}: a zip archive of several disks", file_.name()));
  return plain;
}

absl::StatusOr<Directory> Reader::FindZip64Directory(const Fields& locator,
                                                     std::int64_t locator_offset,
                                                     const Directory& plain) const {
  const std::int64_t offset = locator_offset - kZip64EndBytes;
  if (offset < 0 || locator.U64(8) != static_cast<std::uint64_t>(offset))
    return Malformed("the zip64 end record is not where its locator says");
  CODEGEN_ASSIGN_OR_RETURN(const std::string record, file_.ReadString(offset, kZip64EndBytes));
  const Fields end{record};
  if (end.U32(0) != kZip64EndSignature || end.U64(4) != kZip64EndBytes - 12)
    return Malformed("no zip64 end record where its locator says");
  const Directory directory = {
      .offset = end.U64(48), .bytes = end.U64(40), .records = end.U64(32), .end_record = offset};
  if (locator.U32(4) != 0 || locator.U32(16) > 1 || end.U32(16) != 0 || end.U32(20) != 0 ||
      end.U64(24) != directory.records)
    return absl::UnimplementedError(
        fmt::format("{}: a zip archive of several disks", file_.name()));
  if ((plain.offset != kOpen32 && plain.offset != directory.offset) ||
      (plain.bytes != kOpen32 && plain.bytes != directory.bytes) ||
      (plain.records != kOpen16 && plain.records != directory.records))
    return Malformed("the two end records of the zip archive contradict each other");
  return directory;
}

absl::StatusOr<std::string> Reader::ReadDirectory(const Directory& directory) const {
  const std::uint64_t end_record = static_cast<std::uint64_t>(directory.end_record);
  if (directory.bytes > end_record || directory.offset != end_record - directory.bytes) {
    return Malformed(fmt::format("zip directory of {} bytes at byte {}, expected to end at byte {}",
                                 directory.bytes, directory.offset, end_record));
  }
  if (directory.records > directory.bytes / kEntryBytes) {
    return Malformed(fmt::format("zip directory of {} bytes for {} records", directory.bytes,
                                 directory.records));
  }
  if (directory.records > std::uint64_t{kMaxRecords} ||
      directory.bytes > std::uint64_t{kMaxDirectoryBytes}) {
    return absl::ResourceExhaustedError(
        fmt::format("{}: zip directory of {} records and {} bytes, limits {} and {}", file_.name(),
                    directory.records, directory.bytes, kMaxRecords, kMaxDirectoryBytes));
  }
  return file_.ReadString(static_cast<std::int64_t>(directory.offset),
                          static_cast<std::int64_t>(directory.bytes));
}

// Takes the next entry from the front of `directory`.
absl::StatusOr<Entry> Reader::TakeEntry(std::string_view& directory) const {
  const Fields fields{directory};
  if (directory.size() < kEntryBytes || fields.U32(0) != kEntrySignature)
    return Malformed("malformed zip directory");
  const std::size_t name_bytes = fields.U16(28);
  const std::size_t extra_bytes = fields.U16(30);
  const std::size_t comment_bytes = fields.U16(32);
  if (directory.size() - kEntryBytes < name_bytes + extra_bytes + comment_bytes)
    return Malformed("malformed zip directory: an entry leads out of it");

  Entry entry = {.name = directory.substr(kEntryBytes, name_bytes),
                 .flags = fields.U16(8),
                 .stored_bytes = fields.U32(20),
                 .bytes = fields.U32(24),
                 .local_offset = fields.U32(42)};
  if ((entry.flags & kEncryptedFlags) != 0) return Unsupported(entry, "encrypted");
  if (const int method = fields.U16(10); method != 0)
    return Unsupported(entry, fmt::format("compressed by method {}, expected stored", method));
  if (fields.U16(34) != 0) return Unsupported(entry, "on another disk");
  CODEGEN_RETURN_IF_ERROR(
      ApplyZip64(directory.substr(kEntryBytes + name_bytes, extra_bytes), entry));
  directory.remove_prefix(kEntryBytes + name_bytes + extra_bytes + comment_bytes);
  return entry;
}

// Replaces the fields that the entry leaves open by those of its zip64 extra field (4.5.3).
absl::Status Reader::ApplyZip64(std::string_view extra, Entry& entry) const {
  std::string_view zip64;
  while (extra.size() >= 4) {
    const Fields field{extra};
    const std::size_t bytes = field.U16(2);
    if (extra.size() - 4 < bytes) return Malformed(entry, "an extra field leads out of its entry");
    if (field.U16(0) == kZip64ExtraId) zip64 = extra.substr(4, bytes);
    extra.remove_prefix(4 + bytes);
  }
  for (std::uint64_t* const value : {&entry.bytes, &entry.stored_bytes, &entry.local_offset}) {
    if (*value != kOpen32) continue;
    if (zip64.size() < 8) return Malformed(entry, "no zip64 field for what is left open");
    *value = LittleEndian<std::uint64_t>(zip64, 0);
    zip64.remove_prefix(8);
  }
  return absl::OkStatus();
}

absl::Status Reader::CheckLocalHeader(const Entry& entry, const Fields& local) const {
  if (local.U32(0) != kLocalSignature) return Malformed(entry, "no local header where expected");
  const std::uint16_t flags = local.U16(6);
  if ((flags & kEncryptedFlags) != 0 || local.U16(8) != 0)
    return Malformed(entry, "the local header contradicts the directory about compression");
  if (local.U16(26) != entry.name.size())
    return Malformed(entry, "the local header contradicts the directory about the name");
  if ((flags & kSizesOpenFlag) != 0) return absl::OkStatus();
  for (const std::uint32_t bytes : {local.U32(18), local.U32(22)}) {
    if (bytes != entry.bytes && bytes != kOpen32) {
      return Malformed(entry, fmt::format("{} bytes by the local header, {} by the directory",
                                          bytes, entry.bytes));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<ZipRecord> Reader::Locate(const Entry& entry) {
  if (entry.stored_bytes != entry.bytes) {
    return Malformed(entry,
                     fmt::format("{} stored bytes, expected {}", entry.stored_bytes, entry.bytes));
  }
  const std::uint64_t room = static_cast<std::uint64_t>(directory_offset_);
  const std::uint64_t header_bytes = kLocalBytes + entry.name.size();
  if (entry.local_offset > room || room - entry.local_offset < header_bytes)
    return Malformed(entry, "the local header lies outside the file");
  const std::int64_t begin = static_cast<std::int64_t>(entry.local_offset);
  CODEGEN_ASSIGN_OR_RETURN(const std::string header,
                           file_.ReadString(begin, static_cast<std::int64_t>(header_bytes)));
  const Fields local{header};
  CODEGEN_RETURN_IF_ERROR(CheckLocalHeader(entry, local));
  if (header.substr(kLocalBytes) != entry.name)
    return Malformed(entry, "the local header contradicts the directory about the name");

  const std::uint64_t offset = entry.local_offset + header_bytes + local.U16(28);
  if (offset > room || room - offset < entry.bytes) {
    return Malformed(entry, fmt::format("{} bytes at byte {} of a file of {}", entry.bytes, offset,
                                        file_.size()));
  }
  const ZipRecord record = {.offset = static_cast<std::int64_t>(offset),
                            .bytes = static_cast<std::int64_t>(entry.bytes)};
  extents_.push_back({.begin = begin, .end = record.offset + record.bytes});
  return record;
}

absl::StatusOr<std::string_view> Reader::StripTopFolder(std::string_view name) {
  const std::size_t slash = name.find('/');
  if (slash == std::string_view::npos || slash == 0) {
    return Malformed(
        fmt::format("record {}: expected a name in one top folder", base::Quote(name)));
  }
  if (top_folder_.empty()) top_folder_ = name.substr(0, slash);
  if (name.substr(0, slash) != top_folder_) {
    return Malformed(fmt::format("record {}: expected a name in the top folder {}",
                                 base::Quote(name), base::Quote(top_folder_)));
  }
  return name.substr(slash + 1);
}

absl::Status Reader::CheckApart() {
  std::ranges::sort(extents_, {}, &Extent::begin);
  for (std::size_t i = 1; i < extents_.size(); ++i) {
    if (extents_[i].begin < extents_[i - 1].end) {
      return Malformed(
          fmt::format("two records of the zip archive overlap at byte {}", extents_[i].begin));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::map<std::string, ZipRecord, std::less<>>> Reader::Records() {
  CODEGEN_ASSIGN_OR_RETURN(const Directory directory, FindDirectory());
  CODEGEN_ASSIGN_OR_RETURN(const std::string bytes, ReadDirectory(directory));
  directory_offset_ = static_cast<std::int64_t>(directory.offset);
  std::map<std::string, ZipRecord, std::less<>> records;
  std::string_view rest = bytes;
  for (std::uint64_t i = 0; i < directory.records; ++i) {
    CODEGEN_ASSIGN_OR_RETURN(const Entry entry, TakeEntry(rest));
    CODEGEN_ASSIGN_OR_RETURN(const std::string_view name, StripTopFolder(entry.name));
    CODEGEN_ASSIGN_OR_RETURN(const ZipRecord record, Locate(entry));
    if (!records.emplace(name, record).second) return Malformed(entry, "appears twice");
  }
  if (!rest.empty())
    return Malformed(
        fmt::format("{} bytes behind the last entry of the zip directory", rest.size()));
  CODEGEN_RETURN_IF_ERROR(CheckApart());
  return records;
}

}  // namespace

absl::StatusOr<ZipArchive> ZipArchive::Open(std::shared_ptr<const base::File> file) {
  ZipArchive archive;
  CODEGEN_ASSIGN_OR_RETURN(archive.records_, Reader(*file).Records());
  archive.file_ = std::move(file);
  return archive;
}

std::optional<ZipRecord> ZipArchive::Find(std::string_view name) const {
  const auto found = records_.find(name);
  if (found == records_.end()) return std::nullopt;
  return found->second;
}

absl::StatusOr<std::string> ZipArchive::Read(std::string_view name, std::int64_t limit) const {
  const std::optional<ZipRecord> record = Find(name);
  if (!record) {
    return absl::DataLossError(
        fmt::format("{}: no record {} in the archive", file_->name(), base::Quote(name)));
  }
  if (record->bytes > limit) {
    return absl::ResourceExhaustedError(fmt::format("{}: record {} of {} bytes, limit {}",
                                                    file_->name(), base::Quote(name), record->bytes,
                                                    limit));
  }
  return file_->ReadString(record->offset, record->bytes);
}

}  // namespace codegen::checkpoint
