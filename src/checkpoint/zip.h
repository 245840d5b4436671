// SPDX-License-Identifier: Apache-2.0
//
// The zip container of a torch file: which records it has and where their bytes lie.
#ifndef CODEGEN_CHECKPOINT_ZIP_H_
#define CODEGEN_CHECKPOINT_ZIP_H_

#include <absl/status/statusor.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/file.h"

namespace codegen::checkpoint {

// Bytes [offset, offset + bytes) of the file.
struct ZipRecord {
  std::int64_t offset = 0;
  std::int64_t bytes = 0;
};

// The records of an archive by name, without the one top folder they all lie in. Every record has
// been checked to lie inside the file and apart from all others. Immutable.
class ZipArchive {
 public:
  // Errors: DATA_LOSS (the file contradicts itself or ends early), UNIMPLEMENTED (compressed,
  // encrypted, split over disks), RESOURCE_EXHAUSTED (too many records).
  static absl::StatusOr<ZipArchive> Open(std::shared_ptr<const base::File> file);

  // Returns nothing if there is no such record.
  std::optional<ZipRecord> Find(std::string_view name) const;
  // Errors: DATA_LOSS if there is no such record, RESOURCE_EXHAUSTED if it exceeds `limit`.
  absl::StatusOr<std::string> Read(std::string_view name, std::int64_t limit) const;

  const std::map<std::string, ZipRecord, std::less<>>& records() const { return records_; }

 private:
  std::shared_ptr<const base::File> file_;
  std::map<std::string, ZipRecord, std::less<>> records_;
};

}  // namespace codegen::checkpoint

#endif  // CODEGEN_CHECKPOINT_ZIP_H_
