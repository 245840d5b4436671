// SPDX-License-Identifier: Apache-2.0
//
// A file of torch.save: a zip archive of one pickle and one record per storage.
#ifndef CODEGEN_CHECKPOINT_TORCH_FILE_H_
#define CODEGEN_CHECKPOINT_TORCH_FILE_H_

#include <absl/status/statusor.h>

#include <memory>
#include <vector>

#include "base/file.h"
#include "checkpoint/tensor_entry.h"

namespace codegen::checkpoint {

// Returns the tensors of a torch file by name. Tensors that share a storage share bytes of the
// file.
// Errors: DATA_LOSS (the file contradicts itself or ends early), INVALID_ARGUMENT (a pickled object
// that no state dict needs, a view that overlaps itself), UNIMPLEMENTED (the format before torch
// 1.6, TorchScript, big-endian, compressed), RESOURCE_EXHAUSTED (beyond Limits).
absl::StatusOr<std::vector<TensorEntry>> ListTorchFile(
    const std::shared_ptr<const base::File>& file);

}  // namespace codegen::checkpoint

#endif  // CODEGEN_CHECKPOINT_TORCH_FILE_H_
