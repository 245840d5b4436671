// SPDX-License-Identifier: Apache-2.0
#include "cuda/gemm.h"

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <random>
#include <utility>
#include <vector>

#include "cuda/graph.h"
#include "support/simt/runtime/control.h"
#include "support/simt/runtime/cublaslt.h"
#include "support/status_is.h"

namespace codegen::cuda {
namespace {

using testing::IsOk;
using testing::StatusIs;

template <class T>
struct TypeOf;
template <>
struct TypeOf<__nv_bfloat16> {
  static constexpr cudaDataType_t kType = CUDA_R_16BF;
  static constexpr double kRounding = 0x1p-8;  // of one value, relative
};
template <>
struct TypeOf<__half> {
  static constexpr cudaDataType_t kType = CUDA_R_16F;
  static constexpr double kRounding = 0x1p-11;
};
template <>
struct TypeOf<float> {
  static constexpr cudaDataType_t kType = CUDA_R_32F;
  static constexpr double kRounding = 0x1p-24;
};

double Value(float value) { return static_cast<double>(value); }
double Value(__nv_bfloat16 value) { return Value(__bfloat162float(value)); }
double Value(__half value) { return Value(__half2float(value)); }

template <class T>
std::vector<T> RandomValues(std::mt19937& random, std::int64_t count) {
  std::uniform_real_distribution<float> uniform(-1, 1);
  std::vector<T> values;
  for (std::int64_t i = 0; i < count; ++i) values.push_back(T(uniform(random)));
  return values;
}

double Gelu(double v) {
  return 0.5 * v * (1 + std::tanh(std::sqrt(2 / std::acos(-1.0)) * (v + 0.044715 * v * v * v)));
}

class GemmTest : public ::testing::Test {
 protected:
  void SetUp() override { StartAnew(); }
  void TearDown() override {
    gemm_.reset();
    buffers_.clear();
    stream_.reset();
    EXPECT_EQ(budget_.free_bytes(), budget_.bytes());
    EXPECT_EQ(simt::Count().live_allocations, 0);
    simt::Reset();
  }

  void StartAnew(const simt::Settings& settings = {}) {
    gemm_.reset();
    buffers_.clear();
    stream_.reset();
    simt::Reset(settings);
    absl::StatusOr<Stream> stream = Stream::Create();
    ASSERT_THAT(stream, IsOk());
    stream_.emplace(*std::move(stream));
    absl::StatusOr<Gemm> gemm = Gemm::Create(simt::PretendBlas(), budget_);
    ASSERT_THAT(gemm, IsOk());
    gemm_.emplace(*std::move(gemm));
  }

  template <class T>
  T* Upload(const std::vector<T>& values) {
    const auto bytes = static_cast<std::int64_t>(values.size() * sizeof(T));
    absl::StatusOr<DeviceBuffer> buffer = DeviceBuffer::Create(budget_, bytes);
    EXPECT_THAT(buffer, IsOk());
    std::memcpy(buffer->data(), values.data(), static_cast<std::size_t>(bytes));
    buffers_.push_back(*std::move(buffer));
    return buffers_.back().as<T>();
  }

  // Operands of bf16 for a shape, with some contents.
  GemmOperands MakeOperands(const GemmShape& shape) {
    using T = __nv_bfloat16;
    const auto zeros = [](std::int64_t count) {
      return std::vector<T>(static_cast<std::size_t>(count), __float2bfloat16(0));
    };
    return {.x = Upload(zeros(shape.rows * shape.inputs)),
            .w = Upload(zeros(shape.outputs * shape.inputs)),
            .bias = Upload(zeros(shape.outputs)),
            .y = Upload(zeros(shape.rows * shape.outputs))};
  }

  template <class Operand, class Result>
  void ExpectProduct(GemmShape shape, GemmResult result);

