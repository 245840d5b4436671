// SPDX-License-Identifier: Apache-2.0
//
// Who runs. How threads meet is in block_meetings.cc.
#include "support/simt/block.h"

#include <algorithm>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/check.h"
#include "support/simt/thread_index.h"

constinit thread_local uint3 threadIdx{};
constinit thread_local uint3 blockIdx{};
constinit thread_local dim3 blockDim{};
constinit thread_local dim3 gridDim{};

namespace codegen::simt {
namespace {

thread_local Block* current_block = nullptr;

int ThreadsOf(const GridShape& shape) {
  return static_cast<int>(shape.block.x * shape.block.y * shape.block.z);
}

uint3 ThreadIndex(unsigned thread, const dim3& block) {
  return {thread % block.x, thread / block.x % block.y, thread / block.x / block.y};
}

}  // namespace

// Never inlined: a fiber that rested goes on wherever the next launch runs, which may be another
// host thread, with another current block than the one whose address it might remember.
[[gnu::noinline]] Block& CurrentBlock() {
  CODEGEN_DCHECK(current_block != nullptr);  // a device function was called by the host
  return *current_block;
}

void RunThreads() {
  const Unobserved unobserved;
  for (;;) CurrentBlock().RunThread();
}

Block::Block(GridRun& grid, std::span<Fiber* const> fibers, uint3 index)
    : grid_(grid),
      fibers_(fibers),
      index_(index),
      threads_(static_cast<std::size_t>(ThreadsOf(grid.shape))),
      warps_((threads_.size() + kWarpLanes - 1) / kWarpLanes),
      shared_(grid.shape.shared_bytes, grid.schedule.poison),
      alive_(ThreadsOf(grid.shape)),
      random_(grid.schedule.seed + 7919 * index.x + 104729 * index.y + 1299709 * index.z) {
  for (int i = 0; i < alive_; ++i) {
    threads_[static_cast<std::size_t>(i)].index =
        ThreadIndex(static_cast<unsigned>(i), grid.shape.block);
    warps_[static_cast<std::size_t>(i / kWarpLanes)].alive |= 1U << (i % kWarpLanes);
    ready_.Insert(i);
  }
}

bool Block::Run() {
  current_block = this;
  blockIdx = index_;
  blockDim = grid_.shape.block;
  gridDim = grid_.shape.grid;
  MakeRunning(NextReady());
  Fiber::Switch(grid_.caller, FiberOf(running_));
  current_block = nullptr;
  if (!failed_ && !shared_.Intact()) {
    Diagnose("wrote behind the end of a shared array", {});
    failed_ = true;
  }
  return !failed_;
}

void Block::RunThread() {
  Acquire(&grid_.start);
  if (!failed_) RunBody();
  Release(&grid_.finish);
  Return();
  LeaveForGood();
}

void Block::RunBody() {
  try {
    const Observed observed;
    grid_.body();
  } catch (const Abandoned&) {
  }
}

// Those who wait at __syncthreads wait for one thread less.
void Block::Return() {
  ready_.Erase(running_);
  warp().alive &= ~lane_bit();
  --alive_;
  if (failed_) return;
  Barrier& barrier = barriers_[0];
  if (!barrier.waiting.empty() && barrier.votes.threads == alive_) Open(barrier);
}

// Comes back in a later block, when this one is gone.
void Block::LeaveForGood() {
  int next = NextReady();
  if (next == ReadySet::kNone && alive_ > 0) {
    const auto waits = std::find_if(threads_.begin(), threads_.end(),
                                    [](const Thread& thread) { return thread.waiting; });
    Diagnose(Deadlock(), waits->stop);
    Abandon();
    next = NextReady();
  }
  Fiber& own = FiberOf(running_);
  Fiber& other = next == ReadySet::kNone ? grid_.caller : FiberOf(next);
  if (next != ReadySet::kNone) MakeRunning(next);
  Fiber::Switch(own, other);
}

void Block::Await(const Stop& stop) {
  running().waiting = true;
  running().stop = stop;
  ready_.Erase(running_);
  const int next = NextReady();
  if (next == ReadySet::kNone) Fail(Deadlock(), stop);
  GiveWay(next);
}

void Block::Wake(int thread) {
  threads_[static_cast<std::size_t>(thread)].waiting = false;
  ready_.Insert(thread);
}

// Threads that spin take turns.
void Block::Yield() {
  const Unobserved unobserved;
  GiveWay(grid_.schedule.order == Order::kRandom ? RandomReady() : ready_.Cyclic(running_ + 1));
}

// In random order, whoever let others go on need not be the first to do so.
void Block::MixUp() {
  if (grid_.schedule.order == Order::kRandom) GiveWay(RandomReady());
}

void Block::GiveWay(int thread) {
  SwitchTo(thread);
  if (failed_) throw Abandoned{};
}

void Block::SwitchTo(int thread) {
  if (thread == running_) return;
  Fiber& own = FiberOf(running_);
  MakeRunning(thread);
  Fiber::Switch(own, FiberOf(thread));
}

void Block::MakeRunning(int thread) {
  running_ = thread;
  threadIdx = running().index;
}

int Block::NextReady() {
  if (grid_.schedule.order == Order::kForward) return ready_.AtOrAfter(0);
  if (grid_.schedule.order == Order::kBackward) return ready_.Last();
  return RandomReady();
}

int Block::RandomReady() {
  random_ = random_ * 1664525 + 1013904223;  // Numerical Recipes; its high bits are good
  return ready_.Cyclic(static_cast<int>((random_ >> 8) % threads_.size()));
}

void Block::Fail(std::string_view what, const Stop& stop) {
  const Unobserved unobserved;
  Diagnose(what, stop);
  Abandon();
  throw Abandoned{};
}

void Block::Abandon() {
  failed_ = true;
  for (std::size_t i = 0; i < threads_.size(); ++i)
    if (threads_[i].waiting) Wake(static_cast<int>(i));
}

void Block::Diagnose(std::string_view what, const Stop& stop) {
  const auto number = [](unsigned value) { return std::to_string(value); };
  std::string text = stop.place.line == 0 ? "" : ToString(stop.place) + ": ";
  text += "block (" + number(index_.x) + "," + number(index_.y) + "," + number(index_.z) + ") ";
  text += "thread " + std::to_string(running_) + ": ";
  if (*stop.function != '\0') text += std::string(stop.function) + ": ";
  AddDiagnostic(text + std::string(what) + ", in " + grid_.name);
}

// All who wait, by place.
std::string Block::Deadlock() const {
  std::map<std::string, std::pair<int, std::size_t>> groups;  // place: threads, the first of them
  for (std::size_t i = 0; i < threads_.size(); ++i) {
    const Thread& thread = threads_[i];
    if (!thread.waiting) continue;
    const std::string where =
        std::string(thread.stop.function) + " at " + ToString(thread.stop.place);
    ++groups.try_emplace(where, 0, i).first->second.first;
  }
  std::string text = "nobody can go on";
  for (const auto& [where, group] : groups)
    text += "; " + std::to_string(group.first) +
            " threads (first: " + std::to_string(group.second) + ") wait in " + where;
  const auto returned = static_cast<int>(threads_.size()) - alive_;
  return text + "; " + std::to_string(returned) + " have returned";
}

}  // namespace codegen::simt
