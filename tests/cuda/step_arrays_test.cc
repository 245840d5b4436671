// SPDX-License-Identifier: Apache-2.0
#include "cuda/step_arrays.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <numeric>
#include <optional>
#include <utility>
#include <vector>

#include "support/simt/runtime/control.h"
#include "support/status_is.h"

namespace codegen::cuda {
namespace {

using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using ::testing::IsEmpty;
using testing::IsOk;
using testing::StatusIs;

constexpr backend::StepLimits kLimits = {.rows = 90, .logit_rows = 5, .context = 120};
constexpr std::int64_t kMostPages = 96 * 8;  // of a bucket of rows, of the context each

using GroupNumbers = std::array<std::int32_t, 4>;

std::vector<GroupNumbers> NumbersOf(const RowGroup* groups, std::int32_t count) {
  std::vector<GroupNumbers> numbers;
  for (std::int32_t i = 0; i < count; ++i)
    numbers.push_back({groups[i].row, groups[i].rows, groups[i].position, groups[i].first_page});
  return numbers;
}

template <class T>
std::vector<T> CopyOf(const T* data, std::size_t count) {
  return {data, data + count};
}

// A step, sequence by sequence. Pages are numbered downwards from 99.
class RaggedStep {
 public:
  RaggedStep& Add(std::int32_t position, std::int32_t rows) {
    for (std::int32_t i = 0; i < rows; ++i) {
      tokens_.push_back(static_cast<TokenId>(100 + tokens_.size()));
      positions_.push_back(position + i);
      slots_.push_back((99 - first_page_.back() - (position + i) / 16) * 16 + (position + i) % 16);
    }
    for (std::int32_t page = 0; rows > 0 && page <= (position + rows - 1) / 16; ++page)
      pages_.push_back(99 - static_cast<std::int32_t>(pages_.size()));
    first_row_.push_back(static_cast<std::int32_t>(positions_.size()));
    first_page_.push_back(static_cast<std::int32_t>(pages_.size()));
    return *this;
  }
  RaggedStep& AddPages(std::size_t count) {
    pages_.resize(pages_.size() + count);
    return *this;
  }

  backend::Rows rows() const {
    return {.tokens = tokens_,
            .positions = positions_,
            .first_row = first_row_,
            .first_page = first_page_,
            .pages = pages_};
  }
  const std::vector<std::int32_t>& slots() const { return slots_; }

 private:
  std::vector<TokenId> tokens_;
  std::vector<std::int32_t> positions_, first_row_ = {0}, first_page_ = {0}, pages_, slots_;
};

// A decode, an empty sequence, a chunk of a prompt, some guessed tokens, one more than these may
// be.
RaggedStep FourSequences() {
  return RaggedStep().Add(5, 1).Add(0, 0).Add(37, 70).Add(16, 8).Add(0, 9);
}

class StepArraysTest : public ::testing::Test {
 protected:
  void SetUp() override {
    simt::Reset();
    absl::StatusOr<Stream> stream = Stream::Create();
    ASSERT_THAT(stream, IsOk());
    stream_.emplace(*std::move(stream));
    Make();
  }
  void TearDown() override {
    EXPECT_EQ(simt::Count().pageable_copies, 0);
    arrays_.reset();
    stream_.reset();
    EXPECT_EQ(budget_.free_bytes(), budget_.bytes());
    EXPECT_EQ(simt::Count().live_allocations, 0);
    simt::Reset();
  }

  void Make(bool one_attention = false) {
    absl::StatusOr<StepArrays> arrays = StepArrays::Create(kLimits, one_attention, budget_);
    ASSERT_THAT(arrays, IsOk());
    arrays_.emplace(*std::move(arrays));
  }

  void Bring() {
    ASSERT_THAT(arrays_->CopyIn(*stream_), IsOk());
    ASSERT_THAT(stream_->Synchronize(), IsOk());
  }