  MemoryBudget budget_{std::int64_t{64} << 20};
  std::optional<Stream> stream_;
  std::optional<Gemm> gemm_;
  std::vector<DeviceBuffer> buffers_;
};

// Against the formula in double. A sum of n products of float32, in any order, is off by no more
// than n roundings of the sum of their magnitudes, here at most n; then come the additions of bias
// and y, and the rounding of the result. The slope of gelu is below 1.13.
template <class Operand, class Result>
void GemmTest::ExpectProduct(GemmShape shape, GemmResult result) {
  SCOPED_TRACE(::testing::Message() << shape.rows << " x " << shape.inputs << " x " << shape.outputs
                                    << ", epilogue " << static_cast<int>(shape.epilogue));
  shape.operand_type = TypeOf<Operand>::kType;
  shape.result_type = TypeOf<Result>::kType;
  std::mt19937 random(7);
  const auto x = RandomValues<Operand>(random, shape.rows * shape.inputs);
  const auto w = RandomValues<Operand>(random, shape.outputs * shape.inputs);
  const auto bias = RandomValues<Result>(random, shape.outputs);
  const auto before = RandomValues<Result>(random, shape.rows * shape.outputs);
  Result* const y = Upload(before);
  const GemmOperands operands = {
      .x = Upload(x), .w = Upload(w), .bias = Upload(bias), .y = y, .result = result};

  ASSERT_THAT(gemm_->Prepare(shape), IsOk());
  ASSERT_THAT(gemm_->Multiply(shape, operands, *stream_), IsOk());
  ASSERT_THAT(stream_->Synchronize(), IsOk());

  const bool biased =
      shape.epilogue == GemmEpilogue::kBias || shape.epilogue == GemmEpilogue::kGeluBias;
  const bool gelu =
      shape.epilogue == GemmEpilogue::kGelu || shape.epilogue == GemmEpilogue::kGeluBias;
  const auto inputs = static_cast<std::size_t>(shape.inputs);
  const auto outputs = static_cast<std::size_t>(shape.outputs);
  for (std::size_t i = 0; i < before.size(); ++i) {
    double expected = result == GemmResult::kAdd ? Value(before[i]) : 0;
    for (std::size_t k = 0; k < inputs; ++k)
      expected += Value(x[i / outputs * inputs + k]) * Value(w[i % outputs * inputs + k]);
    if (biased) expected += Value(bias[i % outputs]);
    if (gelu) expected = Gelu(expected);
    const double sum = static_cast<double>(inputs + 3);
    const double tolerance =
        1.13 * sum * sum * 0x1p-24 + std::abs(expected) * TypeOf<Result>::kRounding + 1e-6;
    ASSERT_NEAR(Value(y[i]), expected, tolerance) << "element " << i;
  }
}

TEST_F(GemmTest, MultipliesEveryShape) {
  for (const std::int64_t rows : {1, 2, 3, 5, 8, 13})
    for (const std::int64_t inputs : {8, 24, 40})
      for (const std::int64_t outputs : {8, 16, 56})
        ExpectProduct<__nv_bfloat16, __nv_bfloat16>(
            {.rows = rows, .outputs = outputs, .inputs = inputs}, GemmResult::kStore);
}

TEST_F(GemmTest, MultipliesEveryType) {
  const GemmShape shape = {.rows = 5, .outputs = 16, .inputs = 24};

  ExpectProduct<__nv_bfloat16, float>(shape, GemmResult::kStore);
  ExpectProduct<__half, __half>(shape, GemmResult::kStore);
  ExpectProduct<__half, float>(shape, GemmResult::kStore);
  ExpectProduct<float, float>(shape, GemmResult::kStore);
}

TEST_F(GemmTest, AppliesEveryEpilogue) {
  for (const GemmEpilogue epilogue :
       {GemmEpilogue::kNone, GemmEpilogue::kBias, GemmEpilogue::kGelu, GemmEpilogue::kGeluBias}) {
    const GemmShape shape = {.rows = 5, .outputs = 16, .inputs = 24, .epilogue = epilogue};
    ExpectProduct<float, float>(shape, GemmResult::kStore);
    ExpectProduct<__nv_bfloat16, __nv_bfloat16>(shape, GemmResult::kStore);
  }
}

TEST_F(GemmTest, AddsToItsResult) {
  ExpectProduct<__nv_bfloat16, __nv_bfloat16>({.rows = 5, .outputs = 16, .inputs = 24},
                                              GemmResult::kAdd);
  ExpectProduct<__nv_bfloat16, float>(
      {.rows = 5, .outputs = 16, .inputs = 24, .epilogue = GemmEpilogue::kBias}, GemmResult::kAdd);
}

TEST_F(GemmTest, TakesTheBiasOfEachCall) {
  const GemmShape shape = {.rows = 1, .outputs = 8, .inputs = 8, .epilogue = GemmEpilogue::kBias};
  GemmOperands operands = MakeOperands(shape);
  const auto* y = static_cast<const __nv_bfloat16*>(operands.y);
  ASSERT_THAT(gemm_->Prepare(shape), IsOk());

  for (const float value : {1.0F, 2.0F}) {
    operands.bias = Upload(std::vector<__nv_bfloat16>(8, __float2bfloat16(value)));
    ASSERT_THAT(gemm_->Multiply(shape, operands, *stream_), IsOk());
    ASSERT_THAT(stream_->Synchronize(), IsOk());
    EXPECT_EQ(__bfloat162float(y[7]), value);
  }
}

TEST_F(GemmTest, AsksForAlgorithmsOncePerBucket) {
  for (const std::int64_t rows : {9, 10, 16}) {
    const GemmShape shape = {.rows = rows, .outputs = 8, .inputs = 8};
    const GemmOperands operands = MakeOperands(shape);
    EXPECT_THAT(gemm_->Prepare(shape), IsOk());
    EXPECT_THAT(gemm_->Multiply(shape, operands, *stream_), IsOk());
    EXPECT_THAT(gemm_->Multiply(shape, operands, *stream_), IsOk());
  }

  EXPECT_EQ(gemm_->plans(), 1);
  EXPECT_EQ(simt::Count().heuristics, 1);
  EXPECT_EQ(simt::Count().blind_products, 0);
  EXPECT_THAT(gemm_->Prepare({.rows = 17, .outputs = 8, .inputs = 8}), IsOk());
  EXPECT_THAT(gemm_->Prepare({.rows = 16, .outputs = 16, .inputs = 8}), IsOk());
  EXPECT_THAT(gemm_->Prepare({.rows = 16, .outputs = 8, .inputs = 16}), IsOk());
  EXPECT_EQ(gemm_->plans(), 4);
}

TEST_F(GemmTest, NeitherWaitsNorAllocatesWhenItMultiplies) {
  const GemmShape shape = {.rows = 4, .outputs = 8, .inputs = 8};
  const GemmOperands operands = MakeOperands(shape);
  ASSERT_THAT(gemm_->Prepare(shape), IsOk());
  const simt::Counters before = simt::Count();

  ASSERT_THAT(gemm_->Multiply(shape, operands, *stream_), IsOk());

  const simt::Counters after = simt::Count();
  EXPECT_EQ(after.launches, before.launches + 1);
  EXPECT_EQ(after.allocations, before.allocations);
  EXPECT_EQ(after.synchronizations, before.synchronizations);
  EXPECT_EQ(after.polls, before.polls);
}

TEST_F(GemmTest, NeedsAPlan) {
  const GemmShape shape = {.rows = 4, .outputs = 8, .inputs = 8};

  EXPECT_THAT(gemm_->Multiply(shape, MakeOperands(shape), *stream_),
              StatusIs(absl::StatusCode::kInternal, "no plan"));
}

TEST_F(GemmTest, RejectsRowsThatAreNotAligned) {
  EXPECT_THAT(gemm_->Prepare({.rows = 4, .outputs = 8, .inputs = 12}),
              StatusIs(absl::StatusCode::kInvalidArgument, "rows of 24 and 16 bytes"));
  EXPECT_THAT(gemm_->Prepare({.rows = 4, .outputs = 4, .inputs = 8}),
              StatusIs(absl::StatusCode::kInvalidArgument, "expected multiples of 16"));
  EXPECT_EQ(gemm_->plans(), 0);
}

TEST_F(GemmTest, RejectsTypesThatDoNotGoTogether) {
  EXPECT_THAT(gemm_->Prepare({.rows = 4,
                              .outputs = 8,
                              .inputs = 8,
                              .operand_type = CUDA_R_16BF,
                              .result_type = CUDA_R_16F}),
              StatusIs(absl::StatusCode::kInvalidArgument, "no algorithm"));
}

TEST_F(GemmTest, RunsTheFirstAlgorithmUntilTuned) {
  const GemmShape shape = {.rows = 8, .outputs = 8, .inputs = 8};
  const GemmOperands operands = MakeOperands(shape);
  ASSERT_THAT(gemm_->Prepare(shape), IsOk());
  ASSERT_THAT(gemm_->Multiply(shape, operands, *stream_), IsOk());
  EXPECT_EQ(simt::Count().products_by_algorithm, (std::array<std::int64_t, 3>{1, 0, 0}));

  ASSERT_THAT(gemm_->Tune(shape, operands, *stream_), IsOk());
  const auto tuned = simt::Count().products_by_algorithm;
  ASSERT_THAT(gemm_->Multiply(shape, operands, *stream_), IsOk());

  auto expected = tuned;
  ++expected[1];
  EXPECT_EQ(simt::Count().products_by_algorithm, expected) << "the fastest of the pretended";
  EXPECT_EQ(gemm_->plans(), 1);
}

TEST_F(GemmTest, BeginsWithWhatWasTuned) {
  const GemmShape shape = {.rows = 8, .outputs = 8, .inputs = 8};
  const GemmOperands operands = MakeOperands(shape);
  const absl::StatusOr<cublasLtMatmulAlgo_t> fastest = gemm_->Tune(shape, operands, *stream_);
  ASSERT_THAT(fastest, IsOk());
  const auto tuning = std::make_shared<const GemmTuning>(GemmTuning{{shape, *fastest}});

  MemoryBudget more(std::int64_t{32} << 20);
  absl::StatusOr<Gemm> other = Gemm::Create(simt::PretendBlas(), more);
  ASSERT_THAT(other, IsOk());
  other->BeginWith(tuning);
  auto expected = simt::Count().products_by_algorithm;
  ASSERT_THAT(other->Prepare(shape), IsOk());
  ASSERT_THAT(other->Multiply(shape, operands, *stream_), IsOk());

  ++expected[1];
  EXPECT_EQ(simt::Count().products_by_algorithm, expected);
}

TEST_F(GemmTest, ChoosesWhatTheLibraryOffersAlone) {
  const GemmShape shape = {.rows = 8, .outputs = 8, .inputs = 8};
  const GemmOperands operands = MakeOperands(shape);
  const absl::StatusOr<cublasLtMatmulAlgo_t> fastest = gemm_->Tune(shape, operands, *stream_);
  ASSERT_THAT(fastest, IsOk());
  cublasLtMatmulAlgo_t other = *fastest;
  ++other.data[7];

  EXPECT_TRUE(gemm_->Choose(shape, *fastest));
  EXPECT_FALSE(gemm_->Choose(shape, other));
  EXPECT_FALSE(gemm_->Choose({.rows = 1, .outputs = 8, .inputs = 8}, *fastest)) << "no plan";
}

TEST_F(GemmTest, KeepsItsAlgorithmWhenTuningFails) {
  const GemmShape shape = {.rows = 8, .outputs = 8, .inputs = 8};
  const GemmOperands operands = MakeOperands(shape);
  ASSERT_THAT(gemm_->Prepare(shape), IsOk());
  simt::Inject({.call = simt::Call::kLaunch, .nth = 15, .error = cudaErrorInvalidConfiguration});
  ASSERT_FALSE(gemm_->Tune(shape, operands, *stream_).ok()) << "behind the fastest";
  auto expected = simt::Count().products_by_algorithm;

  ASSERT_THAT(gemm_->Multiply(shape, operands, *stream_), IsOk());

  ++expected[0];
  EXPECT_EQ(simt::Count().products_by_algorithm, expected);
}

TEST_F(GemmTest, TunesUnderEveryPace) {
  for (const simt::Pace pace : {simt::Pace::kLazy, simt::Pace::kEager}) {
    StartAnew({.pace = pace});
    const GemmShape shape = {.rows = 8, .outputs = 8, .inputs = 8};
    const GemmOperands operands = MakeOperands(shape);
    ASSERT_THAT(gemm_->Tune(shape, operands, *stream_), IsOk());
    const std::int64_t before = simt::Count().products_by_algorithm[1];

    ASSERT_THAT(gemm_->Multiply(shape, operands, *stream_), IsOk());

    EXPECT_EQ(simt::Count().products_by_algorithm[1], before + 1);
  }
}

TEST_F(GemmTest, FallsBackWhereTheAlgorithmDoesNotTakeTheRows) {
  const GemmShape bucket = {.rows = 16, .outputs = 8, .inputs = 8};
  GemmShape shape = bucket;
  shape.rows = 13;
  const GemmOperands operands = MakeOperands(bucket);
  ASSERT_THAT(gemm_->Tune(bucket, operands, *stream_), IsOk());
  const auto tuned = simt::Count().products_by_algorithm;

  ASSERT_THAT(gemm_->Multiply(shape, operands, *stream_), IsOk());
  ASSERT_THAT(gemm_->Multiply(shape, operands, *stream_), IsOk());
  const std::int64_t checks = simt::Count().algorithm_checks;
  ASSERT_THAT(gemm_->Multiply(bucket, operands, *stream_), IsOk());

  auto expected = tuned;
  expected[0] += 2;
  ++expected[1];
  EXPECT_EQ(simt::Count().products_by_algorithm, expected);
  EXPECT_EQ(simt::Count().algorithm_checks, checks) << "none for the rows of the bucket";
  EXPECT_EQ(checks, 2) << "once for each algorithm tried";
}

TEST_F(GemmTest, MayBeRecordedInAGraph) {
  const GemmShape shape = {.rows = 1, .outputs = 8, .inputs = 8, .epilogue = GemmEpilogue::kBias};
  GemmOperands operands = MakeOperands(shape);
  operands.bias = Upload(std::vector<__nv_bfloat16>(8, __float2bfloat16(1)));
  operands.result = GemmResult::kAdd;
  ASSERT_THAT(gemm_->Prepare(shape), IsOk());

  const absl::StatusOr<Graph> graph =
      Graph::Capture(*stream_, [&] { return gemm_->Multiply(shape, operands, *stream_); });
  ASSERT_THAT(graph, IsOk());
  for (int i = 0; i < 3; ++i) ASSERT_THAT(graph->Launch(*stream_), IsOk());
  ASSERT_THAT(stream_->Synchronize(), IsOk());

  EXPECT_EQ(__bfloat162float(static_cast<const __nv_bfloat16*>(operands.y)[0]), 3.0F);
}

TEST_F(GemmTest, ReportsAFailedLaunch) {
  const GemmShape shape = {.rows = 4, .outputs = 8, .inputs = 8};
  const GemmOperands operands = MakeOperands(shape);
  ASSERT_THAT(gemm_->Prepare(shape), IsOk());
  simt::Inject({.call = simt::Call::kLaunch, .error = cudaErrorLaunchOutOfResources});

  EXPECT_THAT(gemm_->Multiply(shape, operands, *stream_),
              StatusIs(absl::StatusCode::kResourceExhausted, "multiplying"));

  EXPECT_THAT(gemm_->Multiply(shape, operands, *stream_), IsOk());
}

// Whichever call of CUDA fails, tuning says so, nothing leaks, and the next attempt succeeds.
TEST_F(GemmTest, SurvivesAFailureOfAnyCallWhileItTunes) {
  const GemmShape shape = {.rows = 8, .outputs = 8, .inputs = 8};
  const GemmOperands operands = MakeOperands(shape);
  int failures = 0;
  for (;; ++failures) {
    simt::Inject({.nth = failures + 1, .error = cudaErrorInvalidConfiguration});
    const absl::Status status = gemm_->Tune(shape, operands, *stream_).status();
    EXPECT_EQ(simt::Count().live_events, 0);
    if (simt::HasPendingFaults()) {
      EXPECT_THAT(status, IsOk());
      break;
    }
    EXPECT_THAT(status, StatusIs(absl::StatusCode::kInternal, "cudaErrorInvalidConfiguration"));
    EXPECT_EQ(cudaGetLastError(), cudaSuccess);
  }

  EXPECT_EQ(failures, 3 * 12) << "of each algorithm 2 events, 6 runs, 2 records, a wait, a time";
}

TEST_F(GemmTest, FaultsOutsideOfDeviceMemory) {
  const GemmShape shape = {.rows = 4, .outputs = 8, .inputs = 8};
  GemmOperands operands = MakeOperands(shape);
  operands.x = MakeOperands({.rows = 3, .outputs = 8, .inputs = 8}).x;
  ASSERT_THAT(gemm_->Prepare(shape), IsOk());

  ASSERT_THAT(gemm_->Multiply(shape, operands, *stream_), IsOk());

  EXPECT_THAT(stream_->Synchronize(),
              StatusIs(absl::StatusCode::kUnavailable, "cudaErrorIllegalAddress"));
}

TEST(Gemm, NeedsADevice) {
  MemoryBudget budget(std::int64_t{64} << 20);
  simt::Reset({.driver = simt::Driver::kMissing});
  EXPECT_THAT(Gemm::Create(simt::PretendBlas(), budget),
              StatusIs(absl::StatusCode::kFailedPrecondition, "no NVIDIA driver"));

  simt::Reset({.memory_bytes = 1 << 20});
  EXPECT_THAT(Gemm::Create(simt::PretendBlas(), budget),
              StatusIs(absl::StatusCode::kResourceExhausted));
  EXPECT_EQ(budget.free_bytes(), budget.bytes());

  simt::Reset();
  simt::Inject({.call = simt::Call::kOther, .error = cudaErrorUnknown});
  EXPECT_THAT(Gemm::Create(simt::PretendBlas(), budget),
              StatusIs(absl::StatusCode::kFailedPrecondition, "starting cuBLASLt"));
  EXPECT_EQ(simt::Count().live_allocations, 0);
  simt::Reset();
}

TEST(RowBucket, HoldsItsRowsAndIsItsOwnBucket) {
  std::int64_t last = 0;
  int buckets = 0;
  for (std::int64_t rows = 1; rows <= 8192; ++rows) {
    const std::int64_t bucket = RowBucket(rows);
    ASSERT_GE(bucket, rows);
    ASSERT_GE(bucket, last);
    ASSERT_EQ(RowBucket(bucket), bucket);
    ASSERT_LE(bucket, 2 * rows) << "not too much larger";
    buckets += bucket != last ? 1 : 0;
    last = bucket;
  }

  EXPECT_EQ(buckets, 63);
}

}  // namespace
}  // namespace codegen::cuda
