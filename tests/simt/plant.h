// SPDX-License-Identifier: Apache-2.0
//
// The mistakes that kernels here can be compiled with, to see who finds them.
#ifndef CODEGEN_TESTS_SIMT_PLANT_H_
#define CODEGEN_TESTS_SIMT_PLANT_H_

namespace codegen::cuda {

enum class Plant {
  kNothing,

  // Of SumKernel.
  kNoBarrierBeforeRead,  // sums are read before all warps wrote theirs
  kWarpSkipsBarrier,
  kReadsUninitialised,  // as many sums as a block can have warps, not as it has
  kWritesBehindEnd,

  // Of ProductKernel.
  kNoWait,              // computes with copies still on their way
  kNoBarrierAtLoopEnd,  // the next copies overwrite what slower warps still read
};

}  // namespace codegen::cuda

#endif  // CODEGEN_TESTS_SIMT_PLANT_H_
