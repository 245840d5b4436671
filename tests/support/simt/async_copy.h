// SPDX-License-Identifier: Apache-2.0
//
// The emulated half of cuda/device/copy.cuh, which says what these functions are.
#ifndef CODEGEN_TESTS_SUPPORT_SIMT_ASYNC_COPY_H_
#define CODEGEN_TESTS_SUPPORT_SIMT_ASYNC_COPY_H_

#include "support/simt/diagnostics.h"

namespace codegen::simt {

void FinishCopies(int pending);

}  // namespace codegen::simt

namespace codegen::cuda {

void CopyAsync16(void* to, const void* from, bool wanted = true,
                 simt::Place place = simt::Place::Here());

void CommitCopies();

template <int kPending>
void WaitCopies() {
  static_assert(kPending >= 0);
  simt::FinishCopies(kPending);
}

}  // namespace codegen::cuda

#endif  // CODEGEN_TESTS_SUPPORT_SIMT_ASYNC_COPY_H_
