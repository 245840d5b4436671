// SPDX-License-Identifier: Apache-2.0
//
// The copies into shared memory that one thread has begun (cp.async).
//
// Nothing is copied before somebody waits for it: until then the destination holds poison, which is
// as late as a device may be, and the source is read at the end, which is as late again.
#ifndef CODEGEN_TESTS_SUPPORT_SIMT_ASYNC_COPIES_H_
#define CODEGEN_TESTS_SUPPORT_SIMT_ASYNC_COPIES_H_

#include <vector>

namespace codegen::simt {

class AsyncCopies {
 public:
  static constexpr int kBytes = 16;

  struct Copy {
    void* to;
    const void* from;  // null: zeros
    int group;
  };

  void Add(void* to, const void* from) { copies_.push_back({to, from, groups_}); }

  // Ends a group, which may be empty.
  void Commit() { ++groups_; }

  // Takes out the copies of all groups but the last `pending`; a group not ended yet stays.
  std::vector<Copy> Take(int pending) {
    auto end = copies_.begin();
    while (end != copies_.end() && end->group < groups_ - pending) ++end;
    std::vector<Copy> taken(copies_.begin(), end);
    copies_.erase(copies_.begin(), end);
    return taken;
  }

 private:
  std::vector<Copy> copies_;  // oldest first
  int groups_ = 0;            // ended so far
};

}  // namespace codegen::simt

#endif  // CODEGEN_TESTS_SUPPORT_SIMT_ASYNC_COPIES_H_
