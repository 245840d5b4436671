// SPDX-License-Identifier: Apache-2.0
#include "comm/thread_group.h"

#include <absl/functional/function_ref.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "base/mutex.h"
#include "base/spin.h"

namespace codegen::comm {
namespace {

// What all ranks share.
class Group {
 public:
  explicit Group(int ranks) : posted_(static_cast<std::size_t>(ranks)) {}

  int size() const { return static_cast<int>(posted_.size()); }

  // What a rank shows to the others between two meetings.
  struct Posted {
    Floats values = {};
    ConstFloats part = {};
    std::span<std::byte> bytes = {};
  };
  Posted& posted(int rank) { return posted_[static_cast<std::size_t>(rank)].what; }

  // Returns once every rank is here; all that they wrote before is visible then.
  absl::Status Meet() {
    const std::uint32_t round = round_.load(std::memory_order_acquire);
    if (aborted_.load(std::memory_order_acquire)) return status();
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == size()) {
      arrived_.store(0, std::memory_order_relaxed);
      NextRound();
    } else {
      base::SpinThenPark(round_, round);
    }
    return aborted_.load(std::memory_order_acquire) ? status() : absl::OkStatus();
  }

  void Abort(const absl::Status& status) {
    CODEGEN_DCHECK(!status.ok());
    {
      const base::MutexLock lock(mutex_);
      if (status_.ok()) status_ = status;
    }
    aborted_.store(true, std::memory_order_release);
    NextRound();
  }

 private:
  struct alignas(64) Place {
    Posted what = {};
  };

  void NextRound() {
    round_.fetch_add(1, std::memory_order_acq_rel);
    round_.notify_all();
  }

  absl::Status status() {
    const base::MutexLock lock(mutex_);
    return status_;
  }

  std::vector<Place> posted_;
  alignas(64) std::atomic<int> arrived_ = 0;
  alignas(64) std::atomic<std::uint32_t> round_ = 0;
  std::atomic<bool> aborted_ = false;
  base::Mutex mutex_;
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
};

// Calls work(row, first column, columns) for the elements [begin, end) of all rows, counted along
// them.
void ForEachRun(const Floats& floats, std::int64_t begin, std::int64_t end,
                absl::FunctionRef<void(std::int64_t, std::int64_t, std::int64_t)> work) {
  while (begin < end) {
    const std::int64_t row = begin / floats.columns;
    const std::int64_t column = begin % floats.columns;
    const std::int64_t count = std::min(floats.columns - column, end - begin);
    work(row, column, count);
    begin += count;
  }
}

class ThreadRank final : public Communicator {
 public:
  ThreadRank(std::shared_ptr<Group> group, int rank) : group_(std::move(group)), rank_(rank) {}

  int rank() const override { return rank_; }
  int size() const override { return group_->size(); }

  absl::Status AllReduce(const Floats& values) override {
    group_->posted(rank_).values = values;
    CODEGEN_RETURN_IF_ERROR(group_->Meet());
    // Whole cache lines, so that ranks do not write to the same one.
    constexpr std::int64_t kLine = 16;
    const std::int64_t lines = (values.rows * values.columns + kLine - 1) / kLine;
    const auto share = [&](int rank) {
      return std::min(lines * rank / size() * kLine, values.rows * values.columns);
    };
    ForEachRun(values, share(rank_), share(rank_ + 1),
               [this](std::int64_t row, std::int64_t column, std::int64_t count) {
                 Sum(row, column, count);
               });
    return group_->Meet();
  }

  absl::Status AllGather(const ConstFloats& part, const Floats& all) override {
    group_->posted(rank_).part = part;
    CODEGEN_RETURN_IF_ERROR(group_->Meet());
    for (int rank = 0; rank < size(); ++rank) {
      const ConstFloats& from = group_->posted(rank).part;
      const std::int64_t first = rank * part.columns;
      const std::int64_t count = std::min(part.columns, all.columns - first);
      for (std::int64_t t = 0; count > 0 && t < all.rows; ++t)
        std::copy_n(from.row(t), count, all.row(t) + first);
    }
    return group_->Meet();
  }

  absl::Status Broadcast(std::span<std::byte> bytes, int root) override {
    group_->posted(rank_).bytes = bytes;
    CODEGEN_RETURN_IF_ERROR(group_->Meet());
    const std::span<std::byte> from = group_->posted(root).bytes;
    CODEGEN_DCHECK(from.size() == bytes.size());
    if (rank_ != root && !bytes.empty()) std::memcpy(bytes.data(), from.data(), bytes.size());
    return group_->Meet();
  }

  absl::Status Barrier() override { return group_->Meet(); }

  void Abort(const absl::Status& status) override { group_->Abort(status); }

 private:
  // Of all ranks, in a few pieces that stay in the L1 cache.
  void Sum(std::int64_t row, std::int64_t column, std::int64_t count) {
    std::array<float, 512> sum;
    while (count > 0) {
      const std::int64_t piece = std::min(count, std::ssize(sum));
      std::copy_n(group_->posted(0).values.row(row) + column, piece, sum.begin());
      for (int rank = 1; rank < size(); ++rank) {
        const float* const from = group_->posted(rank).values.row(row) + column;
        for (std::int64_t i = 0; i < piece; ++i) sum[static_cast<std::size_t>(i)] += from[i];
      }
      for (int rank = 0; rank < size(); ++rank)
        std::copy_n(sum.begin(), piece, group_->posted(rank).values.row(row) + column);
      column += piece;
      count -= piece;
    }
  }

  const std::shared_ptr<Group> group_;
  const int rank_;
};

}  // namespace

std::vector<std::shared_ptr<Communicator>> MakeThreadGroup(int ranks) {
  CODEGEN_DCHECK(ranks >= 1);
  const auto group = std::make_shared<Group>(ranks);
  std::vector<std::shared_ptr<Communicator>> all;
  for (int rank = 0; rank < ranks; ++rank) all.push_back(std::make_shared<ThreadRank>(group, rank));
  return all;
}

}  // namespace codegen::comm
