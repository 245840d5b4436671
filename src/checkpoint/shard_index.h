// SPDX-License-Identifier: Apache-2.0
//
// The index of weights that are split over several files.
#ifndef CODEGEN_CHECKPOINT_SHARD_INDEX_H_
#define CODEGEN_CHECKPOINT_SHARD_INDEX_H_

#include <absl/status/statusor.h>

#include <map>
#include <set>
#include <string>

namespace codegen::checkpoint {

struct ShardIndex {
  std::map<std::string, std::string> file_of;  // tensor -> file
  std::set<std::string> files;
};

// Reads model.safetensors.index.json or pytorch_model.bin.index.json. Every file it names is a
// plain file name: joined to the folder it stays in the folder.
// Errors: as base::JsonDocument::Read; DATA_LOSS (not an index), INVALID_ARGUMENT (a file name that
// is not plain), RESOURCE_EXHAUSTED (beyond Limits).
absl::StatusOr<ShardIndex> ReadShardIndex(const std::string& path);

}  // namespace codegen::checkpoint

#endif  // CODEGEN_CHECKPOINT_SHARD_INDEX_H_
