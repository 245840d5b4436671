// SPDX-License-Identifier: Apache-2.0
//
// From what tensors hold to the types of their elements.
#ifndef CODEGEN_CUDA_ELEMENT_H_
#define CODEGEN_CUDA_ELEMENT_H_

#include <cuda_bf16.h>

#include "cuda/cuda_device.h"

namespace codegen::cuda {

// Returns work(pointer) with the elements of a tensor.
template <class Work>
auto WithElements(const Tensor& x, const Work& work) {
  if (x.holds() == backend::Holds::kSums) return work(x.as<float>());
  return work(x.as<__nv_bfloat16>());
}

// Returns work(pointer, pointer) with those of two.
template <class Work>
auto WithElements(const Tensor& x, const Tensor& y, const Work& work) {
  return WithElements(
      x, [&](auto* from) { return WithElements(y, [&](auto* to) { return work(from, to); }); });
}

}  // namespace codegen::cuda

#endif  // CODEGEN_CUDA_ELEMENT_H_
