// SPDX-License-Identifier: Apache-2.0
//
// Writes what safetensors.h reads.
#ifndef CODEGEN_CHECKPOINT_SAFETENSORS_WRITER_H_
#define CODEGEN_CHECKPOINT_SAFETENSORS_WRITER_H_

#include <absl/status/status.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "tensor/dtype.h"

namespace codegen::checkpoint {

// A tensor by rows. Requires: bytes.size() is the product of the shape and the dtype's size.
struct TensorBytes {
  std::string name = {};
  tensor::DType dtype = tensor::DType::kF32;
  std::vector<std::int64_t> shape = {};
  std::span<const std::byte> bytes = {};
};

// Writes `folder`/`name`, its tensors in this order, the first at a multiple of 64 bytes. The file
// appears when it is complete. Names and metadata are UTF-8. Errors: as base::NewFile.
absl::Status WriteSafetensors(const std::string& folder, const std::string& name,
                              const std::map<std::string, std::string>& metadata,
                              std::span<const TensorBytes> tensors);

}  // namespace codegen::checkpoint

#endif  // CODEGEN_CHECKPOINT_SAFETENSORS_WRITER_H_
