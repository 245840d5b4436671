// SPDX-License-Identifier: Apache-2.0
#include "cuda/kernels/rotate_append.cuh"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <random>
#include <type_traits>
#include <vector>

#include "cuda/kernels/device_array.h"

namespace codegen::cuda {
namespace {

using backend::Heads;
using backend::RotaryPairs;

constexpr int kStepRows = 4;
constexpr int kStepPositions = 80;
constexpr int kCacheSlots = 5 * backend::kPageTokens;
constexpr std::int32_t kPositionOfRow[] = {0, 1, 37, 79, 3};  // the last one is beyond the count
constexpr std::int32_t kSlotOfRow[] = {40, 16, 79, 0, 5};
constexpr float kNobodyWrote = -77;  // bf16 too

std::size_t Size(std::int64_t count) { return static_cast<std::size_t>(count); }

template <class T>
T As(float x) {
  if constexpr (std::is_same_v<T, float>) {
    return x;
  } else {
    return __float2bfloat16(x);
  }
}
double Widen(float x) { return double{x}; }
double Widen(__nv_bfloat16 x) { return double{__bfloat162float(x)}; }

double Angle(const Heads& heads, int position, int pair) {
  return position * std::pow(double{heads.rotary_base}, -2.0 * pair / heads.rotary_dim);
}

// The table of the kernel.
std::vector<float> Turns(const Heads& heads) {
  std::vector<float> turns;
  const int pairs = heads.rotary_dim / 2;
  for (int position = 0; position < kStepPositions; ++position) {
    for (int i = 0; i < heads.rotary_dim; ++i) {
      const bool neighbours = heads.rotary_pairs == RotaryPairs::kInterleaved;
      const double angle = Angle(heads, position, neighbours ? i / 2 : i % pairs);
      const bool sine = neighbours ? i % 2 == 1 : i >= pairs;
      turns.push_back(static_cast<float>(sine ? std::sin(angle) : std::cos(angle)));
    }
  }
  return turns;
}

template <class T>
class RotateAppendTest : public testing::Test {
 protected:
  // x [rows + 1, q,k,v, heads, dim]: the last row lies beyond the count.
  void Draw(const Heads& heads) {
    x_.resize(Size(kStepRows + 1) * 3 * Size(heads.count * heads.dim));
    for (T& element : x_) element = As<T>(static_cast<float>(random_() % 4001) / 1000.0F - 2);
  }

  void Run(const Heads& heads) {
    const std::vector<__nv_bfloat16> cache(Size(kCacheSlots * heads.count * heads.dim),
                                           __float2bfloat16(kNobodyWrote));
    const DeviceArray<T> x(x_);
    const DeviceArray<__nv_bfloat16> keys(cache), values(cache),
        q(std::vector<__nv_bfloat16>(x_.size() / 3, __float2bfloat16(kNobodyWrote)));
    const DeviceArray<float> turns(Turns(heads));
    const DeviceArray<std::int32_t> positions(
        {std::begin(kPositionOfRow), std::end(kPositionOfRow)});
    const DeviceArray<std::int32_t> slots({std::begin(kSlotOfRow), std::end(kSlotOfRow)});
    const DeviceArray<std::int32_t> rows({kStepRows});

    ASSERT_EQ(RotateAppend<T>({.x = x.data(),
                               .q = q.data(),
                               .keys = keys.data(),
                               .values = values.data(),
                               .turns = turns.data(),
                               .positions = positions.data(),
                               .slots = slots.data(),
                               .rows = rows.data(),
                               .row_capacity = kStepRows + 1,
                               .heads = heads},
                              nullptr),
              cudaSuccess);

    q_ = q.Host();
    keys_ = keys.Host();
    values_ = values.Host();
  }

  double X(const Heads& heads, int row, int part, int head, int d) const {
    const auto i = ((std::int64_t{row} * 3 + part) * heads.count + head) * heads.dim + d;
    return Widen(x_[Size(i)]);
  }

