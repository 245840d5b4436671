// SPDX-License-Identifier: Apache-2.0
#include "base/thread_pool.h"

#include <absl/status/status.h>
#include <fmt/format.h>
#include <pthread.h>
#include <sched.h>

#include <cfenv>
#include <exception>
#include <utility>

#include "base/check.h"
#include "base/spin.h"

namespace codegen::base {
namespace {

// state_: | region number | open | workers inside |
constexpr std::uint64_t kOneInside = 1;
constexpr std::uint64_t kInside = 0xFFFF;
constexpr std::uint64_t kOpen = 0x10000;
constexpr std::uint64_t kOneRegion = 0x20000;

constexpr std::uint64_t Region(std::uint64_t state) { return state / kOneRegion; }

// False if the system refuses.
bool PinTo(int cpu, pthread_t thread) {
  const auto number = static_cast<std::size_t>(cpu);
  const std::size_t bytes = CPU_ALLOC_SIZE(number + 1);
  cpu_set_t* const set = CPU_ALLOC(number + 1);
  if (set == nullptr) return false;
  CPU_ZERO_S(bytes, set);
  CPU_SET_S(number, bytes, set);
  const int error = pthread_setaffinity_np(thread, bytes, set);
  CPU_FREE(set);
  return error == 0;
}

}  // namespace

absl::StatusOr<std::unique_ptr<ThreadPool>> ThreadPool::Create(int threads,
                                                               std::span<const int> cpus) {
  CODEGEN_DCHECK(threads >= 1 && threads < static_cast<int>(kInside));
  std::unique_ptr<ThreadPool> pool(new ThreadPool);
  try {
    pool->workers_.reserve(static_cast<std::size_t>(threads - 1));
    for (int worker = 1; worker < threads; ++worker)
      pool->workers_.emplace_back(&ThreadPool::WorkerLoop, pool.get(), worker);
  } catch (const std::exception& error) {  // std::system_error or std::bad_alloc
    return absl::ResourceExhaustedError(fmt::format("thread pool: cannot start thread {} of {}: {}",
                                                    pool->workers_.size() + 2, threads,
                                                    error.what()));
  }
  if (!cpus.empty()) CODEGEN_RETURN_IF_ERROR(pool->Pin(cpus));
  return pool;
}

absl::Status ThreadPool::Pin(std::span<const int> cpus) {
  for (std::size_t i = 0; i < workers_.size(); ++i) {
    const int cpu = cpus[(i + 1) % cpus.size()];
    if (PinTo(cpu, workers_[i].native_handle())) continue;
    return absl::ResourceExhaustedError(
        fmt::format("thread pool: cannot pin thread {} to CPU {}", i + 2, cpu));
  }
  return absl::OkStatus();
}

ThreadPool::~ThreadPool() {
  {
    const std::lock_guard lock(parking_);
    stop_.store(true);
  }
  unpark_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::ParallelFor(std::int64_t tasks, absl::FunctionRef<void(std::int64_t task)> work) {
  ParallelForWorkers(tasks, [&work](std::int64_t task, int) { work(task); });
}

void ThreadPool::ParallelForWorkers(std::int64_t tasks, Work work) {
  const std::lock_guard lock(caller_);
  if (workers_.empty() || tasks <= 1) {
    for (std::int64_t task = 0; task < tasks; ++task) work(task, 0);
    return;
  }
  OpenRegion(tasks, work);
  RunTasks(0);
  CloseRegion();
  if (threw_.load(std::memory_order_relaxed)) ThrowWhatWasKept();
}

void ThreadPool::OpenRegion(std::int64_t tasks, const Work& work) {
  work_ = &work;
  tasks_ = tasks;
  next_task_.store(0, std::memory_order_relaxed);
  // Sequentially consistent, as in Park: either this thread sees the parked worker or the worker
  // sees the open region.
  state_.fetch_add(kOneRegion + kOpen);
  if (parked_.load() > 0) {
    { const std::lock_guard lock(parking_); }
    unpark_.notify_all();
  }
}

void ThreadPool::CloseRegion() {
  std::uint64_t inside = (state_.fetch_sub(kOpen) - kOpen) & kInside;
  for (Spin spin; inside != 0; inside = state_.load(std::memory_order_acquire) & kInside)
    spin.Once();
}

void ThreadPool::RunTasks(int worker) noexcept {
  try {
    for (;;) {
      const std::int64_t task = next_task_.fetch_add(1, std::memory_order_relaxed);
      if (task >= tasks_) return;
      (*work_)(task, worker);
    }
  } catch (...) {
    Keep(std::current_exception());
  }
}

void ThreadPool::Keep(std::exception_ptr thrown) {
  next_task_.store(tasks_, std::memory_order_relaxed);
  if (!threw_.exchange(true)) thrown_ = std::move(thrown);
}

void ThreadPool::ThrowWhatWasKept() {
  threw_.store(false, std::memory_order_relaxed);
  std::rethrow_exception(std::exchange(thrown_, nullptr));
}

void ThreadPool::WorkerLoop(int worker) {
  std::fesetenv(FE_DFL_ENV);  // not that of whoever made the pool
  for (std::uint64_t last = 0; EnterRegion(last);) {
    RunTasks(worker);
    state_.fetch_sub(kOneInside, std::memory_order_release);
  }
}

bool ThreadPool::EnterRegion(std::uint64_t& last) {
  for (;;) {
    Spin spin;
    do {
      if (stop_.load(std::memory_order_relaxed)) return false;
      if (TryEnter(last)) return true;
    } while (spin.Once());
    Park(last);
  }
}

bool ThreadPool::TryEnter(std::uint64_t& last) {
  std::uint64_t state = state_.load(std::memory_order_acquire);
  while ((state & kOpen) != 0 && Region(state) != last) {
    if (state_.compare_exchange_weak(state, state + kOneInside, std::memory_order_acq_rel,
                                     std::memory_order_acquire)) {
      last = Region(state);
      return true;
    }
  }
  return false;
}

void ThreadPool::Park(std::uint64_t last) {
  std::unique_lock lock(parking_);
  parked_.fetch_add(1);
  unpark_.wait(lock, [&] {
    const std::uint64_t state = state_.load();
    return stop_.load() || ((state & kOpen) != 0 && Region(state) != last);
  });
  parked_.fetch_sub(1);
}

}  // namespace codegen::base
