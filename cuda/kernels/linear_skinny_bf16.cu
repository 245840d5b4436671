// SPDX-License-Identifier: Apache-2.0
#include "cuda/kernels/linear_skinny_kernel.cuh"

namespace codegen::cuda {

template cudaError_t LinearSkinny(const LinearArgs<__nv_bfloat16, __nv_bfloat16, float>&,
                                  cudaStream_t);
template cudaError_t LinearSkinny(const LinearArgs<__nv_bfloat16, __nv_bfloat16, __nv_bfloat16>&,
                                  cudaStream_t);

}  // namespace codegen::cuda
