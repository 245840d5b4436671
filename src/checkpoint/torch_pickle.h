// SPDX-License-Identifier: Apache-2.0
//
// The pickle of a torch file: which tensors it describes.
#ifndef CODEGEN_CHECKPOINT_TORCH_PICKLE_H_
#define CODEGEN_CHECKPOINT_TORCH_PICKLE_H_

#include <absl/status/statusor.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/dtype.h"

namespace codegen::checkpoint {

// A tensor as the pickle describes it: numbers that nothing has compared with anything yet.
struct PickledTensor {
  std::string name;
  std::string storage;  // the record "data/<storage>" of the archive
  tensor::DType dtype = tensor::DType::kF32;
  std::int64_t storage_elements = 0;
  std::int64_t offset = 0;  // in elements
  std::vector<std::int64_t> shape;
  std::vector<std::int64_t> strides;  // in elements
};

// Returns the tensors of a pickled dict from names to tensors; of a dict that holds such a dict
// under "state_dict", those. `file` begins the messages.
// Errors: INVALID_ARGUMENT (a global or opcode that no state dict needs, or not a dict of tensors),
// DATA_LOSS (malformed, a name twice, a container inside itself), RESOURCE_EXHAUSTED (beyond the
// caps in torch_pickle.cc).
absl::StatusOr<std::vector<PickledTensor>> MatchTorchPickle(std::string_view pickle,
                                                            const std::string& file);

}  // namespace codegen::checkpoint

#endif  // CODEGEN_CHECKPOINT_TORCH_PICKLE_H_
