// SPDX-License-Identifier: Apache-2.0
//
// A copy writes its destination at some time between its beginning and the wait for it. Here it
// does so at both ends, poison first: whoever reads or writes there meanwhile finds a wrong value,
// and the thread sanitizer a race.
#include "support/simt/async_copy.h"

#include <cstring>
#include <vector>

#include "support/simt/async_copies.h"
#include "support/simt/block.h"
#include "support/simt/memory.h"
#include "support/simt/sanitizers.h"

namespace codegen::simt {
namespace {

constexpr int kCopyBytes = AsyncCopies::kBytes;

std::vector<AsyncCopies::Copy> TakeCopies(int pending) {
  const Unobserved unobserved;
  return CurrentBlock().copies().Take(pending);
}

}  // namespace

void FinishCopies(int pending) {
  for (const AsyncCopies::Copy& copy : TakeCopies(pending)) {
    if (copy.from != nullptr) {
      std::memcpy(copy.to, copy.from, kCopyBytes);
    } else {
      std::memset(copy.to, 0, kCopyBytes);
    }
  }
}

}  // namespace codegen::simt

namespace codegen::cuda {

void CopyAsync16(void* to, const void* from, bool wanted, simt::Place place) {
  simt::CheckShared(to, simt::kCopyBytes, "CopyAsync16, to", place);
  if (wanted) simt::CheckAligned(from, simt::kCopyBytes, "CopyAsync16, from", place);
  std::memset(to, simt::CurrentBlock().schedule().poison, simt::kCopyBytes);
  simt::MarkUninitialized(to, simt::kCopyBytes);
  const simt::Unobserved unobserved;
  simt::CurrentBlock().copies().Add(to, wanted ? from : nullptr);
}

void CommitCopies() {
  const simt::Unobserved unobserved;
  simt::CurrentBlock().copies().Commit();
}

}  // namespace codegen::cuda
