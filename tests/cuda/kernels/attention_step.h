// SPDX-License-Identifier: Apache-2.0
//
// A step over some sequences, in the memory that the attention kernels read, and what they should
// answer.
//
// Queries, keys and values are a function of (seed of the sequence, position, head, element), so
// that the same row can be asked for in many steps. The pages of a sequence lie anywhere, and all
// that belongs to no sequence is NaN: other pages, the rest of a sequence's last page, groups
// beyond the count, results.
#ifndef CODEGEN_TESTS_CUDA_KERNELS_ATTENTION_STEP_H_
#define CODEGEN_TESTS_CUDA_KERNELS_ATTENTION_STEP_H_

#include <cuda_bf16.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <random>
#include <vector>

#include "cuda/kernels/attend.h"
#include "cuda/kernels/device_array.h"

namespace codegen::cuda {

using Bf16 = __nv_bfloat16;

inline constexpr int kSlots = backend::kPageTokens;  // of a page

// The part of a sequence that a step computes; everything before `position` was computed earlier.
struct StepPart {
  std::uint32_t seed;
  int position;
  int rows;
  float magnitude = 1;  // of scores, roughly
  int nan_at = -1;      // a position whose key is NaN
};

inline std::vector<float> Widened(const std::vector<Bf16>& elements) {
  std::vector<float> widened;
  for (const Bf16 element : elements) widened.push_back(__bfloat162float(element));
  return widened;
}

enum class Operand : std::uint32_t { kQuery, kKey, kValue };

// Uniform in [-1, 1], rounded to bf16.
inline float RandomElement(std::uint32_t seed, Operand operand, int position, int i) {
  std::uint64_t x = seed * 0x9E3779B97F4A7C15U + static_cast<std::uint64_t>(operand);
  for (const int part : {position, i}) {
    x = (x ^ static_cast<std::uint64_t>(part)) * 0xD6E8FEB86659FD93U;
    x ^= x >> 32;
  }
  const float uniform = static_cast<float>(x % 2001) / 1000.0F - 1;
  return __bfloat162float(__float2bfloat16(uniform));
}

struct StepShape {
  int heads;
  int dim;

  int width() const { return heads * dim; }
};

// What element i of a row [heads, dim] of a sequence is. The query times the key of its own
// position is of the order of the magnitude.
inline float ElementOf(const StepPart& part, const StepShape& shape, Operand operand, int position,
                       int i) {
  if (operand == Operand::kKey && position == part.nan_at)
    return std::numeric_limits<float>::quiet_NaN();
  const float x = RandomElement(part.seed, operand, position, i);
  if (operand != Operand::kQuery) return x;
  const float scale = 4 * part.magnitude / std::sqrt(static_cast<float>(shape.dim));
  return __bfloat162float(__float2bfloat16(x * scale));
}

class AttentionStep {
 public:
  AttentionStep(const StepShape& shape, std::vector<StepPart> parts)
      : shape_(shape), parts_(std::move(parts)) {
    LayOutPages();
    const float nan = std::numeric_limits<float>::quiet_NaN();
    const auto cache = static_cast<std::size_t>(spare_pages_ + used_pages()) * kSlots *
                       static_cast<std::size_t>(shape.width());
    keys_.assign(cache, __float2bfloat16(nan));
    values_ = keys_;
    for (std::size_t s = 0; s < parts_.size(); ++s) Fill(s);
  }

  const StepShape& shape() const { return shape_; }
  int rows() const { return first_row_.back(); }
  backend::Rows view() const {
    return {.positions = positions_,
            .first_row = first_row_,
            .first_page = first_page_,
            .pages = pages_};
  }

  // Result [rows, heads, dim], starting as NaN, of run(args) for these groups among room for more.
  template <class Run>
  std::vector<float> Result(std::vector<RowGroup> groups, const Run& run) const {
    const auto count = static_cast<std::int32_t>(groups.size());
    constexpr std::int32_t kBad = std::numeric_limits<std::int32_t>::max() / 2;
    groups.resize(groups.size() + 2, {kBad, kBad, kBad, kBad});
    const DeviceArray<Bf16> q(queries_), keys(keys_), values(values_);
    const DeviceArray<std::int32_t> pages(pages_), counts(std::vector<std::int32_t>{count});
    const DeviceArray<RowGroup> list(groups);
    const DeviceArray<Bf16> y(std::vector<Bf16>(queries_.size(), __float2bfloat16(std::nanf(""))));

    run(AttendArgs{.q = q.data(),
                   .keys = keys.data(),
                   .values = values.data(),
                   .pages = pages.data(),
                   .groups = list.data(),
                   .count = counts.data(),
                   .y = y.data(),
                   .group_capacity = static_cast<int>(groups.size()),
                   .heads = shape_.heads,
                   .dim = shape_.dim});

    return Widened(y.Host());
  }

