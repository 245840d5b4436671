// SPDX-License-Identifier: Apache-2.0
//
// The safetensors container: an 8-byte length, a JSON header, then the bytes of all tensors.
#ifndef CODEGEN_CHECKPOINT_SAFETENSORS_H_
#define CODEGEN_CHECKPOINT_SAFETENSORS_H_

#include <absl/status/statusor.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/file.h"
#include "checkpoint/tensor_entry.h"

namespace codegen::checkpoint {

struct Safetensors {
  std::map<std::string, std::string> metadata = {};  // __metadata__
  std::vector<TensorEntry> tensors = {};             // in the order of their bytes
};

// Reads the header of a safetensors file.
// Errors: DATA_LOSS (the file contradicts itself or ends early), UNIMPLEMENTED (a dtype that is not
// in tensor/dtype.h), RESOURCE_EXHAUSTED (beyond Limits).
absl::StatusOr<Safetensors> ReadSafetensors(const std::shared_ptr<const base::File>& file);

// The same, for who wants the tensors alone.
absl::StatusOr<std::vector<TensorEntry>> ListSafetensors(
    const std::shared_ptr<const base::File>& file);

}  // namespace codegen::checkpoint

#endif  // CODEGEN_CHECKPOINT_SAFETENSORS_H_
