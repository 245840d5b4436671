// SPDX-License-Identifier: Apache-2.0
//
// One block of an emulated grid: its threads, who of them runs, what the others wait for.
//
// Device functions (barriers.h, warp.h, matrix.h, ...) are thin: they find the block that the
// calling thread belongs to, CurrentBlock(), and call it. When something is wrong they call Fail:
// it writes a diagnostic and throws through the kernel, and so does every other thread of the block
// when its turn comes, so that all stacks are left in order and the fibers can serve again.
//
// For the thread sanitizer order between threads comes from edges: addresses that are released
// before and acquired after. Each meeting uses another edge than the one before: a thread that runs
// ahead to the next barrier must not seem to be ordered before one that has yet to leave this one.
#ifndef CODEGEN_TESTS_SUPPORT_SIMT_BLOCK_H_
#define CODEGEN_TESTS_SUPPORT_SIMT_BLOCK_H_

#include <absl/functional/function_ref.h>
#include <vector_types.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "support/simt/async_copies.h"
#include "support/simt/fiber.h"
#include "support/simt/grid.h"
#include "support/simt/ready_set.h"
#include "support/simt/shared_memory.h"

namespace codegen::simt {

// What all blocks of a launch have in common.
struct GridRun {
  GridShape shape;
  const char* name;
  absl::FunctionRef<void()> body;
  Schedule schedule;
  std::vector<Fiber*> fibers;  // at least one a thread of a block, living in RunThreads()
  Fiber caller;

  std::uint64_t start = 0;   // edges: launch to thread,
  std::uint64_t finish = 0;  // thread to whoever waits for the launch,
  std::uint64_t fence = 0;   // and from fence to fence
};

// The life of a fiber: a thread of one block after the other.
void RunThreads();

class Block {
 public:
  static constexpr int kBarriers = 16;
  static constexpr unsigned kAllLanes = ~0U;

  // Where a thread is and why, for diagnostics and for telling whether two met at the same place.
  struct Stop {
    const char* function = "";
    Place place;
  };

  struct Votes {
    int threads = 0;
    int ayes = 0;
  };

  // What the lanes of a warp brought to a collective; entries outside the mask are not set.
  using Lanes = std::array<void*, kWarpLanes>;

  // Whether a collective also orders memory. Only __syncwarp does.
  enum class Memory { kUnordered, kOrdered };

  Block(GridRun& grid, std::span<Fiber* const> fibers, uint3 index);

  // False: it failed.
  bool Run();

  // For the running thread, by device functions.

  // Waits at barrier 0 for all threads that have not returned, and tells how they voted.
  Votes SyncThreads(bool vote, const Stop& stop);
  // Waits at another barrier until `threads` have come.
  void SyncNamed(int barrier, int threads, const Stop& stop);
  // Waits until all lanes of `mask` have come; the last calls finish(lanes, mask).
  void Meet(unsigned mask, void* argument, void (*finish)(const Lanes&, unsigned), Memory memory,
            const Stop& stop);
  // Lets another thread run.
  void Yield();

  int lane() const { return running_ % kWarpLanes; }
  AsyncCopies& copies() { return running().copies; }
  SharedMemory& shared() { return shared_; }
  const Schedule& schedule() const { return grid_.schedule; }
  void* fence() { return &grid_.fence; }
  [[noreturn]] void Fail(std::string_view what, const Stop& stop);

  // By the fiber of thread `running_`, once.
  void RunThread();

 private:
  struct Abandoned {};  // thrown through a kernel that failed

  struct Thread {
    uint3 index;
    bool waiting = false;
    Stop stop;  // where, while waiting
    AsyncCopies copies;
  };

  struct Barrier {
    std::vector<int> waiting;
    Stop stop;
    int expected = 0;  // of a named barrier somebody waits at
    Votes votes;       // so far
    Votes outcome;     // of the last time it opened
    std::array<std::uint64_t, 2> edges{};
    std::size_t edge = 0;
  };

  struct Meeting {
    unsigned mask;
    unsigned arrived;
    Stop stop;
    Lanes lanes;
    std::uint64_t* edge;
  };

  struct Warp {
    unsigned alive = 0;
    std::vector<Meeting> meetings;
    std::array<std::uint64_t, 64> edges{};
    std::size_t next_edge = 0;
  };

  Thread& running() { return threads_[static_cast<std::size_t>(running_)]; }
  Fiber& FiberOf(int thread) { return *fibers_[static_cast<std::size_t>(thread)]; }
  Warp& warp() { return warps_[static_cast<std::size_t>(running_) / kWarpLanes]; }
  unsigned lane_bit() const { return 1U << lane(); }

  void RunBody();
  void Return();
  void LeaveForGood();
  void Await(const Stop& stop);
  void Wake(int thread);
  void GiveWay(int thread);
  void SwitchTo(int thread);
  void MakeRunning(int thread);
  int NextReady();
  int RandomReady();
  void MixUp();

  Votes Pass(Barrier& barrier, bool last, const Stop& stop);
  void Open(Barrier& barrier);
  void CheckMask(unsigned mask, const Stop& stop);
  Meeting& Join(unsigned mask, const Stop& stop);
  void Close(Meeting& meeting);

  void Diagnose(std::string_view what, const Stop& stop);
  void Abandon();
  std::string Deadlock() const;

  GridRun& grid_;
  const std::span<Fiber* const> fibers_;  // by thread
  const uint3 index_;
  std::vector<Thread> threads_;
  std::vector<Warp> warps_;
  std::array<Barrier, kBarriers> barriers_;
  ReadySet ready_;
  SharedMemory shared_;
  int running_ = 0;
  int alive_ = 0;
  bool failed_ = false;
  std::uint32_t random_;
};

// The block whose thread calls.
Block& CurrentBlock();

}  // namespace codegen::simt

#endif  // CODEGEN_TESTS_SUPPORT_SIMT_BLOCK_H_
