// SPDX-License-Identifier: Apache-2.0
//
// A fork-join pool for the data-parallel loops of the kernels.
//
//   auto pool = base::ThreadPool::Create(base::UsableCores());
//   (*pool)->ParallelFor(panels, [&](std::int64_t panel) { Multiply(panel); });
//
// A step of a model opens a hundred regions back to back, each of them tens of microseconds long,
// so opening one must cost well under a microsecond while the step runs and nothing at all while
// the host is idle. Workers therefore spin for a short bounded time after each region and then
// park.
//
// Tasks are handed out by an atomic counter, one at a time, so that a thread whose CPU is taken
// away does not hold up a fixed share of the work. A region is one word, `state_`: its number, a
// bit that says whether it may still be entered, and how many workers are inside. The caller works
// too, closes the region when the tasks have run out, and waits only for workers that did enter: a
// worker that is late, parked or descheduled costs nothing.
#ifndef CODEGEN_BASE_THREAD_POOL_H_
#define CODEGEN_BASE_THREAD_POOL_H_

#include <absl/functional/function_ref.h>
#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <span>
#include <thread>
#include <vector>

namespace codegen::base {

// Safe to use from several threads: regions of concurrent callers run one after the other.
class ThreadPool {
 public:
  // `threads` >= 1 counts the calling thread, so threads - 1 are started. Worker i stays on the
  // i-th of `cpus`, which begin anew where there are fewer; without any, workers run anywhere.
  // RESOURCE_EXHAUSTED if the system refuses a thread or its place.
  static absl::StatusOr<std::unique_ptr<ThreadPool>> Create(int threads,
                                                            std::span<const int> cpus = {});

  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  // The calling thread included.
  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  // Calls work(task) for every task in [0, tasks), in any order and on any thread, and returns when
  // all have returned. Everything they wrote is visible then. If one throws, tasks that were not
  // begun are left out, and the first exception is thrown to the caller in the end. Requires: work
  // does not call ParallelFor of this pool.
  void ParallelFor(std::int64_t tasks, absl::FunctionRef<void(std::int64_t task)> work);

  // The same, telling each call which thread it is on: worker in [0, threads()), never two calls
  // with the same number at a time.
  void ParallelForWorkers(std::int64_t tasks,
                          absl::FunctionRef<void(std::int64_t task, int worker)> work);

 private:
  using Work = absl::FunctionRef<void(std::int64_t task, int worker)>;

  ThreadPool() = default;

  absl::Status Pin(std::span<const int> cpus);
  void WorkerLoop(int worker);
  // Blocks until there is a region other than `last` to enter, and enters it. False: stop.
  bool EnterRegion(std::uint64_t& last);
  bool TryEnter(std::uint64_t& last);
  void Park(std::uint64_t last);
  void OpenRegion(std::int64_t tasks, const Work& work);
  void CloseRegion();
  void RunTasks(int worker) noexcept;
  void Keep(std::exception_ptr thrown);
  void ThrowWhatWasKept();

  // Constant after construction.
  std::vector<std::thread> workers_;

  std::mutex caller_;  // held by the caller whose region is open; taken before parking_

  // Written by the caller while the region is closed and empty.
  const Work* work_ = nullptr;
  std::int64_t tasks_ = 0;

  // Apart from each other: workers poll one and fight for the other.
  alignas(64) std::atomic<std::uint64_t> state_{0};
  alignas(64) std::atomic<std::int64_t> next_task_{0};

  std::atomic<bool> threw_{false};
  std::exception_ptr thrown_;  // by the first who set threw_; the caller's once the region is empty

  alignas(64) std::atomic<int> parked_{0};
  std::atomic<bool> stop_{false};
  std::mutex parking_;
  std::condition_variable unpark_;
};

}  // namespace codegen::base

#endif  // CODEGEN_BASE_THREAD_POOL_H_
