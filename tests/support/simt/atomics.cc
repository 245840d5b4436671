// SPDX-License-Identifier: Apache-2.0
#include "support/simt/atomics.h"

#include "support/simt/block.h"

namespace codegen::simt {

void AfterAtomic() { CurrentBlock().Yield(); }

}  // namespace codegen::simt
