// SPDX-License-Identifier: Apache-2.0
#include "backend/checked.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "support/reference_backend.h"

namespace codegen::backend {
namespace {

using codegen::testing::ReferenceBackend;
using codegen::testing::ReferenceDevice;
using ::testing::HasSubstr;

static_assert(Backend<Checked<ReferenceBackend>>);
static_assert(Backend<Checked<Checked<ReferenceBackend>>>);

// Two sequences: positions 15..17 over pages 3, 1 and position 0 on page 0.
struct Batch {
  std::vector<TokenId> tokens = {5, 6, 7, 8};
  std::vector<std::int32_t> positions = {15, 16, 17, 0};
  std::vector<std::int32_t> first_row = {0, 3, 4};
  std::vector<std::int32_t> first_page = {0, 2, 3};
  std::vector<std::int32_t> pages = {3, 1, 0};
  std::vector<std::int32_t> logit_rows = {2, 3};

  Rows rows() const {
    return {.tokens = tokens,
            .positions = positions,
            .first_row = first_row,
            .first_page = first_page,
            .pages = pages,
            .logit_rows = logit_rows};
  }
};

std::string Violation(const std::function<void(Batch&)>& spoil) {
  Batch batch;
  spoil(batch);
  const absl::Status status = CheckRows(batch.rows());
  EXPECT_TRUE(status.ok() || absl::IsInvalidArgument(status));
  return std::string(status.message());
}

TEST(CheckRows, AcceptsARaggedBatch) {
  EXPECT_EQ(Violation([](Batch&) {}), "");
}

TEST(CheckRows, AcceptsASequenceWithoutRows) {
  EXPECT_EQ(Violation([](Batch& b) {
              b.first_row = {0, 3, 3, 4};
              b.first_page = {0, 2, 2, 3};
            }),
            "");
}

TEST(CheckRows, AcceptsAPageThatTwoSequencesOnlyRead) {
  EXPECT_EQ(Violation([](Batch& b) {
              b.positions = {16, 17, 18, 16};
              b.first_page = {0, 2, 4};
              b.pages = {3, 1, 3, 2};
            }),
            "");
}

TEST(CheckRows, RejectsArraysOfOtherLengths) {
  EXPECT_EQ(Violation([](Batch& b) { b.positions.pop_back(); }), "positions: 3, expected 4");
  EXPECT_EQ(Violation([](Batch& b) { b.first_row.back() = 5; }), "first_row: 5, expected 4");
  EXPECT_EQ(Violation([](Batch& b) { b.first_page.back() = 4; }), "first_page: 4, expected 3");
  EXPECT_EQ(Violation([](Batch& b) {
              b.first_page = {0, 3};
            }),
            "sequences of first_page: 1, expected 2");
  EXPECT_EQ(Violation([](Batch& b) { b.first_row.clear(); }), "first_row: does not begin with 0");
}

TEST(CheckRows, RejectsOffsetsThatDoNotAscend) {
  EXPECT_EQ(Violation([](Batch& b) {
              b.first_row = {1, 3, 4};
            }),
            "first_row: does not begin with 0");
  EXPECT_EQ(Violation([](Batch& b) { b.first_page = {0, 4, 3}; }), "first_page: does not ascend");
}

TEST(CheckRows, RejectsPositionsThatDoNotFollowEachOther) {
  EXPECT_EQ(Violation([](Batch& b) { b.positions[2] = 18; }),
            "sequence 0, row 2: position 18, expected 17");
  EXPECT_EQ(Violation([](Batch& b) { b.positions[3] = -1; }),
            "sequence 1: position -1, expected 0 or more");
}

TEST(CheckRows, RejectsTooFewPages) {
  EXPECT_EQ(Violation([](Batch& b) {
              b.first_page = {0, 1, 2};
              b.pages = {3, 1};
            }),
            "sequence 0: 1 pages, expected 2 or more");
}

TEST(CheckRows, RejectsPagesThatAreShared) {
  EXPECT_EQ(Violation([](Batch& b) {
              b.pages = {3, 1, 1};
            }),
            "page 1: listed by sequence 1, written by sequence 0");
  EXPECT_EQ(Violation([](Batch& b) { b.pages = {3, 3, 1}; }), "sequence 0: page 3 is listed twice");
}

TEST(CheckRows, RejectsANegativePage) {
  EXPECT_EQ(Violation([](Batch& b) { b.pages[0] = -1; }), "page -1, expected >= 0");
}

TEST(CheckRows, RejectsLogitRowsOutOfOrderOrRange) {
  EXPECT_EQ(Violation([](Batch& b) {
              b.logit_rows = {2, 2};
            }),
            "logit row 2 after 2, expected ascending");
  EXPECT_EQ(Violation([](Batch& b) { b.logit_rows = {4}; }), "logit row 4, expected in [0, 4)");
  EXPECT_EQ(Violation([](Batch& b) { b.logit_rows = {-1}; }), "logit row -1, expected in [0, 4)");
}

TEST(CheckHeads, RejectsEachRuleBroken) {
  const Heads valid{.count = 2, .dim = 16, .rotary_dim = 8};
  const auto broken = [&](const std::function<void(Heads&)>& spoil) {
    Heads heads = valid;
    spoil(heads);
    return CheckHeads(heads).code();
  };

  EXPECT_TRUE(CheckHeads(valid).ok());
  EXPECT_EQ(broken([](Heads& h) { h.count = 0; }), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(broken([](Heads& h) { h.dim = 12; }), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(broken([](Heads& h) { h.dim = 0; }), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(broken([](Heads& h) { h.rotary_dim = 18; }), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(broken([](Heads& h) { h.rotary_dim = 7; }), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(broken([](Heads& h) { h.rotary_base = 0; }), absl::StatusCode::kInvalidArgument);
}

TEST(CheckSampling, RejectsEachRuleBroken) {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  const Sampling valid{.temperature = 1, .vocabulary = 10};
  const auto broken = [&](const std::function<void(Sampling&)>& spoil) {
    Sampling sampling = valid;
    spoil(sampling);
    return CheckSampling({&sampling, 1}, 10).code();
  };

  EXPECT_TRUE(CheckSampling({&valid, 1}, 10).ok());
  EXPECT_EQ(broken([](Sampling& s) { s.temperature = -1; }), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(broken([](Sampling& s) { s.temperature = kNan; }), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(broken([](Sampling& s) { s.top_k = -1; }), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(broken([](Sampling& s) { s.top_p = 0; }), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(broken([](Sampling& s) { s.top_p = 1.5F; }), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(broken([](Sampling& s) { s.min_p = -0.1F; }), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(broken([](Sampling& s) { s.min_p = kNan; }), absl::StatusCode::kInvalidArgument);
  for (const LogitChange change :
       {LogitChange{.id = -1}, {.id = 16}, {.divisor = 0}, {.divisor = kNan}, {.bias = kNan}}) {
    EXPECT_EQ(broken([&](Sampling& s) {
                s.changes = {&change, 1};
              }),
              absl::StatusCode::kInvalidArgument);
  }
  EXPECT_EQ(broken([](Sampling& s) { s.vocabulary = 0; }), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(broken([](Sampling& s) { s.vocabulary = 11; }), absl::StatusCode::kInvalidArgument);
}

// A checked reference backend with objects of width 16: two heads of 8.
class CheckedTest : public ::testing::Test {
 protected:
  static constexpr std::int64_t kWidth = 16;

  static MatrixSource Constant(std::int64_t rows, std::int64_t columns) {
    return {.rows = rows,
            .columns = columns,
            .read = [](std::int64_t, std::int64_t, std::span<float> out) {
              std::ranges::fill(out, 0.5F);
              return absl::OkStatus();
            }};
  }

  // [rows, columns] of ones.
  ReferenceDevice::Tensor Ones(std::int64_t rows, std::int64_t columns) {
    ReferenceDevice::Tensor tensor = *device_.MakeTensor(rows, columns);
    std::ranges::fill(tensor.values(), 1.0);
    return tensor;
  }

  std::string message() const { return std::string(checked_.status().message()); }

  ReferenceDevice device_;
  ReferenceBackend reference_;
  Checked<ReferenceBackend> checked_{reference_, device_};
  const Heads heads_{.count = 2, .dim = 8, .rotary_dim = 4};
  ReferenceDevice::Weight weight_ =
      *device_.MakeWeight(Constant(3, kWidth), {}, WeightFormat::kF32);
  ReferenceDevice::Embedding embedding_ =
      *device_.MakeEmbedding(Constant(10, kWidth), WeightFormat::kF32);
  ReferenceDevice::Norm norm_ =
      *device_.MakeNorm(std::vector<float>(kWidth, 1.0F), std::vector<float>(kWidth, 0.0F), 1e-5F);
  ReferenceDevice::KvLayer kv_ = *device_.MakeKvLayer(4, heads_);
  ReferenceDevice::Tensor x_ = Ones(4, kWidth);
  ReferenceDevice::Tensor y_ = Ones(4, kWidth);
};

TEST_F(CheckedTest, PassesACorrectStepThrough) {
  const Batch batch{.positions = {0, 1, 2, 0}};
  ReferenceDevice::Tensor qkv = Ones(4, 3 * kWidth);
  ReferenceDevice::Tensor product = Ones(4, 3);
  ReferenceDevice::Tensor half = Ones(4, kWidth / 2);
  ReferenceDevice::Tensor last = Ones(2, kWidth);
  std::vector<SampledToken> tokens(2);

  checked_.Embed(batch.tokens, embedding_, x_);
  checked_.LayerNorm(x_, norm_, y_);
  checked_.RmsNorm(x_, norm_, y_);
  checked_.Linear(x_, weight_, Then::kStore, product);
  checked_.Attend(qkv, batch.rows(), heads_, kv_, y_);
  checked_.SwiGlu(x_, half);
  checked_.Add(x_, y_);
  checked_.AllReduce(y_);
  checked_.Gather(y_, batch.logit_rows, last);
  checked_.Sample(last, std::vector<Sampling>(2, {.vocabulary = 16}), tokens);

  EXPECT_TRUE(checked_.status().ok()) << checked_.status();
  EXPECT_EQ(product.values()[0], 4);  // 16 times a half of a half: it did run
  EXPECT_EQ(tokens[0].id, 0);
}

TEST_F(CheckedTest, NamesTheCallAndKeepsTheFirstViolation) {
  checked_.Add(x_, y_);
  ReferenceDevice::Tensor narrow = Ones(4, 8);
  checked_.Add(narrow, y_);
  checked_.SwiGlu(x_, y_);

  EXPECT_EQ(message(), "call 2, Add: columns of x: 8, expected 16");
  EXPECT_TRUE(absl::IsInvalidArgument(checked_.status()));
}

TEST_F(CheckedTest, DoesNotRunAnOperationWithWrongArguments) {
  ReferenceDevice::Tensor narrow = Ones(4, 8);
  checked_.Add(narrow, y_);

  EXPECT_EQ(y_.values()[0], 1);
}

TEST_F(CheckedTest, RunsOnAfterAViolation) {
  ReferenceDevice::Tensor narrow = Ones(4, 8);
  checked_.Add(narrow, y_);
  checked_.Add(x_, y_);

  EXPECT_EQ(y_.values()[0], 2);
}

TEST_F(CheckedTest, FindsTheFirstResultThatIsNotFinite) {
  x_[2][5] = std::numeric_limits<double>::infinity();
  checked_.Add(x_, y_);

  EXPECT_EQ(message(), "call 1, Add: result [2, 5] is inf, expected a finite number");
  EXPECT_TRUE(absl::IsDataLoss(checked_.status()));
}

TEST_F(CheckedTest, FindsRowsThatNobodyWrote) {
  x_.SetRows(4);
  checked_.RmsNorm(x_, norm_, y_);

  EXPECT_THAT(message(), HasSubstr("result [0, 0] is nan"));
}

TEST_F(CheckedTest, FindsAPositionThatWasNeverComputed) {
  const Batch batch;  // begins at position 15 over an empty cache
  ReferenceDevice::Tensor qkv = Ones(4, 3 * kWidth);
  checked_.Attend(qkv, batch.rows(), heads_, kv_, y_);

  EXPECT_THAT(message(), HasSubstr("Attend: result [0, 0] is nan"));
}

TEST_F(CheckedTest, FindsTokensBeyondTheEmbedding) {
  checked_.Embed(std::vector<TokenId>{0, 1, 10, 2}, embedding_, y_);

  EXPECT_EQ(message(), "call 1, Embed: token 10, expected in [0, 10)");
}

TEST_F(CheckedTest, FindsWrongShapesOfEveryOperation) {
  const Batch batch{.positions = {0, 1, 2, 0}};
  ReferenceDevice::Tensor three_rows = Ones(3, kWidth);
  ReferenceDevice::Tensor narrow = Ones(4, 8);
  ReferenceDevice::Tensor qkv = Ones(4, 3 * kWidth);
  std::vector<SampledToken> tokens(4);
  using Call = std::function<void(Checked<ReferenceBackend>&)>;
  const std::vector<Call> wrong = {
      [&](auto& b) { b.Embed(batch.tokens, embedding_, three_rows); },
      [&](auto& b) { b.Embed(batch.tokens, embedding_, narrow); },
      [&](auto& b) {
        b.Embed(std::vector<TokenId>{0, 1, -1, 2}, embedding_, y_);
      },
      [&](auto& b) { b.LayerNorm(x_, norm_, three_rows); },
      [&](auto& b) { b.LayerNorm(x_, norm_, narrow); },
      [&](auto& b) { b.RmsNorm(narrow, norm_, narrow); },
      [&](auto& b) { b.Linear(x_, weight_, Then::kStore, y_); },
      [&](auto& b) { b.Linear(narrow, weight_, Then::kStore, y_); },
      [&](auto& b) { b.Linear(three_rows, weight_, Then::kStore, y_); },
      [&](auto& b) { b.Attend(x_, batch.rows(), heads_, kv_, y_); },
      [&](auto& b) { b.Attend(qkv, batch.rows(), heads_, kv_, narrow); },
      [&](auto& b) { b.Attend(qkv, batch.rows(), heads_, kv_, three_rows); },
      [&](auto& b) { b.Attend(qkv, batch.rows(), {.count = 1, .dim = 12}, kv_, y_); },
      [&](auto& b) { b.SwiGlu(x_, y_); },
      [&](auto& b) { b.SwiGlu(three_rows, narrow); },
      [&](auto& b) { b.Add(three_rows, y_); },
      [&](auto& b) {
        b.Gather(x_, std::vector<std::int32_t>{0, 2, 4}, three_rows);
      },
      [&](auto& b) {
        b.Gather(x_, std::vector<std::int32_t>{0, 2}, three_rows);
      },
      [&](auto& b) {
        b.Gather(narrow, std::vector<std::int32_t>{0, 1, 2}, three_rows);
      },
      [&](auto& b) { b.Sample(x_, std::vector<Sampling>(3, {.vocabulary = 1}), tokens); },
      [&](auto& b) { b.Sample(three_rows, std::vector<Sampling>(3, {.vocabulary = 1}), tokens); },
      [&](auto& b) { b.Sample(x_, std::vector<Sampling>(4, {.vocabulary = 17}), tokens); },
  };

  for (std::size_t i = 0; i < wrong.size(); ++i) {
    Checked<ReferenceBackend> checked(reference_, device_);
    wrong[i](checked);

    EXPECT_TRUE(absl::IsInvalidArgument(checked.status())) << "case " << i;
  }
}

TEST_F(CheckedTest, FindsAPageBeyondTheLayer) {
  Batch batch{.positions = {0, 1, 2, 0}};
  batch.pages[2] = 4;
  ReferenceDevice::Tensor qkv = Ones(4, 3 * kWidth);
  checked_.Attend(qkv, batch.rows(), heads_, kv_, y_);

  EXPECT_EQ(message(), "call 1, Attend: pages of the layer, at least: 4, expected 5");
}

// A backend that samples the same id whatever it is asked.
struct StubbornBackend : ReferenceBackend {
  void Sample(const Tensor&, std::span<const Sampling>, std::span<SampledToken> tokens) {
    std::ranges::fill(tokens, SampledToken{.id = id});
  }
  TokenId id = 0;
};

TEST_F(CheckedTest, FindsASampledTokenBeyondTheVocabulary) {
  StubbornBackend stubborn;
  Checked<StubbornBackend> checked(stubborn, device_);
  std::vector<SampledToken> tokens(4);
  const std::vector<Sampling> sampling(4, {.vocabulary = 5});

  stubborn.id = -1;
  checked.Sample(x_, sampling, tokens);
  EXPECT_TRUE(checked.status().ok());
  stubborn.id = 5;
  checked.Sample(x_, sampling, tokens);

  EXPECT_EQ(checked.status().message(), "call 2, Sample: token 5, expected in [0, 5)");
}

}  // namespace
}  // namespace codegen::backend