  // The rows of a group, against sums in double.
  void ExpectRight(const std::vector<float>& result, const RowGroup& group) const {
    if (expected_.empty()) expected_ = AllExpected();
    for (int row = group.row; row < group.row + group.rows; ++row) {
      for (int i = 0; i < shape_.width(); ++i) {
        const auto at = static_cast<std::size_t>(row * shape_.width() + i);
        ASSERT_NEAR(result[at], expected_[at].y, expected_[at].tolerance)
            << "row " << row << " of a group of " << group.rows << " at " << group.position
            << ", head " << i / shape_.dim << ", element " << i % shape_.dim;
      }
    }
  }

 private:
  std::int32_t used_pages() const { return first_page_.back(); }
  static int PagesFor(const StepPart& part) {
    return (part.position + part.rows + kSlots - 1) / kSlots;
  }

  void LayOutPages() {
    for (const StepPart& part : parts_) {
      first_row_.push_back(first_row_.back() + part.rows);
      first_page_.push_back(first_page_.back() + PagesFor(part));
      for (int i = 0; i < part.rows; ++i) positions_.push_back(part.position + i);
    }
    std::vector<std::int32_t> free(static_cast<std::size_t>(used_pages() + spare_pages_));
    std::iota(free.begin(), free.end(), 0);
    std::shuffle(free.begin(), free.end(), std::mt19937(7));
    pages_.assign(free.begin(), free.begin() + used_pages());
  }

  void Fill(std::size_t s) {
    const StepPart& part = parts_[s];
    for (int position = 0; position < part.position + part.rows; ++position) {
      const auto entry = static_cast<std::size_t>(first_page_[s] + position / kSlots);
      for (int i = 0; i < shape_.width(); ++i) {
        const int head = i / shape_.dim;
        const auto at = static_cast<std::size_t>(
            ((pages_[entry] * shape_.heads + head) * kSlots + position % kSlots) * shape_.dim +
            i % shape_.dim);
        keys_[at] = __float2bfloat16(ElementOf(part, shape_, Operand::kKey, position, i));
        values_[at] = __float2bfloat16(ElementOf(part, shape_, Operand::kValue, position, i));
        if (position >= part.position)
          queries_.push_back(
              __float2bfloat16(ElementOf(part, shape_, Operand::kQuery, position, i)));
      }
    }
  }

  struct Expected {
    double y;
    double tolerance;
  };

  std::vector<Expected> AllExpected() const {
    std::vector<Expected> expected;
    for (const StepPart& part : parts_)
      for (int row = 0; row < part.rows; ++row)
        for (int head = 0; head < shape_.heads; ++head)
          AppendExpected(part, part.position + row, head, expected);
    return expected;
  }

  // Each weight is rounded to bf16 (by 2^-8 of it at most), and so is the result; all else is f32.
  void AppendExpected(const StepPart& part, int position, int head,
                      std::vector<Expected>& expected) const {
    const std::vector<double> weights = Weights(part, position, head);
    for (int i = head * shape_.dim; i < (head + 1) * shape_.dim; ++i) {
      double y = 0;
      double magnitude = 0;
      for (std::size_t p = 0; p < weights.size(); ++p) {
        const double term =
            weights[p] * ElementOf(part, shape_, Operand::kValue, static_cast<int>(p), i);
        y += term;
        magnitude += std::abs(term);
      }
      expected.push_back({y, (magnitude + std::abs(y)) / 256 + 1e-5});
    }
  }

  std::vector<double> Weights(const StepPart& part, int position, int head) const {
    std::vector<double> weights;
    for (int p = 0; p <= position; ++p) {
      double score = 0;
      for (int i = head * shape_.dim; i < (head + 1) * shape_.dim; ++i)
        score += double{ElementOf(part, shape_, Operand::kQuery, position, i)} *
                 double{ElementOf(part, shape_, Operand::kKey, p, i)};
      weights.push_back(score);
    }
    const double largest = *std::max_element(weights.begin(), weights.end());
    double sum = 0;
    for (double& weight : weights) sum += weight = std::exp(weight - largest);
    for (double& weight : weights) weight /= sum;
    return weights;
  }

  static constexpr std::int32_t spare_pages_ = 5;
  StepShape shape_;
  std::vector<StepPart> parts_;
  std::vector<std::int32_t> positions_;
  std::vector<std::int32_t> first_row_ = {0};
  std::vector<std::int32_t> first_page_ = {0};
  std::vector<std::int32_t> pages_;
  std::vector<Bf16> queries_;  // [rows, heads, dim]
  std::vector<Bf16> keys_;     // [page][head][16][dim]
  std::vector<Bf16> values_;
  mutable std::vector<Expected> expected_;  // [rows, heads, dim], once asked for
};

// Row `row` of a result.
inline std::vector<float> RowOf(const std::vector<float>& result, const StepShape& shape, int row) {
  const auto begin = result.begin() + row * shape.width();
  return {begin, begin + shape.width()};
}

}  // namespace codegen::cuda

#endif  // CODEGEN_TESTS_CUDA_KERNELS_ATTENTION_STEP_H_