  // Brings the rows of a step and finds them there.
  void ExpectBrings(const RaggedStep& step) {
    ASSERT_THAT(arrays_->SetRows(step.rows()), IsOk());
    Bring();
    const backend::Rows rows = step.rows();
    EXPECT_THAT(CopyOf(device().positions, rows.positions.size()),
                ElementsAreArray(rows.positions));
    EXPECT_THAT(CopyOf(device().pages, rows.pages.size()), ElementsAreArray(rows.pages));
    EXPECT_THAT(CopyOf(device().slots, step.slots().size()), ElementsAreArray(step.slots()));
  }

  const StepPointers& device() const { return arrays_->device(); }
  std::vector<GroupNumbers> Decodes() const {
    return NumbersOf(device().decode, *device().decode_count);
  }
  std::vector<GroupNumbers> Prefills() const {
    return NumbersOf(device().prefill, *device().prefill_count);
  }

  MemoryBudget budget_{std::int64_t{1} << 20};
  std::optional<Stream> stream_;
  std::optional<StepArrays> arrays_;
};

// --- Rows ---------------------------------------------------------------------------------------

TEST_F(StepArraysTest, BringsTheGroupsOfARaggedStep) {
  ExpectBrings(FourSequences());

  EXPECT_THAT(Decodes(), ElementsAre(GroupNumbers{0, 1, 5, 0}, GroupNumbers{71, 8, 16, 8}));
  EXPECT_THAT(Prefills(), ElementsAre(GroupNumbers{1, 64, 37, 1}, GroupNumbers{65, 6, 101, 1},
                                      GroupNumbers{79, 9, 0, 10}));
  EXPECT_EQ(arrays_->shape().decode_groups, 2);
  EXPECT_EQ(arrays_->shape().prefill_groups, 3);
  EXPECT_FALSE(arrays_->shape().all_decode);
}

TEST_F(StepArraysTest, GivesEveryRowTheSlotOfItsPosition) {
  ASSERT_THAT(arrays_->SetRows(FourSequences().rows()), IsOk());
  Bring();

  EXPECT_EQ(device().slots[0], 99 * 16 + 5);
  EXPECT_EQ(device().slots[1], 96 * 16 + 5) << "position 37 in the third of the pages from 98";
  EXPECT_EQ(device().slots[65], 92 * 16 + 5) << "position 101 of the second group";
  EXPECT_EQ(device().slots[71], 90 * 16) << "position 16 in the second page";
  EXPECT_EQ(device().slots[87], 89 * 16 + 8);
}

TEST_F(StepArraysTest, MakesAllGroupsPrefillsForOneAttention) {
  Make(/*one_attention=*/true);

  ExpectBrings(FourSequences());

  EXPECT_THAT(Decodes(), IsEmpty());
  EXPECT_THAT(Prefills(), ElementsAre(GroupNumbers{0, 1, 5, 0}, GroupNumbers{1, 64, 37, 1},
                                      GroupNumbers{65, 6, 101, 1}, GroupNumbers{71, 8, 16, 8},
                                      GroupNumbers{79, 9, 0, 10}));
  EXPECT_EQ(arrays_->shape().decode_groups, 0);
  EXPECT_EQ(arrays_->shape().prefill_groups, 5);
  EXPECT_FALSE(arrays_->shape().all_decode);
}

TEST_F(StepArraysTest, KnowsWhetherAllSequencesDecode) {
  for (const bool one_attention : {false, true}) {
    Make(one_attention);
    const auto all_decode = [&](const RaggedStep& step) {
      EXPECT_THAT(arrays_->SetRows(step.rows()), IsOk());
      return arrays_->shape().all_decode;
    };
    EXPECT_TRUE(all_decode(RaggedStep().Add(5, 1).Add(16, 8)));
    EXPECT_FALSE(all_decode(RaggedStep().Add(5, 1).Add(16, 9)));
    EXPECT_FALSE(all_decode(RaggedStep().Add(0, 72).Add(5, 1)));  // 64, and then 8
    EXPECT_TRUE(all_decode(RaggedStep().Add(0, 1))) << "forgets the step before";
  }
}

TEST_F(StepArraysTest, ForgetsTheStepBefore) {
  ExpectBrings(FourSequences());

  ExpectBrings(RaggedStep().Add(3, 2));
  EXPECT_THAT(Decodes(), ElementsAre(GroupNumbers{0, 2, 3, 0}));
  EXPECT_THAT(Prefills(), IsEmpty());
  ExpectBrings(RaggedStep().Add(3, 20));
  EXPECT_THAT(Decodes(), IsEmpty());
  EXPECT_THAT(Prefills(), ElementsAre(GroupNumbers{0, 20, 3, 0}));
}

TEST_F(StepArraysTest, TakesAsMuchAsItsLimits) {
  RaggedStep step;
  for (int i = 0; i < 10; ++i) step.Add(111, 9);  // 90 rows, to position 119
  step.AddPages(kMostPages - 80);

  ExpectBrings(step);

  EXPECT_EQ(arrays_->shape().prefill_groups, 10);
}

TEST_F(StepArraysTest, TakesAStepWithoutRows) {
  ExpectBrings(RaggedStep());

  EXPECT_THAT(Decodes(), IsEmpty());
  EXPECT_THAT(Prefills(), IsEmpty());
  EXPECT_TRUE(arrays_->shape().all_decode);
}

TEST_F(StepArraysTest, RefusesMoreThanItsLimitsAndRemains) {
  RaggedStep many_rows;
  for (int i = 0; i < 91; ++i) many_rows.Add(0, 1);
  const RaggedStep far = RaggedStep().Add(118, 3);
  const RaggedStep many_pages = RaggedStep().Add(0, 1).AddPages(kMostPages);
  const RaggedStep good = FourSequences();
  ExpectBrings(good);

  for (const RaggedStep& step : {many_rows, far, many_pages}) {
    EXPECT_THAT(arrays_->SetRows(step.rows()), StatusIs(absl::StatusCode::kInternal));
    EXPECT_EQ(arrays_->shape().decode_groups, 2);
    Bring();
    EXPECT_THAT(CopyOf(device().slots, 88), ElementsAreArray(good.slots()));
    ExpectBrings(good);
    EXPECT_EQ(Decodes().size(), 2U);
    EXPECT_EQ(Prefills().size(), 3U);
  }
}

TEST_F(StepArraysTest, SaysByWhatAStepIsTooLarge) {
  EXPECT_THAT(arrays_->SetRows(RaggedStep().Add(119, 2).rows()),
              StatusIs(absl::StatusCode::kInternal,
                       "step of 2 rows, 8 pages; made for 90 and 768, of positions below 120"));
}

// --- What is not of the rows --------------------------------------------------------------------

TEST_F(StepArraysTest, BringsTokensLogitRowsAndCounts) {
  const std::vector<TokenId> tokens = {7, 0, 51199, 3};
  const std::vector<std::int32_t> logit_rows = {1, 3};

  arrays_->SetTokens(tokens);
  arrays_->SetLogitRows(logit_rows);
  arrays_->SetCount(RowCount::kRows, 4);
  arrays_->SetCount(RowCount::kLogitRows, 2);
  Bring();

  EXPECT_THAT(CopyOf(device().tokens, 4), ElementsAreArray(tokens));
  EXPECT_THAT(CopyOf(device().logit_rows, 2), ElementsAreArray(logit_rows));
  EXPECT_EQ(*arrays_->count(RowCount::kRows), 4);
  EXPECT_EQ(*arrays_->count(RowCount::kLogitRows), 2);
  EXPECT_EQ(arrays_->count(RowCount::kRows), device().rows);
  EXPECT_EQ(arrays_->count(RowCount::kLogitRows), device().logit_row_count);
  EXPECT_EQ(arrays_->shape().rows, 4);
  EXPECT_EQ(arrays_->shape().logit_rows, 2);
}

TEST_F(StepArraysTest, BringsHowRowsAreSampled) {
  const backend::Sampling last = {.temperature = 0.5F,
                                  .top_k = 40,
                                  .top_p = 0.95F,
                                  .seed = std::uint64_t{1} << 60,
                                  .position = 77,
                                  .vocabulary = 50257};

  arrays_->SetSampling(std::vector<backend::Sampling>{{}, {.top_k = 3}, last});
  Bring();

  EXPECT_EQ(device().sampling[1].top_k, 3);
  const backend::Sampling& found = device().sampling[2];
  EXPECT_EQ(found.temperature, last.temperature);
  EXPECT_EQ(found.top_k, last.top_k);
  EXPECT_EQ(found.top_p, last.top_p);
  EXPECT_EQ(found.seed, last.seed);
  EXPECT_EQ(found.position, last.position);
  EXPECT_EQ(found.vocabulary, last.vocabulary);
}

TEST_F(StepArraysTest, BringsTheChangesOfEachRow) {
  const std::vector<backend::LogitChange> first = {{.id = 4, .divisor = 2}, {.id = 9, .bias = 3}};
  const std::vector<backend::LogitChange> second = {{.id = 1, .divisor = 0.5F, .bias = -1}};
  const auto find = [this](std::size_t row) {
    std::vector<std::array<float, 3>> found;
    for (const auto& [id, divisor, bias] : device().sampling[row].changes)
      found.push_back({static_cast<float>(id), divisor, bias});
    return found;
  };

  arrays_->SetSampling(std::vector<backend::Sampling>{
      {.changes = first}, {.top_k = 1}, {.top_k = 5, .changes = second}});
  Bring();

  EXPECT_THAT(find(0), ElementsAre(std::array{4.0F, 2.0F, 0.0F}, std::array{9.0F, 1.0F, 3.0F}));
  EXPECT_THAT(find(1), IsEmpty());
  EXPECT_THAT(find(2), ElementsAre(std::array{1.0F, 0.5F, -1.0F}));
  EXPECT_EQ(device().sampling[0].changes.data(), device().changes);
  EXPECT_EQ(device().sampling[2].changes.data(), device().changes + 2);
  EXPECT_EQ(device().sampling[2].top_k, 5);
}

TEST_F(StepArraysTest, HasRoomForAChangeOfEveryTokenAndOfEveryBias) {
  std::vector<backend::LogitChange> most(
      static_cast<std::size_t>(StepArrays::ChangesPerRow(kLimits)), {.id = 77});
  arrays_->SetSampling(std::vector<backend::Sampling>(static_cast<std::size_t>(kLimits.logit_rows),
                                                      {.changes = most}));
  Bring();

  EXPECT_EQ(most.size(), 120U + Limits::logit_biases);
  for (std::int64_t i = 0; i < kLimits.logit_rows; ++i)
    EXPECT_EQ(device().sampling[i].changes.back().id, 77);
}

TEST_F(StepArraysTest, KeepsTheCountsWhenRowsAreSet) {
  arrays_->SetCount(RowCount::kRows, 88);
  arrays_->SetCount(RowCount::kLogitRows, 4);

  ExpectBrings(FourSequences());

  EXPECT_EQ(*device().rows, 88);
  EXPECT_EQ(*device().logit_row_count, 4);
  EXPECT_EQ(arrays_->shape().rows, 88);
  EXPECT_EQ(arrays_->shape().logit_rows, 4);
}

// As many of everything as there can be, and none reaches into another.
TEST_F(StepArraysTest, KeepsItsArraysApart) {
  std::vector<std::int32_t> logit_rows(8);
  std::iota(logit_rows.begin(), logit_rows.end(), 1000);
  std::vector<TokenId> tokens(96);
  std::iota(tokens.begin(), tokens.end(), 2000);
  RaggedStep step;
  for (int i = 0; i < 81; ++i) step.Add(i, 1);
  step.Add(5, 9);
  arrays_->SetCount(RowCount::kRows, 90);
  arrays_->SetCount(RowCount::kLogitRows, 5);
  arrays_->SetTokens(tokens);
  arrays_->SetLogitRows(logit_rows);
  arrays_->SetSampling(std::vector<backend::Sampling>(8, {.position = 5, .vocabulary = 6}));

  ExpectBrings(step);

  EXPECT_EQ(*device().rows, 90);
  EXPECT_EQ(*device().logit_row_count, 5);
  EXPECT_THAT(CopyOf(device().tokens, 96), ElementsAreArray(tokens));
  EXPECT_THAT(CopyOf(device().logit_rows, 8), ElementsAreArray(logit_rows));
  ASSERT_EQ(Decodes().size(), 81U);
  for (int i = 0; i < 81; ++i) EXPECT_EQ(Decodes()[static_cast<std::size_t>(i)][2], i);
  EXPECT_THAT(Prefills(), ElementsAre(::testing::Contains(9)));
  for (int i = 0; i < 8; ++i) {
    EXPECT_EQ(device().sampling[i].top_k, 0);
    EXPECT_EQ(device().sampling[i].vocabulary, 6);
  }
}

// --- The block ----------------------------------------------------------------------------------

// New memory of the device is poisoned, so that what was not copied shows.
TEST_F(StepArraysTest, CopiesOnlyThePagesInUse) {
  ASSERT_THAT(arrays_->SetRows(FourSequences().rows()), IsOk());
  Bring();
  EXPECT_THAT(CopyOf(device().pages, 12),
              ElementsAre(99, 98, 97, 96, 95, 94, 93, 92, 91, 90, 89, -1));

  ASSERT_THAT(arrays_->SetRows(RaggedStep().Add(0, 1).rows()), IsOk());
  device().pages[1] = -7;
  Bring();

  EXPECT_EQ(device().pages[1], -7);
  EXPECT_EQ(device().pages[kMostPages - 1], -1);
}

TEST_F(StepArraysTest, BringsAllWithOneCopyAndNeitherWaitsNorAllocates) {
  ASSERT_THAT(arrays_->SetRows(FourSequences().rows()), IsOk());
  const simt::Counters before = simt::Count();

  ASSERT_THAT(arrays_->CopyIn(*stream_), IsOk());

  const simt::Counters after = simt::Count();
  EXPECT_EQ(after.copies, before.copies + 1);
  EXPECT_EQ(after.synchronizations, before.synchronizations);
  EXPECT_EQ(after.allocations, before.allocations);
  ASSERT_THAT(stream_->Synchronize(), IsOk());
}

TEST_F(StepArraysTest, ReportsACopyThatFails) {
  simt::Inject({.call = simt::Call::kCopy, .error = cudaErrorUnknown});

  EXPECT_THAT(arrays_->CopyIn(*stream_), StatusIs(absl::StatusCode::kInternal, "of a step"));

  ExpectBrings(FourSequences());
}

TEST_F(StepArraysTest, KeepsItsAddressesWhenMoved) {
  const StepPointers before = device();
  StepArrays moved = *std::move(arrays_);

  EXPECT_EQ(moved.device().pages, before.pages);
  ASSERT_THAT(moved.SetRows(RaggedStep().Add(0, 1).rows()), IsOk());
  ASSERT_THAT(moved.CopyIn(*stream_), IsOk());
  ASSERT_THAT(stream_->Synchronize(), IsOk());

  EXPECT_EQ(before.pages[0], 99);
}

TEST_F(StepArraysTest, NeedsMemory) {
  const auto bytes = static_cast<std::int64_t>(device().bytes);
  EXPECT_EQ(budget_.free_bytes(), budget_.bytes() - bytes);
  const std::int64_t live = simt::Count().live_allocations;
  MemoryBudget small(bytes - 1);

  EXPECT_THAT(StepArrays::Create(kLimits, false, small),
              StatusIs(absl::StatusCode::kResourceExhausted));
  simt::Inject({.call = simt::Call::kAllocate, .error = cudaErrorMemoryAllocation});
  EXPECT_THAT(StepArrays::Create(kLimits, false, budget_),
              StatusIs(absl::StatusCode::kResourceExhausted, "pinned"));

  EXPECT_EQ(small.free_bytes(), bytes - 1);
  EXPECT_EQ(simt::Count().live_allocations, live);
}

TEST(StepArrays, HasRoomForWholeBuckets) {
  EXPECT_EQ(StepArrays::Capacity(0), 0);
  EXPECT_EQ(StepArrays::Capacity(1), 1);
  EXPECT_EQ(StepArrays::Capacity(3), 4);
  EXPECT_EQ(StepArrays::Capacity(90), 96);
}

}  // namespace
}  // namespace codegen::cuda
