// SPDX-License-Identifier: Apache-2.0
//
// Linear with bfloat16 weights and float32 activations: linear-inl.h for every instruction set.
#include "cpu/kernels.h"
#include "cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/linear_bf16.cc"
#include <hwy/foreach_target.h>
//
#include "cpu/linear-inl.h"

HWY_BEFORE_NAMESPACE();
namespace codegen::cpu {
namespace HWY_NAMESPACE {

LinearKernel LinearBf16() { return KernelOf<Bf16Panel>(); }

}  // namespace HWY_NAMESPACE
}  // namespace codegen::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "cpu/dispatch.h"

namespace codegen::cpu {

HWY_EXPORT(LinearBf16);

void AddLinearBf16(Kernels& kernels) {
  kernels.linear_bf16 = CODEGEN_VERSION_FOR(kernels.level, LinearBf16)();
}

}  // namespace codegen::cpu
#endif
