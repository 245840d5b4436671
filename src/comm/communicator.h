// SPDX-License-Identifier: Apache-2.0
//
// One rank of a group that computes one model together, each rank a part of every block (Shoeybi et
// al. 2019): what they say to each other in between.
//
// All ranks call the same operations in the same order. What they get does not depend on who came
// first: sums add the parts in the order of ranks, so every rank has the same bits, every time.
#ifndef CODEGEN_COMM_COMMUNICATOR_H_
#define CODEGEN_COMM_COMMUNICATOR_H_

#include <absl/status/status.h>

#include <cstddef>
#include <cstdint>
#include <span>

namespace codegen::comm {

// Rows of floats, `stride` floats from one to the next.
template <class Float>
struct FloatRows {
  Float* first = nullptr;
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  std::int64_t stride = 0;

  Float* row(std::int64_t t) const { return first + t * stride; }
};
using Floats = FloatRows<float>;
using ConstFloats = FloatRows<const float>;

// For one thread at a time. Errors of all operations: what the group was aborted with; its memory
// is unspecified then, and every later operation fails the same way.
class Communicator {
 public:
  virtual ~Communicator() = default;

  virtual int rank() const = 0;  // in [0, size())
  virtual int size() const = 0;

  // values = the sum of the values of all ranks. Requires: the same rows and columns everywhere.
  virtual absl::Status AllReduce(const Floats& values) = 0;
  // Rank r's `part` becomes columns [r part.columns, (r + 1) part.columns) of `all` on every rank,
  // as far as `all` has columns. Requires: the same outlines everywhere, and room for all parts but
  // the end of the last ones.
  virtual absl::Status AllGather(const ConstFloats& part, const Floats& all) = 0;
  // bytes = those of rank `root`. Requires: the same number everywhere.
  virtual absl::Status Broadcast(std::span<std::byte> bytes, int root) = 0;
  // Returns once every rank has called it.
  virtual absl::Status Barrier() = 0;

  // Ends the group: operations that wait for this rank, and all to come, fail with `status`, the
  // first one if several ranks call it. May be called from any thread. Requires: not OK.
  virtual void Abort(const absl::Status& status) = 0;
};

}  // namespace codegen::comm

#endif  // CODEGEN_COMM_COMMUNICATOR_H_
