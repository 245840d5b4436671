// SPDX-License-Identifier: Apache-2.0
#include "comm/thread_group.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <memory>
#include <random>
#include <thread>
#include <vector>

namespace codegen::comm {
namespace {

// Runs work(rank's communicator) on a thread for each rank of a new group.
void OnRanks(int ranks, const std::function<void(Communicator&)>& work) {
  std::vector<std::thread> threads;
  for (const auto& communicator : MakeThreadGroup(ranks))
    threads.emplace_back([&work, communicator] { work(*communicator); });
  for (std::thread& thread : threads) thread.join();
}

// Numbers whose sums depend on the order of the additions.
float NumberOf(int rank, std::int64_t i) {
  std::minstd_rand random(static_cast<unsigned>(rank * 100'003 + i * 17 + 1));
  return std::uniform_real_distribution<float>(-1, 1)(random) *
         static_cast<float>(1 + random() % 1000);
}

// A matrix with gaps between its rows, which nobody may write to.
class Matrix {
 public:
  Matrix(std::int64_t rows, std::int64_t columns, std::int64_t gap, float value)
      : rows_(rows), columns_(columns), stride_(columns + gap) {
    values_.assign(static_cast<std::size_t>(rows * stride_), kGap);
    for (std::int64_t t = 0; t < rows; ++t)
      for (std::int64_t c = 0; c < columns; ++c) At(t, c) = value;
  }

  float& At(std::int64_t row, std::int64_t column) {
    return values_[static_cast<std::size_t>(row * stride_ + column)];
  }
  Floats floats() { return {values_.data(), rows_, columns_, stride_}; }
  ConstFloats const_floats() const { return {values_.data(), rows_, columns_, stride_}; }
  void ExpectGapsUntouched() {
    for (std::int64_t t = 0; t < rows_; ++t)
      for (std::int64_t c = columns_; c < stride_; ++c) EXPECT_EQ(At(t, c), kGap);
  }

 private:
  static constexpr float kGap = -7.5F;
  std::int64_t rows_;
  std::int64_t columns_;
  std::int64_t stride_;
  std::vector<float> values_;
};

TEST(ThreadGroup, KnowsItsRanks) {
  const auto group = MakeThreadGroup(3);
  ASSERT_EQ(group.size(), 3U);
  for (int rank = 0; rank < 3; ++rank) {
    EXPECT_EQ(group[static_cast<std::size_t>(rank)]->rank(), rank);
    EXPECT_EQ(group[static_cast<std::size_t>(rank)]->size(), 3);
  }
}

TEST(ThreadGroup, SumsInTheOrderOfRanksOnAllOfThem) {
  struct Outline {
    std::int64_t rows, columns, gap;
  };
  for (const int ranks : {1, 2, 3, 5}) {
    for (const Outline& o : {Outline{1, 1, 0},
                             {1, 16, 3},
                             {2, 40, 8},
                             {1, 2000, 0},
                             {7, 13, 5},
                             {33, 1029, 11},
                             {0, 8, 0}}) {
      OnRanks(ranks, [&](Communicator& communicator) {
        Matrix matrix(o.rows, o.columns, o.gap, 0);
        const auto index = [&](std::int64_t t, std::int64_t c) { return t * o.columns + c; };
        for (std::int64_t t = 0; t < o.rows; ++t)
          for (std::int64_t c = 0; c < o.columns; ++c)
            matrix.At(t, c) = NumberOf(communicator.rank(), index(t, c));

        ASSERT_TRUE(communicator.AllReduce(matrix.floats()).ok());

        for (std::int64_t t = 0; t < o.rows; ++t) {
          for (std::int64_t c = 0; c < o.columns; ++c) {
            float expected = NumberOf(0, index(t, c));
            for (int rank = 1; rank < ranks; ++rank) expected += NumberOf(rank, index(t, c));
            ASSERT_EQ(matrix.At(t, c), expected) << "row " << t << " column " << c;
          }
        }
        matrix.ExpectGapsUntouched();
      });
    }
  }
}

TEST(ThreadGroup, GathersPartsSideBySideAndCutsTheLast) {
  for (const std::int64_t columns : {20, 17, 11, 10}) {
    OnRanks(4, [columns](Communicator& communicator) {
      Matrix part(3, 5, 2, 0);
      for (std::int64_t t = 0; t < 3; ++t)
        for (std::int64_t c = 0; c < 5; ++c)
          part.At(t, c) = static_cast<float>(100 * t + 5 * communicator.rank() + c);
      Matrix all(3, columns, 4, -1);

      ASSERT_TRUE(communicator.AllGather(part.const_floats(), all.floats()).ok());

      for (std::int64_t t = 0; t < 3; ++t)
        for (std::int64_t c = 0; c < columns; ++c)
          EXPECT_EQ(all.At(t, c), static_cast<float>(100 * t + c));
      all.ExpectGapsUntouched();
    });
  }
}

TEST(ThreadGroup, BroadcastsFromAnyRank) {
  OnRanks(3, [](Communicator& communicator) {
    for (int root = 0; root < 3; ++root) {
      std::vector<std::byte> bytes(100, static_cast<std::byte>(communicator.rank()));
      ASSERT_TRUE(communicator.Broadcast(bytes, root).ok());
      EXPECT_EQ(bytes, std::vector<std::byte>(100, static_cast<std::byte>(root)));
      ASSERT_TRUE(communicator.Broadcast({}, root).ok());
    }
  });
}

TEST(ThreadGroup, NobodyPassesABarrierBeforeAllAreThere) {
  std::atomic<int> arrived = 0;
  OnRanks(4, [&arrived](Communicator& communicator) {
    for (int round = 1; round <= 200; ++round) {
      ++arrived;
      ASSERT_TRUE(communicator.Barrier().ok());
      EXPECT_GE(arrived, 4 * round);
    }
  });
}

TEST(ThreadGroup, KeepsItsOrderOverManyRounds) {
  OnRanks(3, [](Communicator& communicator) {
    Matrix matrix(1, 50, 0, 1);
    for (int round = 0; round < 300; ++round) {
      for (std::int64_t c = 0; c < 50; ++c)
        matrix.At(0, c) = static_cast<float>(round + communicator.rank());
      ASSERT_TRUE(communicator.AllReduce(matrix.floats()).ok());
      for (std::int64_t c = 0; c < 50; ++c)
        ASSERT_EQ(matrix.At(0, c), static_cast<float>(3 * round + 3));
    }
  });
}

TEST(ThreadGroup, AbortReleasesWhoWaitsAndFailsWhatComes) {
  OnRanks(3, [](Communicator& communicator) {
    if (communicator.rank() == 1) {
      communicator.Abort(absl::DataLossError("the first"));
      communicator.Abort(absl::InternalError("the second"));
    }
    Matrix matrix(1, 4, 0, 1);
    for (int i = 0; i < 3; ++i) {
      EXPECT_EQ(communicator.Barrier(), absl::DataLossError("the first"));
      EXPECT_EQ(communicator.AllReduce(matrix.floats()), absl::DataLossError("the first"));
      EXPECT_EQ(communicator.AllGather(matrix.const_floats(), matrix.floats()),
                absl::DataLossError("the first"));
    }
  });
}

TEST(ThreadGroup, AbortReleasesRanksThatHaveParked) {
  const auto group = MakeThreadGroup(2);
  absl::Status status;
  std::thread waiting([&] { status = group[0]->Barrier(); });

  group[1]->Abort(absl::UnavailableError("gone"));
  waiting.join();

  EXPECT_EQ(status, absl::UnavailableError("gone"));
}

}  // namespace
}  // namespace codegen::comm
