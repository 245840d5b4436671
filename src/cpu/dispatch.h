// SPDX-License-Identifier: Apache-2.0
//
// Choosing among the versions of an HWY_EXPORTed kernel: per model, by its level, and not once per
// process as HWY_DYNAMIC_DISPATCH does. Included by the files that export, in their HWY_ONCE part.
#ifndef CODEGEN_CPU_DISPATCH_H_
#define CODEGEN_CPU_DISPATCH_H_

#include <hwy/targets.h>

#include <cstddef>
#include <cstdint>

#include "cpu/isa.h"

namespace codegen::cpu {

// `table` is Highway's; it has one entry where the compiler's baseline is all there is.
template <class Function, std::size_t kEntries>
Function* VersionFor(Function* const (&table)[kEntries], std::int64_t target) {
  if constexpr (kEntries == 1) {
    return table[0];
  } else {
    hwy::ChosenTarget chosen;
    chosen.Update(target);
    return table[chosen.GetIndex()];
  }
}

}  // namespace codegen::cpu

#define CODEGEN_VERSION_FOR(level, FUNCTION) \
  ::codegen::cpu::VersionFor(HWY_DISPATCH_TABLE(FUNCTION), ::codegen::cpu::HighwayTarget(level))

#endif  // CODEGEN_CPU_DISPATCH_H_
