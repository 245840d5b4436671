// SPDX-License-Identifier: Apache-2.0
//
// Linear with float16 weights: linear-inl.h for every instruction set.
#include "cpu/kernels.h"
#include "cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/linear_f16.cc"
#include <hwy/foreach_target.h>
//
#include "cpu/linear-inl.h"

HWY_BEFORE_NAMESPACE();
namespace codegen::cpu {
namespace HWY_NAMESPACE {

void LinearF16(const LinearArgs& args, const LinearBlock& block) {
  LinearPart<F16Panel>(args, block);
}

}  // namespace HWY_NAMESPACE
}  // namespace codegen::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace codegen::cpu {

HWY_EXPORT(LinearF16);

LinearKernel LinearF16Kernel() { return HWY_DYNAMIC_DISPATCH(LinearF16); }

}  // namespace codegen::cpu
#endif
