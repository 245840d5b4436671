// SPDX-License-Identifier: Apache-2.0
//
// Copies from global into shared memory that go on while the thread computes (cp.async).
//
//   CopyAsync16(stage, next);     // any number of them
//   CommitCopies();               // these are one group
//   ...                           // compute what came with earlier groups
//   WaitCopies<1>();              // all groups but the last one are there, for this thread
//   __syncthreads();              // and now for the others
//
// Between its beginning and the wait a copy may write its destination at any time, so nobody may
// still be reading what lay there before: another barrier between the last read and the next copy.
#ifndef CODEGEN_CUDA_DEVICE_COPY_CUH_
#define CODEGEN_CUDA_DEVICE_COPY_CUH_

#include "cuda/device/thread.cuh"

#ifdef __CUDACC__

namespace codegen::cuda {

// Begins to copy 16 bytes past the first-level cache; both addresses are multiples of 16. Not
// wanted: writes zeros and does not read `from`, which may be any address then.
__device__ inline void CopyAsync16(void* to, const void* from, bool wanted = true) {
  const auto shared = static_cast<unsigned>(__cvta_generic_to_shared(to));
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared),
               "l"(__cvta_generic_to_global(from)), "r"(wanted ? 16 : 0)
               : "memory");
}

// Makes one group of what this thread began since the last; an empty one counts too.
__device__ inline void CommitCopies() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Waits until all groups of this thread but the last kPending have arrived.
template <int kPending>
__device__ inline void WaitCopies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}

}  // namespace codegen::cuda

#else
#include <support/simt/async_copy.h>
#endif

#endif  // CODEGEN_CUDA_DEVICE_COPY_CUH_