  double Rotated(const Heads& heads, int row, int part, int head, int d) const {
    const double own = X(heads, row, part, head, d);
    if (d >= heads.rotary_dim) return own;
    const bool neighbours = heads.rotary_pairs == RotaryPairs::kInterleaved;
    const int pairs = heads.rotary_dim / 2;
    const int pair = neighbours ? d / 2 : d % pairs;
    const int first = neighbours ? 2 * pair : pair;
    const int second = neighbours ? first + 1 : first + pairs;
    const double angle = Angle(heads, kPositionOfRow[row], pair);
    return d == first ? own * std::cos(angle) - X(heads, row, part, head, second) * std::sin(angle)
                      : own * std::cos(angle) + X(heads, row, part, head, first) * std::sin(angle);
  }

  // One rounding to bf16 (2^-8 of it at most) of what f32 made of numbers up to 2 and angles.
  static void ExpectRounded(__nv_bfloat16 actual, double expected) {
    ASSERT_NEAR(Widen(actual), expected, std::abs(expected) / 256 + 2e-6);
  }

  void ExpectRow(const Heads& heads, int row) {
    for (int head = 0; head < heads.count; ++head) {
      for (int d = 0; d < heads.dim; ++d) {
        SCOPED_TRACE(testing::Message() << "row " << row << " head " << head << " element " << d);
        const auto at = Size((row * heads.count + head) * heads.dim + d);
        ExpectRounded(q_[at], Rotated(heads, row, 0, head, d) / std::sqrt(double(heads.dim)));
        const int slot = kSlotOfRow[row];
        const auto entry =
            Size(((slot / 16 * heads.count + head) * 16 + slot % 16) * heads.dim + d);
        ExpectRounded(keys_[entry], Rotated(heads, row, 1, head, d));
        ExpectRounded(values_[entry], X(heads, row, 2, head, d));
        keys_[entry] = values_[entry] = q_[at] = __float2bfloat16(kNobodyWrote);
      }
    }
  }

  void ExpectNothingElseWritten() const {
    for (const auto* array : {&q_, &keys_, &values_})
      for (const __nv_bfloat16 element : *array) ASSERT_EQ(__bfloat162float(element), kNobodyWrote);
  }

  std::mt19937 random_{1};
  std::vector<T> x_;
  std::vector<__nv_bfloat16> q_, keys_, values_;
};

using Inputs = testing::Types<float, __nv_bfloat16>;
class InputName {
 public:
  template <class T>
  static std::string GetName(int) {
    return std::is_same_v<T, float> ? "F32" : "Bf16";
  }
};
TYPED_TEST_SUITE(RotateAppendTest, Inputs, InputName);

TYPED_TEST(RotateAppendTest, RotatesScalesAndAppends) {
  for (const int dim : {8, 64, 80, 128, 256}) {
    for (const RotaryPairs pairs : {RotaryPairs::kInterleaved, RotaryPairs::kHalves}) {
      for (const int rotary_dim : {0, 2, dim / 2, dim - 2, dim}) {
        SCOPED_TRACE(testing::Message() << "dim " << dim << " rotary " << rotary_dim << " pairs "
                                        << static_cast<int>(pairs));
        const Heads heads{.count = 3, .dim = dim, .rotary_dim = rotary_dim, .rotary_pairs = pairs};
        this->Draw(heads);
        UnderEverySchedule([&] {
          this->Run(heads);
          for (int row = 0; row < kStepRows; ++row)
            ASSERT_NO_FATAL_FAILURE(this->ExpectRow(heads, row));
          ASSERT_NO_FATAL_FAILURE(this->ExpectNothingElseWritten());
        });
      }
    }
  }
}

TYPED_TEST(RotateAppendTest, RefusesHeadsThatAreNoWholePieces) {
  for (const Heads& heads : {Heads{.count = 1, .dim = 12, .rotary_dim = 4},
                             Heads{.count = 1, .dim = 16, .rotary_dim = 3},
                             Heads{.count = 1, .dim = 16, .rotary_dim = 18}})
    EXPECT_EQ(RotateAppend<TypeParam>({.row_capacity = 1, .heads = heads}, nullptr),
              cudaErrorInvalidValue);
}

}  // namespace
}  // namespace codegen::cuda
