// SPDX-License-Identifier: Apache-2.0
//
// A folder of weights, whatever the files in it are: opens it in Hugging Face's search order
// (model.safetensors, model.safetensors.index.json, pytorch_model.bin,
// pytorch_model.bin.index.json), lists its tensors and reads their rows as float32. Nothing here
// knows what a model is, and nothing here can run code from a file.
//
// Files are read with pread, not mapped: a file that shrinks while it is read gives DATA_LOSS, not
// SIGBUS.
#ifndef CODEGEN_CHECKPOINT_CHECKPOINT_H_
#define CODEGEN_CHECKPOINT_CHECKPOINT_H_

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>

#include "checkpoint/tensor_entry.h"
#include "codegen/options.h"

namespace codegen::checkpoint {

// Reads rows of one rank-1 or rank-2 tensor (a rank-1 tensor is one row). Rows of a contiguous
// tensor are read from the file as they are asked for; the storage of a transposed one
// is read whole on creation. Safe for concurrent use.
class RowReader {
 public:
  virtual ~RowReader() = default;
  virtual std::int64_t rows() const = 0;
  virtual std::int64_t columns() const = 0;
  virtual tensor::DType dtype() const = 0;  // F32, F16 or BF16
  // Writes rows [first, first + count) to `out` [count, columns] as float32.
  // Requires: 0 <= first, first + count <= rows(), out.size() == count * columns().
  // Errors: DATA_LOSS if the file ends early or changed.
  virtual absl::Status Read(std::int64_t first, std::int64_t count, std::span<float> out) const = 0;
  // The same, but the bits of dtype(). Requires: it is not F32.
  virtual absl::Status ReadStored(std::int64_t first, std::int64_t count,
                                  std::span<std::uint16_t> out) const = 0;
};

// An open folder. Immutable; safe for concurrent use.
class Checkpoint {
 public:
  // Errors name the file, the tensor, what was expected and what was found: NOT_FOUND,
  // PERMISSION_DENIED, DATA_LOSS (truncated or malformed), INVALID_ARGUMENT (shard name that is no
  // plain file name, forbidden pickle object, a name in two files), UNIMPLEMENTED (unknown dtype,
  // legacy torch file), RESOURCE_EXHAUSTED (beyond Limits).
  static absl::StatusOr<Checkpoint> Open(const std::string& folder, FileFormats formats);

  // All tensors by name, buffers included.
  const std::map<std::string, TensorEntry>& tensors() const { return tensors_; }
  // What a single safetensors file says of itself; empty for all others.
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  // "model.safetensors", "pytorch_model.bin.index.json", ...: the file that was found.
  const std::string& source() const { return source_; }

  // Errors: UNIMPLEMENTED if the dtype is not F32, F16 or BF16 or the rank not 1 or 2; as
  // RowReader::Read.
  static absl::StatusOr<std::unique_ptr<RowReader>> OpenRows(const TensorEntry& entry);

 private:
  std::map<std::string, TensorEntry> tensors_;
  std::map<std::string, std::string> metadata_;
  std::string source_;
};

}  // namespace codegen::checkpoint

#endif  // CODEGEN_CHECKPOINT_CHECKPOINT_H_
