// SPDX-License-Identifier: Apache-2.0
#include "support/simt/atomics.h"

#include <gtest/gtest.h>

#include <thread>

#include "simt/run.h"
#include "support/simt/kernel.h"

namespace codegen::simt {
namespace {

constexpr int kAdders = 96;

template <class T>
void ExpectArithmetic() {
  T sum{}, difference{}, least{}, greatest{};
  const auto reset = [&] {
    sum = T{1};
    difference = T{10'000};
    least = T{50};
    greatest = T{50};
  };
  reset();
  RunCorrect(
      kAdders,
      [&] {
        const auto value = static_cast<T>(threadIdx.x);
        atomicAdd(&sum, value);
        atomicSub(&difference, value);
        atomicMin(&least, value);
        atomicMax(&greatest, value);
      },
      [&] {
        EXPECT_EQ(sum, T{1 + 95 * 96 / 2});
        EXPECT_EQ(difference, T{10'000 - 95 * 96 / 2});
        EXPECT_EQ(least, T{0});
        EXPECT_EQ(greatest, T{95});
        reset();
      });
}

TEST(Atomics, AddSubtractAndCompareAllTypes) {
  ExpectArithmetic<int>();
  ExpectArithmetic<unsigned>();
  ExpectArithmetic<unsigned long long>();
  ExpectArithmetic<float>();
  ExpectArithmetic<double>();
}

TEST(Atomics, CombineBits) {
  unsigned all = ~0U, some = 0, odd = 0;

  RunCorrect(
      32,
      [&] {
        atomicAnd(&all, ~(1U << threadIdx.x) | 1);
        atomicOr(&some, 1U << threadIdx.x / 2);
        atomicXor(&odd, 1U << threadIdx.x / 2);
      },
      [&] {
        EXPECT_EQ(all, 1U);
        EXPECT_EQ(some, 0xFFFFU);
        EXPECT_EQ(odd, 0U);
        all = ~0U;
        some = 0;
      });
}

TEST(Atomics, ReturnWhatWasThere) {
  int slots[kAdders] = {};
  int next = 0;

  RunCorrect(
      kAdders, [&] { ++slots[atomicAdd(&next, 1)]; },
      [&] {
        for (int& slot : slots) {
          EXPECT_EQ(slot, 1);
          slot = 0;
        }
        next = 0;
      });
}

TEST(Atomics, ExchangeHandsEveryValueOnOnce) {
  int held = -1;
  int seen[kAdders + 1] = {};

  RunCorrect(
      kAdders, [&] { ++seen[atomicExch(&held, static_cast<int>(threadIdx.x)) + 1]; },
      [&] {
        ++seen[held + 1];
        for (int& count : seen) {
          EXPECT_EQ(count, 1);
          count = 0;
        }
        held = -1;
      });
}

TEST(Atomics, IncrementBeginsAnewAfterTheLast) {
  unsigned counter = 0;

  RunCorrect(
      7, [&] { atomicInc(&counter, 4); },
      [&] {
        EXPECT_EQ(counter, 2U);
        counter = 0;
      });
}

// Ends only because an atomic function lets the holder of the lock run.
TEST(Atomics, CompareAndSwapMakesASpinLock) {
  int lock = 0;
  int guarded = 0;

  RunCorrect(
      kAdders,
      [&] {
        while (atomicCAS(&lock, 0, 1) != 0) {
        }
        __threadfence();
        const int before = guarded;
        __nanosleep(1);  // the others find the lock taken
        guarded = before + 1;
        __threadfence();
        atomicExch(&lock, 0);
      },
      [&] {
        EXPECT_EQ(guarded, kAdders);
        guarded = 0;
      });
}

TEST(Atomics, AreAtomicBetweenGridsOfSeveralHostThreads) {
  float sum = 0;
  const auto run = [&] {
    RunGrid({.grid = dim3(20), .block = dim3(64)}, "kernel", [&] { atomicAdd(&sum, 1.0F); });
  };

  std::thread other(run);
  run();
  other.join();

  EXPECT_EQ(sum, 2 * 20 * 64.0F);
}

}  // namespace
}  // namespace codegen::simt
