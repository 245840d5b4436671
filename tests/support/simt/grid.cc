// SPDX-License-Identifier: Apache-2.0
#include "support/simt/grid.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <random>
#include <span>
#include <vector>

#include "base/check.h"
#include "support/simt/block.h"
#include "support/simt/fiber.h"
#include "support/simt/sanitizers.h"

namespace codegen::simt {
namespace {

// Fibers that rest between launches, of all host threads: making one maps a stack, and the thread
// sanitizer knows no more than a few thousand. They live as long as the process.
class FiberPool {
 public:
  static FiberPool& Instance() {
    static auto* pool = new FiberPool;
    return *pool;
  }

  std::vector<Fiber*> Borrow(std::size_t count) {
    const std::lock_guard lock(mutex_);
    while (resting_.size() < count) resting_.push_back(new Fiber(&RunThreads));
    const auto first = resting_.end() - static_cast<std::ptrdiff_t>(count);
    std::vector<Fiber*> fibers(first, resting_.end());
    resting_.erase(first, resting_.end());
    return fibers;
  }

  void Return(const std::vector<Fiber*>& fibers) {
    const std::lock_guard lock(mutex_);
    resting_.insert(resting_.end(), fibers.begin(), fibers.end());
  }

 private:
  std::mutex mutex_;
  std::vector<Fiber*> resting_;
};

std::uint64_t Volume(const dim3& size) { return std::uint64_t{size.x} * size.y * size.z; }

uint3 BlockIndex(std::uint64_t block, const dim3& grid) {
  return {static_cast<unsigned>(block % grid.x), static_cast<unsigned>(block / grid.x % grid.y),
          static_cast<unsigned>(block / grid.x / grid.y)};
}

std::vector<std::uint64_t> BlockOrder(std::uint64_t blocks, const Schedule& schedule) {
  std::vector<std::uint64_t> order(blocks);
  for (std::uint64_t i = 0; i < blocks; ++i) order[i] = i;
  if (schedule.order == Order::kBackward) std::reverse(order.begin(), order.end());
  if (schedule.order == Order::kRandom)
    std::shuffle(order.begin(), order.end(), std::minstd_rand(schedule.seed));
  return order;
}

// For the thread sanitizer a fiber knows for ever what the barriers of its last block put in order,
// and would hide races with the next block; so there blocks take turns between two sets of fibers,
// and neighbours never share one.
constexpr std::size_t kFiberSets = sanitizers::kThread ? 2 : 1;

// Runs the nth block. On the heap, as the launch itself: what is freed orders nobody any more.
bool RunBlock(GridRun& run, std::size_t nth, std::uint64_t block) {
  const std::size_t threads = Volume(run.shape.block);
  const auto fibers = std::span(run.fibers).subspan(nth % kFiberSets * threads, threads);
  const auto emulated = std::make_unique<Block>(run, fibers, BlockIndex(block, run.shape.grid));
  return emulated->Run();
}

}  // namespace

cudaError_t CheckShape(const GridShape& shape) {
  constexpr unsigned kMaxGridX = 0x7fffffff;
  constexpr unsigned kMaxGridYZ = 65535;
  const auto [x, y, z] = std::array{shape.block.x, shape.block.y, shape.block.z};
  const bool block = x <= 1024 && y <= 1024 && z <= 64 && Volume(shape.block) <= 1024;
  const bool grid =
      shape.grid.x <= kMaxGridX && shape.grid.y <= kMaxGridYZ && shape.grid.z <= kMaxGridYZ;
  if (!block || !grid || Volume(shape.block) == 0 || Volume(shape.grid) == 0)
    return cudaErrorInvalidConfiguration;
  return shape.shared_bytes <= kMaxShared ? cudaSuccess : cudaErrorInvalidValue;
}

// The threads of the launch come after what the caller did, and the caller after them; but blocks
// are not ordered among each other, and the thread sanitizer sees what they do to the same words.
bool RunGrid(const GridShape& shape, const char* name, absl::FunctionRef<void()> body) {
  CODEGEN_DCHECK(CheckShape(shape) == cudaSuccess);
  const Unobserved unobserved;
  FiberPool& pool = FiberPool::Instance();
  const std::unique_ptr<GridRun> run(
      new GridRun{.shape = shape, .name = name, .body = body, .schedule = CurrentSchedule()});
  run->fibers = pool.Borrow(kFiberSets * Volume(shape.block));

  Release(&run->start);
  const std::vector<std::uint64_t> order = BlockOrder(Volume(shape.grid), run->schedule);
  bool ok = true;
  for (std::size_t i = 0; i < order.size() && ok; ++i) ok = RunBlock(*run, i, order[i]);
  Acquire(&run->finish);

  pool.Return(run->fibers);
  return ok;
}

}  // namespace codegen::simt
