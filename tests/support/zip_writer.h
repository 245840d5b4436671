// SPDX-License-Identifier: Apache-2.0
//
// Zip archives as torch writes them, and as it never would.
#ifndef CODEGEN_TESTS_SUPPORT_ZIP_WRITER_H_
#define CODEGEN_TESTS_SUPPORT_ZIP_WRITER_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace codegen::testing {

// Appends the low `bytes` bytes of `value`, least significant first.
inline void AppendLittle(std::string& out, std::uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i, value >>= 8) out += static_cast<char>(value & 0xFF);
}

// Overwrites the bytes at `at` in the same way.
inline void PatchLittle(std::string& out, std::size_t at, std::uint64_t value, int bytes) {
  std::string patch;
  AppendLittle(patch, value, bytes);
  out.replace(at, patch.size(), patch);
}

struct ZipMember {
  std::string name;
  std::string bytes;
  int method = 0;
  int flags = 0x0800;  // UTF-8 names
};

struct ZipOptions {
  bool zip64 = false;  // every size and offset in zip64 fields
  std::string comment;
  std::size_t alignment = 64;  // of the bytes of each record, by padding of its local header
};

namespace zip_writer {

struct Placed {
  const ZipMember* member;
  std::uint64_t offset;
};

inline void AppendLocal(std::string& out, const ZipMember& member, const ZipOptions& options) {
  const std::size_t header_end = out.size() + 30 + member.name.size() + 4;
  const std::size_t padding =
      (options.alignment - header_end % options.alignment) % options.alignment;
  const std::uint64_t size = options.zip64 ? 0xFFFFFFFF : member.bytes.size();
  AppendLittle(out, 0x04034b50, 4);
  AppendLittle(out, 20, 2);
  AppendLittle(out, static_cast<std::uint64_t>(member.flags), 2);
  AppendLittle(out, static_cast<std::uint64_t>(member.method), 2);
  AppendLittle(out, 0, 8);  // time, date, CRC
  AppendLittle(out, size, 4);
  AppendLittle(out, size, 4);
  AppendLittle(out, member.name.size(), 2);
  AppendLittle(out, 4 + padding, 2);
  out += member.name;
  out += "FB";
  AppendLittle(out, padding, 2);
  out.append(padding, 'Z');
  out += member.bytes;
}

inline void AppendEntry(std::string& out, const Placed& placed, const ZipOptions& options) {
  const ZipMember& member = *placed.member;
  const std::uint64_t size = options.zip64 ? 0xFFFFFFFF : member.bytes.size();
  AppendLittle(out, 0x02014b50, 4);
  AppendLittle(out, 0, 2);
  AppendLittle(out, 20, 2);
  AppendLittle(out, static_cast<std::uint64_t>(member.flags), 2);
  AppendLittle(out, static_cast<std::uint64_t>(member.method), 2);
  AppendLittle(out, 0, 8);
  AppendLittle(out, size, 4);
  AppendLittle(out, size, 4);
  AppendLittle(out, member.name.size(), 2);
  AppendLittle(out, options.zip64 ? 28 : 0, 2);
  AppendLittle(out, 0, 2 + 2 + 2 + 4);  // comment, disk, attributes
  AppendLittle(out, options.zip64 ? 0xFFFFFFFF : placed.offset, 4);
  out += member.name;
  if (!options.zip64) return;
  AppendLittle(out, 1, 2);
  AppendLittle(out, 24, 2);
  AppendLittle(out, member.bytes.size(), 8);
  AppendLittle(out, member.bytes.size(), 8);
  AppendLittle(out, placed.offset, 8);
}

inline void AppendZip64End(std::string& out, std::uint64_t directory, std::uint64_t count) {
  const std::uint64_t end = out.size();
  AppendLittle(out, 0x06064b50, 4);
  AppendLittle(out, 44, 8);
  AppendLittle(out, 0, 2 + 2 + 4 + 4);
  AppendLittle(out, count, 8);
  AppendLittle(out, count, 8);
  AppendLittle(out, end - directory, 8);
  AppendLittle(out, directory, 8);
  AppendLittle(out, 0x07064b50, 4);
  AppendLittle(out, 0, 4);
  AppendLittle(out, end, 8);
  AppendLittle(out, 1, 4);
}

}  // namespace zip_writer

// Returns an archive. The fields after the directory are, from the end: comment, end record (22
// bytes), and with zip64 locator (20) and zip64 end record (56).
inline std::string ZipFile(const std::vector<ZipMember>& members, const ZipOptions& options = {}) {
  std::string out;
  std::vector<zip_writer::Placed> placed;
  for (const ZipMember& member : members) {
    placed.push_back({.member = &member, .offset = out.size()});
    zip_writer::AppendLocal(out, member, options);
  }
  const std::uint64_t directory = out.size();
  for (const auto& entry : placed) zip_writer::AppendEntry(out, entry, options);
  const std::uint64_t directory_bytes = out.size() - directory;
  if (options.zip64) zip_writer::AppendZip64End(out, directory, members.size());
  AppendLittle(out, 0x06054b50, 4);
  AppendLittle(out, 0, 4);
  AppendLittle(out, options.zip64 ? 0xFFFF : members.size(), 2);
  AppendLittle(out, options.zip64 ? 0xFFFF : members.size(), 2);
  AppendLittle(out, options.zip64 ? 0xFFFFFFFF : directory_bytes, 4);
  AppendLittle(out, options.zip64 ? 0xFFFFFFFF : directory, 4);
  AppendLittle(out, options.comment.size(), 2);
  return out + options.comment;
}

}  // namespace codegen::testing

#endif  // CODEGEN_TESTS_SUPPORT_ZIP_WRITER_H_
