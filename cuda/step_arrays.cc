// SPDX-License-Identifier: Apache-2.0
#include "cuda/step_arrays.h"

#include <cuda_runtime_api.h>
#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"
#include "codegen/options.h"
#include "cuda/check.h"
#include "cuda/gemm.h"

namespace codegen::cuda {
namespace {

constexpr std::size_t kAlignment = 256;

std::int64_t PagesOfContext(const backend::StepLimits& limits) {
  return (limits.context + backend::kPageTokens - 1) / backend::kPageTokens;
}

// Where the arrays lie in a block that begins at `base`, or how long it is.
StepPointers LayOut(std::byte* base, const backend::StepLimits& limits) {
  std::size_t used = 0;
  const auto take = [&]<class T>(T*& pointer, std::int64_t count) {
    if (base != nullptr) pointer = reinterpret_cast<T*>(base + used);
    const std::size_t bytes = static_cast<std::size_t>(count) * sizeof(T);
    used += (bytes + kAlignment - 1) / kAlignment * kAlignment;
  };
  const std::int64_t rows = StepArrays::Capacity(limits.rows);
  const std::int64_t logit_rows = StepArrays::Capacity(limits.logit_rows);
  StepPointers p = {};
  for (std::int32_t** count : {&p.rows, &p.logit_row_count, &p.decode_count, &p.prefill_count})
    take(*count, 1);
  for (std::int32_t** of_rows : {&p.tokens, &p.positions, &p.slots}) take(*of_rows, rows);
  take(p.logit_rows, logit_rows);
  take(p.decode, rows);
  take(p.prefill, rows);
  take(p.sampling, logit_rows);
  take(p.pages, rows * PagesOfContext(limits));
  take(p.changes, logit_rows * StepArrays::ChangesPerRow(limits));
  p.bytes = used;
  return p;
}

}  // namespace

std::int64_t StepArrays::ChangesPerRow(const backend::StepLimits& limits) {
  return limits.context + Limits::logit_biases;
}

std::int64_t StepArrays::Capacity(std::int64_t rows) { return rows == 0 ? 0 : RowBucket(rows); }

StepArrays::StepArrays(const backend::StepLimits& limits, bool one_attention, PinnedBuffer host,
                       DeviceBuffer device)
    : limits_(limits),
      one_attention_(one_attention),
      host_(std::move(host)),
      device_(std::move(device)),
      host_pointers_(LayOut(host_.data(), limits)),
      device_pointers_(LayOut(device_.data(), limits)) {
  std::fill_n(host_.data(), host_.bytes(), std::byte{0});
}

absl::StatusOr<StepArrays> StepArrays::Create(const backend::StepLimits& limits, bool one_attention,
                                              MemoryBudget& budget) {
  const auto bytes = static_cast<std::int64_t>(LayOut(nullptr, limits).bytes);
  CODEGEN_ASSIGN_OR_RETURN(PinnedBuffer host, PinnedBuffer::Create(bytes));
  CODEGEN_ASSIGN_OR_RETURN(DeviceBuffer device, DeviceBuffer::Create(budget, bytes));
  return StepArrays(limits, one_attention, std::move(host), std::move(device));
}

absl::Status StepArrays::SetRows(const backend::Rows& rows) {
  const std::int64_t pages = Capacity(limits_.rows) * PagesOfContext(limits_);
  const bool fits =
      rows.size() <= limits_.rows && static_cast<std::int64_t>(rows.pages.size()) <= pages &&
      std::ranges::all_of(rows.positions, [&](std::int32_t p) { return p < limits_.context; });
  if (!fits) {
    return absl::InternalError(
        fmt::format("step of {} rows, {} pages; made for {} and {}, of positions below {}",
                    rows.size(), rows.pages.size(), limits_.rows, pages, limits_.context));
  }
  const StepPointers& host = host_pointers_;
  std::ranges::copy(rows.positions, host.positions);
  std::ranges::copy(rows.pages, host.pages);
  pages_ = rows.pages.size();
  shape_.decode_groups = 0;
  shape_.prefill_groups = 0;
  shape_.all_decode = true;
  const auto set_slots = [&](const RowGroup& group) {
    for (std::int32_t row = group.row; row < group.row + group.rows; ++row)
      host.slots[row] = CacheSlot(group, host.pages, row);
  };
  ForEachRowGroup(
      rows,
      [&](const RowGroup& group) {
        host.decode[shape_.decode_groups++] = group;
        set_slots(group);
      },
      [&](const RowGroup& group) {
        host.prefill[shape_.prefill_groups++] = group;
        shape_.all_decode &= group.rows <= kDecodeRows;
        set_slots(group);
      },
      one_attention_ ? 0 : kDecodeRows);
  *host.decode_count = shape_.decode_groups;
  *host.prefill_count = shape_.prefill_groups;
  return absl::OkStatus();
}

void StepArrays::SetTokens(std::span<const TokenId> tokens) {
  CODEGEN_DCHECK(static_cast<std::int64_t>(tokens.size()) <= Capacity(limits_.rows));
  std::ranges::copy(tokens, host_pointers_.tokens);
}

void StepArrays::SetLogitRows(std::span<const std::int32_t> logit_rows) {
  CODEGEN_DCHECK(static_cast<std::int64_t>(logit_rows.size()) <= Capacity(limits_.logit_rows));
  std::ranges::copy(logit_rows, host_pointers_.logit_rows);
}

void StepArrays::SetSampling(std::span<const backend::Sampling> sampling) {
  CODEGEN_DCHECK(static_cast<std::int64_t>(sampling.size()) <= Capacity(limits_.logit_rows));
  changes_ = 0;
  for (std::size_t i = 0; i < sampling.size(); ++i) {
    const std::span<const backend::LogitChange> changes = sampling[i].changes;
    CODEGEN_DCHECK(static_cast<std::int64_t>(changes.size()) <= ChangesPerRow(limits_));
    std::ranges::copy(changes, host_pointers_.changes + changes_);
    host_pointers_.sampling[i] = sampling[i];
    host_pointers_.sampling[i].changes = {device_pointers_.changes + changes_, changes.size()};
    changes_ += changes.size();
  }
}

void StepArrays::SetCount(RowCount count, std::int64_t rows) {
  const auto number = static_cast<std::int32_t>(rows);
  if (count == RowCount::kRows) {
    *host_pointers_.rows = number;
    shape_.rows = number;
  } else {
    *host_pointers_.logit_row_count = number;
    shape_.logit_rows = number;
  }
}

absl::Status StepArrays::CopyIn(const Stream& stream) const {
  const auto* const end = reinterpret_cast<const std::byte*>(host_pointers_.pages + pages_);
  CODEGEN_RETURN_IF_ERROR(Check(
      cudaMemcpyAsync(device_.data(), host_.data(), static_cast<std::size_t>(end - host_.data()),
                      cudaMemcpyHostToDevice, stream.get()),
      "copying the arrays of a step to the GPU"));
  if (changes_ == 0) return absl::OkStatus();
  return Check(cudaMemcpyAsync(device_pointers_.changes, host_pointers_.changes,
                               changes_ * sizeof(backend::LogitChange), cudaMemcpyHostToDevice,
                               stream.get()),
               "copying penalties and biases to the GPU");
}

}  // namespace codegen::cuda
