// SPDX-License-Identifier: Apache-2.0
//
// In which order emulated threads and blocks run, and what shared memory holds before a kernel
// writes it.
//
// A kernel must not depend on either. One that lacks a barrier may still be right when the threads
// happen to run in the order of their numbers, and one that reads a word nobody wrote when that
// word happens to be zero; so tests run each kernel under all of AllSchedules():
//
//   for (const simt::Schedule& schedule : simt::AllSchedules()) {
//     const simt::ScopedSchedule use(schedule);
//     ...
//   }
#ifndef CODEGEN_TESTS_SUPPORT_SIMT_SCHEDULE_H_
#define CODEGEN_TESTS_SUPPORT_SIMT_SCHEDULE_H_

#include <array>
#include <cstdint>
#include <ostream>

namespace codegen::simt {

// Who goes on when a thread has to wait: the lowest or the highest of those that can, so that the
// first or the last warps run ahead of the others as far as the barriers let them; or any.
enum class Order { kForward, kBackward, kRandom };

struct Schedule {
  Order order = Order::kForward;
  std::uint32_t seed = 1;       // of kRandom
  unsigned char poison = 0xFF;  // NaN in every float format; 0 hides nothing but missing zeros
};

// The 3 orders times the poisons 0xFF and 0.
std::array<Schedule, 6> AllSchedules();

// The schedule of launches that begin now, on any thread.
Schedule CurrentSchedule();

// Sets it while it lives. One at a time per process, made and destroyed while no kernel runs.
class [[nodiscard]] ScopedSchedule {
 public:
  explicit ScopedSchedule(const Schedule& schedule);
  ~ScopedSchedule();
  ScopedSchedule(const ScopedSchedule&) = delete;
  ScopedSchedule& operator=(const ScopedSchedule&) = delete;

 private:
  Schedule before_;
};

std::ostream& operator<<(std::ostream& out, const Schedule& schedule);

}  // namespace codegen::simt

#endif  // CODEGEN_TESTS_SUPPORT_SIMT_SCHEDULE_H_
