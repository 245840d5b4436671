// SPDX-License-Identifier: Apache-2.0
#include "cuda/gemm.h"

#include <fmt/format.h>

#include <limits>

#include "base/check.h"
#include "cuda/event.h"

namespace codegen::cuda {
namespace {

// What NVIDIA advises for Hopper, and enough for its split products.
constexpr std::int64_t kWorkspaceBytes = std::int64_t{32} << 20;

// Measured runs of one algorithm, behind one that warms the caches up.
constexpr int kTimedRuns = 5;

std::int64_t RoundUp(std::int64_t value, std::int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

GemmShape BucketOf(const GemmShape& shape) {
  GemmShape bucket = shape;
  bucket.rows = RowBucket(shape.rows);
  return bucket;
}

absl::StatusOr<BlasHandle> Start(const BlasFunctions& blas) {
  cublasLtHandle_t handle = nullptr;
  CODEGEN_RETURN_IF_ERROR(CheckBlas(blas, blas.Create(&handle), "starting cuBLASLt"));
  return BlasHandle(handle, blas.Destroy);
}

}  // namespace

std::int64_t RowBucket(std::int64_t rows) {
  CODEGEN_DCHECK(rows >= 1);
  if (rows <= 2) return rows;
  if (rows <= 4) return 4;
  if (rows <= 64) return RoundUp(rows, 8);
  if (rows <= 512) return RoundUp(rows, 16);
  if (rows <= 2048) return RoundUp(rows, 128);
  return RoundUp(rows, 512);
}

absl::Status CheckUsable(const BlasFunctions& blas) { return Start(blas).status(); }

absl::StatusOr<Gemm> Gemm::Create(const BlasFunctions& blas, MemoryBudget& budget) {
  CODEGEN_ASSIGN_OR_RETURN(DeviceBuffer workspace, DeviceBuffer::Create(budget, kWorkspaceBytes));
  CODEGEN_ASSIGN_OR_RETURN(BlasHandle handle, Start(blas));
  return Gemm(blas, std::move(handle), std::move(workspace));
}

absl::Status Gemm::Prepare(const GemmShape& shape) {
  const GemmShape bucket = BucketOf(shape);
  if (plans_.contains(bucket)) return absl::OkStatus();
  CODEGEN_ASSIGN_OR_RETURN(
      std::unique_ptr<GemmPlan> plan,
      GemmPlan::Create(blas_, handle_.get(), bucket, static_cast<std::size_t>(workspace_.bytes())));
  if (const auto tuned = tuning_->find(bucket); tuned != tuning_->end())
    plan->ChooseLike(tuned->second);
  plans_.emplace(bucket, std::move(plan));
  return absl::OkStatus();
}

bool Gemm::Choose(const GemmShape& shape, const cublasLtMatmulAlgo_t& algorithm) {
  const absl::StatusOr<GemmPlan*> plan = FindPlan(shape);
  return plan.ok() && (*plan)->ChooseLike(algorithm);
}

absl::Status Gemm::Multiply(const GemmShape& shape, const GemmOperands& operands,
                            const Stream& stream) {
  CODEGEN_ASSIGN_OR_RETURN(GemmPlan* const plan, FindPlan(shape));
  CODEGEN_RETURN_IF_ERROR(plan->SetRows(shape.rows));
  return Run(*plan, operands, plan->algorithm(), stream);
}

absl::StatusOr<cublasLtMatmulAlgo_t> Gemm::Tune(const GemmShape& shape,
                                                const GemmOperands& operands,
                                                const Stream& stream) {
  CODEGEN_RETURN_IF_ERROR(Prepare(shape));
  CODEGEN_ASSIGN_OR_RETURN(GemmPlan* const plan, FindPlan(shape));
  CODEGEN_RETURN_IF_ERROR(plan->SetRows(shape.rows));
  double best = std::numeric_limits<double>::infinity();
  std::size_t fastest = 0;
  for (std::size_t i = 0; i < plan->algorithms().size(); ++i) {
    const cublasLtMatmulAlgo_t& algorithm = plan->algorithms()[i];
    if (!plan->Takes(algorithm)) continue;
    CODEGEN_ASSIGN_OR_RETURN(const double seconds, Time(*plan, operands, algorithm, stream));
    if (seconds >= best) continue;
    best = seconds;
    fastest = i;
  }
  plan->Choose(fastest);
  return plan->algorithms()[fastest];
}

absl::StatusOr<double> Gemm::Time(GemmPlan& plan, const GemmOperands& operands,
                                  const cublasLtMatmulAlgo_t& algorithm,
                                  const Stream& stream) const {
  CODEGEN_ASSIGN_OR_RETURN(const Event begin, Event::Create(EventUse::kTiming));
  CODEGEN_ASSIGN_OR_RETURN(const Event end, Event::Create(EventUse::kTiming));
  CODEGEN_RETURN_IF_ERROR(Run(plan, operands, &algorithm, stream));
  CODEGEN_RETURN_IF_ERROR(begin.Record(stream));
  for (int run = 0; run < kTimedRuns; ++run)
    CODEGEN_RETURN_IF_ERROR(Run(plan, operands, &algorithm, stream));
  CODEGEN_RETURN_IF_ERROR(end.Record(stream));
  CODEGEN_RETURN_IF_ERROR(end.Synchronize());
  CODEGEN_ASSIGN_OR_RETURN(const auto elapsed, ElapsedBetween(begin, end));
  return elapsed.count();
}

absl::StatusOr<GemmPlan*> Gemm::FindPlan(const GemmShape& shape) const {
  const auto found = plans_.find(BucketOf(shape));
  if (found != plans_.end()) return found->second.get();
  return absl::InternalError(
      fmt::format("no plan for a product of {} rows, {} inputs and {} outputs", shape.rows,
                  shape.inputs, shape.outputs));
}

absl::Status Gemm::Run(GemmPlan& plan, const GemmOperands& operands,
                       const cublasLtMatmulAlgo_t* algorithm, const Stream& stream) const {
  if (plan.has_bias()) CODEGEN_RETURN_IF_ERROR(plan.SetBias(operands.bias));
  const float one = 1;
  const float kept = operands.result == GemmResult::kAdd ? 1 : 0;
  return CheckBlas(
      blas_,
      blas_.Matmul(handle_.get(), plan.product(), &one, operands.w, plan.w(), operands.x, plan.x(),
                   &kept, operands.y, plan.y(), operands.y, plan.y(), algorithm, workspace_.data(),
                   static_cast<std::size_t>(workspace_.bytes()), stream.get()),
      "multiplying");
}

}  // namespace codegen::cuda
