// SPDX-License-Identifier: Apache-2.0
#include "base/thread_pool.h"

#include <absl/status/status.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <barrier>
#include <cfenv>
#include <cstdint>
#include <fstream>
#include <iterator>
#include <memory>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/usable_cpus.h"
#include "support/sanitizers.h"

namespace codegen::base {
namespace {

std::unique_ptr<ThreadPool> MakePool(int threads) {
  auto pool = ThreadPool::Create(threads);
  EXPECT_TRUE(pool.ok()) << pool.status();
  return *std::move(pool);
}

TEST(ThreadPool, RunsEveryTaskOnce) {
  for (const int threads : {1, 2, 3, 8}) {
    const auto pool = MakePool(threads);
    for (const std::int64_t tasks : {0, 1, 2, 3, 7, 1000}) {
      std::vector<std::atomic<int>> runs(static_cast<std::size_t>(tasks));

      pool->ParallelFor(tasks, [&](std::int64_t task) { ++runs[static_cast<std::size_t>(task)]; });

      EXPECT_TRUE(std::all_of(runs.begin(), runs.end(), [](int count) { return count == 1; }))
          << threads << " threads, " << tasks << " tasks";
    }
  }
}

TEST(ThreadPool, CountsTheCallingThread) {
  EXPECT_EQ(MakePool(1)->threads(), 1);
  EXPECT_EQ(MakePool(5)->threads(), 5);
}

TEST(ThreadPool, RunsOnTheCallerWhenAlone) {
  const auto pool = MakePool(1);
  const std::thread::id caller = std::this_thread::get_id();

  pool->ParallelFor(4, [&](std::int64_t) { EXPECT_EQ(std::this_thread::get_id(), caller); });
}

TEST(ThreadPool, UsesAllThreadsAtOnce) {
  // Each task waits for all others: it takes every thread, parked or not, to get through.
  const auto pool = MakePool(4);
  for (int region = 0; region < 20; ++region) {
    std::barrier<> all(4);

    pool->ParallelFor(4, [&](std::int64_t) { all.arrive_and_wait(); });
  }
}

// Whether the kernel has put the thread to sleep.
bool Sleeps(pid_t thread) {
  std::ifstream file("/proc/self/task/" + std::to_string(thread) + "/stat");
  const std::string stat{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  const std::size_t name_end = stat.rfind(')');
  return name_end != std::string::npos && stat.substr(name_end, 3) == ") S";
}

TEST(ThreadPool, WakesParkedWorkers) {
  const auto pool = MakePool(3);
  for (int region = 0; region < 3; ++region) {
    std::barrier<> all(3);
    std::vector<pid_t> threads(3);
    pool->ParallelForWorkers(3, [&](std::int64_t, int worker) {
      threads[static_cast<std::size_t>(worker)] = static_cast<pid_t>(syscall(SYS_gettid));
      all.arrive_and_wait();
    });

    while (!Sleeps(threads[1]) || !Sleeps(threads[2])) std::this_thread::yield();
  }
}

TEST(ThreadPool, NumbersTheWorkersOfARegion) {
  const auto pool = MakePool(4);
  std::barrier<> all(4);
  std::vector<int> workers(4);

  pool->ParallelForWorkers(4, [&](std::int64_t task, int worker) {
    workers[static_cast<std::size_t>(task)] = worker;
    all.arrive_and_wait();  // or one worker might take two
  });

  EXPECT_EQ(std::set<int>(workers.begin(), workers.end()), (std::set<int>{0, 1, 2, 3}));
}

TEST(ThreadPool, PinsWorkersToTheirCpus) {
  const std::vector<int> cpus = UsableCpus();
  auto pool = ThreadPool::Create(4, cpus);
  ASSERT_TRUE(pool.ok()) << pool.status();
  for (int region = 0; region < 5; ++region) {
    std::barrier<> all(4);

    (*pool)->ParallelForWorkers(4, [&](std::int64_t, int worker) {
      all.arrive_and_wait();  // or one worker might take two
      if (worker == 0) return;
      EXPECT_EQ(sched_getcpu(), cpus[static_cast<std::size_t>(worker) % cpus.size()]);
    });
  }
}

TEST(ThreadPool, ReportsACpuThatIsNotThere) {
  const auto pool = ThreadPool::Create(2, std::vector<int>{60000});

  EXPECT_TRUE(absl::IsResourceExhausted(pool.status())) << pool.status();
  EXPECT_NE(pool.status().message().find("CPU 60000"), std::string::npos) << pool.status();
}

TEST(ThreadPool, MakesTheWritesOfARegionVisibleToTheNext) {
  // Plain memory: only the pool's own ordering keeps this right (and ThreadSanitizer quiet).
  const auto pool = MakePool(3);
  std::vector<int> values(64, 0);
  for (int region = 1; region <= 2000; ++region) {
    pool->ParallelFor(64, [&](std::int64_t task) {
      const auto mirror = static_cast<std::size_t>(63 - task);
      if (task < 32) std::swap(values[static_cast<std::size_t>(task)], values[mirror]);
    });
    pool->ParallelFor(64, [&](std::int64_t task) { ++values[static_cast<std::size_t>(task)]; });
  }

  EXPECT_EQ(values, std::vector<int>(64, 2000));
}

TEST(ThreadPool, KeepsRegionsOfConcurrentCallersApart) {
  const auto pool = MakePool(3);
  std::vector<std::int64_t> sums(4, 0);
  std::vector<std::thread> callers;
  for (std::size_t caller = 0; caller < sums.size(); ++caller) {
    callers.emplace_back([&, caller] {
      for (int i = 0; i < 300; ++i) {
        std::atomic<std::int64_t> sum{0};
        pool->ParallelFor(10, [&](std::int64_t task) { sum += task; });
        sums[caller] += sum;
      }
    });
  }
  for (std::thread& caller : callers) caller.join();

  EXPECT_EQ(sums, std::vector<std::int64_t>(4, 300 * 45));
}

TEST(ThreadPool, ThrowsToItsCallerWhatATaskThrew) {
  for (const int threads : {1, 3}) {
    const auto pool = MakePool(threads);
    for (std::int64_t bad = 0; bad < 40; ++bad) {
      const auto work = [bad](std::int64_t task) {
        if (task == bad) throw std::out_of_range("task " + std::to_string(task));
      };
      try {
        pool->ParallelFor(40, work);
        FAIL() << "nothing was thrown";
      } catch (const std::out_of_range& error) {
        EXPECT_EQ(error.what(), "task " + std::to_string(bad));
      }
    }
  }
}

TEST(ThreadPool, WorksOnAfterAllTasksThrew) {
  const auto pool = MakePool(3);
  for (int i = 0; i < 100; ++i) {
    EXPECT_THROW(pool->ParallelFor(20, [](std::int64_t) { throw 42; }), int);

    std::atomic<std::int64_t> sum{0};
    pool->ParallelFor(10, [&](std::int64_t task) { sum += task; });
    EXPECT_EQ(sum, 45);
  }
}

TEST(ThreadPool, ShutsDownWhetherWorkersSpinOrPark) {
  for (int i = 0; i < 50; ++i) {
    const auto pool = MakePool(3);
    if (i % 2 == 0) pool->ParallelFor(3, [](std::int64_t) {});
  }
}

TEST(ThreadPool, ReportsThatNoThreadCanBeStarted) {
  if (sanitizers::kAny)
    GTEST_SKIP() << "sanitizers need the address space that this test takes away";
  // Address space for not one more stack.
  rlimit before = {};
  getrlimit(RLIMIT_AS, &before);
  rlimit tight = before;
  tight.rlim_cur = 1;
  ASSERT_EQ(setrlimit(RLIMIT_AS, &tight), 0);

  const auto pool = ThreadPool::Create(64);

  setrlimit(RLIMIT_AS, &before);
  EXPECT_TRUE(absl::IsResourceExhausted(pool.status())) << pool.status();
  EXPECT_NE(pool.status().message().find("of 64"), std::string::npos) << pool.status();
}

TEST(ThreadPool, WorkersRoundToNearestWhateverTheirMakerDoes) {
  std::fesetround(FE_UPWARD);
  const auto pool = *ThreadPool::Create(3);
  std::fesetround(FE_TONEAREST);
  std::atomic<bool> started = false;
  std::atomic<int> other_modes = 0;

  pool->ParallelForWorkers(1000, [&](std::int64_t, int worker) {
    if (worker > 0) started = true;
    if (std::fegetround() != FE_TONEAREST) ++other_modes;
    while (!started) std::this_thread::yield();
  });

  EXPECT_EQ(other_modes, 0);
}

}  // namespace
}  // namespace codegen::base
