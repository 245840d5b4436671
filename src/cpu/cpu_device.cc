// SPDX-License-Identifier: Apache-2.0
#include "cpu/cpu_device.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/first_failure.h"
#include "cpu/isa.h"
#include "cpu/pack.h"

namespace codegen::cpu {
namespace {

using base::AlignedBuffer;

constexpr std::int64_t kFloatBytes = sizeof(float);

// a b, or -1 (which AlignedBuffer refuses) if that overflows.
std::int64_t Product(std::int64_t a, std::int64_t b) {
  std::int64_t product = 0;
  return a < 0 || b < 0 || __builtin_mul_overflow(a, b, &product) ? -1 : product;
}

// [rows, stride] floats.
absl::StatusOr<AlignedBuffer> MakeFloats(std::int64_t rows, std::int64_t stride) {
  return AlignedBuffer::Make(Product(Product(rows, stride), kFloatBytes));
}

// A vector of zeros padded to whole lines.
absl::StatusOr<AlignedBuffer> MakePadded(std::int64_t columns) {
  return MakeFloats(1, RoundUpToLine(columns));
}

// A narrowed row: bf16 or int8 elements padded to 64 of them, then the sums of its groups, its
// scale and its total; an odd number of lines, as for the rows themselves.
std::int64_t NarrowElementBytes(std::int64_t columns) { return (columns + 63) / 64 * 128; }
std::int64_t NarrowRowBytes(std::int64_t columns) {
  const std::int64_t sums = (quant::Int4Groups(columns) + 2) * kFloatBytes;
  return ((NarrowElementBytes(columns) + sums + 63) / 64 | 1) * 64;
}

// Rows that one task reads: few enough to stay in L2 until they are packed, and enough that neither
// calls into the system count nor threads that meet in a fresh huge page, which both zero it. At 16
// rows the zeroing took twice the time; from 64 KiB to 1 MiB there is no difference to be seen.
std::int64_t RowsOfTask(std::int64_t rows, std::int64_t row_bytes, std::int64_t threads) {
  constexpr std::int64_t kTaskBytes = std::int64_t{256} << 10;
  const std::int64_t share = (rows + 4 * threads - 1) / (4 * threads);
  return std::max<std::int64_t>(1, std::min(kTaskBytes / row_bytes, share) / kLine) * kLine;
}

// Reads as many rows as `rows` says, from `first` on.
absl::Status ReadInto(const backend::MatrixSource& source, std::int64_t first,
                      const WeightRows& rows, std::byte* out) {
  const auto elements = static_cast<std::size_t>(rows.count * rows.columns);
  if (rows.stored == WeightFormat::kF32)
    return source.read(first, rows.count, {reinterpret_cast<float*>(out), elements});
  return source.read_stored(first, rows.count, {reinterpret_cast<std::uint16_t*>(out), elements});
}

// The panel of rows [first, first + 16) of `rows`.
WeightRows PanelOf(const WeightRows& rows, std::int64_t first) {
  const std::int64_t element_bytes = rows.stored == WeightFormat::kF32 ? 4 : 2;
  WeightRows panel = rows;
  panel.data = static_cast<const std::byte*>(rows.data) + first * rows.columns * element_bytes;
  panel.count = std::min(kLine, rows.count - first);
  return panel;
}

}  // namespace

void Tensor::SetRows(std::int64_t rows) {
  CODEGEN_DCHECK(rows >= 0 && rows <= capacity_);
  rows_ = rows;
}

NarrowRow Tensor::narrow(std::int64_t t) const {
  std::byte* const row = narrow_.data() + t * narrow_stride_;
  std::byte* const sums = row + NarrowElementBytes(columns_);
  auto* const group_sums = reinterpret_cast<float*>(sums);
  float* const scale = group_sums + quant::Int4Groups(columns_);
  return {.elements = row,
          .group_sums = group_sums,
          .scale = scale,
          .total = reinterpret_cast<std::int32_t*>(scale + 1)};
}

CpuDevice::CpuDevice(base::ThreadPool& pool, const CpuOptions& options)
    : pool_(pool),
      precision_(options.precision),
      kv_(options.kv),
      kernels_(KernelsOf(options.level == CpuFeatures::kAuto ? BestLevel() : options.level)) {}

const LinearKernel& CpuDevice::KernelFor(WeightFormat format) const {
  const bool fast = precision_ == ComputePrecision::kFast;
  switch (format) {
    case WeightFormat::kAuto:
    case WeightFormat::kF32:
      return kernels_.linear_f32;
    case WeightFormat::kF16:
      return kernels_.linear_f16;
    case WeightFormat::kBf16:
      return fast ? kernels_.linear_bf16_fast : kernels_.linear_bf16;
    case WeightFormat::kInt8:
      return fast ? kernels_.linear_int8_fast : kernels_.linear_int8;
    case WeightFormat::kInt4:
      return fast ? kernels_.linear_int4_fast : kernels_.linear_int4;
  }
  return kernels_.linear_f32;
}

const KvKernels& CpuDevice::KernelsForKv() const {
  if (kv_ == KvFormat::kF32) return kernels_.kv_f32;
  return precision_ == ComputePrecision::kFast ? kernels_.kv_bf16_fast : kernels_.kv_bf16;
}

absl::StatusOr<Tensor> CpuDevice::MakeTensor(std::int64_t capacity, std::int64_t columns,
                                             backend::Holds) {
  CODEGEN_DCHECK(capacity >= 0 && columns >= 0);
  Tensor tensor;
  tensor.stride_ = (RoundUpToLine(columns) / kLine | 1) * kLine;
  // One line more: SwiGlu reads the second half of the last row in whole lines.
  const std::int64_t floats = Product(capacity, tensor.stride_);
  CODEGEN_ASSIGN_OR_RETURN(tensor.buffer_, MakeFloats(1, floats < 0 ? floats : floats + kLine));
  tensor.narrow_stride_ = NarrowRowBytes(columns);
  CODEGEN_ASSIGN_OR_RETURN(tensor.narrow_,
                           AlignedBuffer::Make(Product(capacity, tensor.narrow_stride_)));
  tensor.capacity_ = capacity;
  tensor.rows_ = capacity;
  tensor.columns_ = columns;
  return tensor;
}

absl::StatusOr<AlignedBuffer> CpuDevice::TakeScratch(std::int64_t bytes) {
  {
    const std::lock_guard lock(mutex_);
    if (bytes >= 0 && scratch_.size() >= bytes) return std::move(scratch_);
  }
  return AlignedBuffer::Make(bytes);
}

void CpuDevice::ReturnScratch(AlignedBuffer scratch) {
  const std::lock_guard lock(mutex_);
  if (scratch.size() > scratch_.size()) scratch_ = std::move(scratch);
}

absl::Status CpuDevice::ForEachBlock(
    const backend::MatrixSource& source, WeightFormat format,
    absl::FunctionRef<void(std::int64_t first, const WeightRows& rows)> take) {
  const bool as_stored = source.read_stored && format != WeightFormat::kF32;
  const std::int64_t row_bytes = Product(source.columns, as_stored ? 2 : kFloatBytes);
  const std::int64_t task_rows = RowsOfTask(source.rows, row_bytes, pool_.threads());
  const std::int64_t task_bytes = Product(task_rows, row_bytes);
  CODEGEN_ASSIGN_OR_RETURN(AlignedBuffer scratch,
                           TakeScratch(Product(pool_.threads(), task_bytes)));
  base::FirstFailure failure;
  const std::int64_t tasks = (source.rows + task_rows - 1) / task_rows;
  pool_.ParallelForWorkers(tasks, [&](std::int64_t task, int worker) {
    const std::int64_t first = task * task_rows;
    const WeightRows rows{.data = scratch.data() + worker * task_bytes,
                          .stored = as_stored ? source.stored : WeightFormat::kF32,
                          .count = std::min(task_rows, source.rows - first),
                          .columns = source.columns};
    absl::Status status = ReadInto(source, first, rows, scratch.data() + worker * task_bytes);
    if (status.ok()) take(first, rows);
    failure.Report(first, std::move(status));
  });
  ReturnScratch(std::move(scratch));
  return failure.Take();
}

absl::StatusOr<Weight> CpuDevice::MakeWeight(const backend::MatrixSource& source,
                                             std::span<const float> bias, WeightFormat format) {
  CODEGEN_DCHECK(format != WeightFormat::kAuto && source.rows > 0 && source.columns > 0);
  CODEGEN_DCHECK(bias.empty() || static_cast<std::int64_t>(bias.size()) == source.rows);
  Weight weight;
  CODEGEN_RETURN_IF_ERROR(
      Allocate({.rows = source.rows, .columns = source.columns, .format = format}, weight));
  std::ranges::copy(bias, weight.bias.as<float>().begin());
  CODEGEN_RETURN_IF_ERROR(
      ForEachBlock(source, format, [&](std::int64_t first, const WeightRows& rows) {
        for (std::int64_t i = 0; i < rows.count; i += kLine)
          kernels_.pack_panel(PanelOf(rows, i), format,
                              weight.panels.data() + (first + i) / kLine * weight.panel_bytes,
                              weight.scales.as<float>().data() + first + i);
      }));
  return weight;
}

absl::StatusOr<Weight> CpuDevice::MakeWeight(const quant::Int4Source& source,
                                             std::span<const float> bias) {
  CODEGEN_DCHECK(source.rows > 0 && source.columns > 0);
  CODEGEN_DCHECK(bias.empty() || static_cast<std::int64_t>(bias.size()) == source.rows);
  Weight weight;
  CODEGEN_RETURN_IF_ERROR(Allocate(
      {.rows = source.rows, .columns = source.columns, .format = WeightFormat::kInt4}, weight));
  std::ranges::copy(bias, weight.bias.as<float>().begin());
  base::FirstFailure failure;
  pool_.ParallelFor((source.rows + kLine - 1) / kLine, [&](std::int64_t panel) {
    const std::int64_t first = panel * kLine;
    const std::int64_t count = std::min<std::int64_t>(kLine, source.rows - first);
    std::vector<std::uint8_t> codes(static_cast<std::size_t>(count * source.columns));
    std::vector<quant::Int4Scale> scales(
        static_cast<std::size_t>(count * quant::Int4Groups(source.columns)));
    absl::Status status = source.read(first, count, codes, scales);
    if (status.ok()) {
      PackInt4Panel(codes, scales, source.columns,
                    weight.panels.data() + panel * weight.panel_bytes);
    }
    failure.Report(first, std::move(status));
  });
  CODEGEN_RETURN_IF_ERROR(failure.Take());
  return weight;
}

absl::StatusOr<Embedding> CpuDevice::MakeEmbedding(const backend::MatrixSource& source,
                                                   WeightFormat format) {
  CODEGEN_DCHECK(format != WeightFormat::kAuto && source.rows > 0 && source.columns > 0);
  Embedding embedding;
  CODEGEN_RETURN_IF_ERROR(
      Allocate({.rows = source.rows, .columns = source.columns, .format = format}, embedding));
  CODEGEN_RETURN_IF_ERROR(
      ForEachBlock(source, format, [&](std::int64_t first, const WeightRows& rows) {
        kernels_.pack_embedding(rows, format,
                                embedding.elements.data() + first * embedding.row_bytes,
                                embedding.scales.as<float>().data() + first);
      }));
  return embedding;
}

absl::StatusOr<Norm> CpuDevice::MakeNorm(std::span<const float> gain, std::span<const float> bias,
                                         float epsilon) {
  Norm norm;
  CODEGEN_RETURN_IF_ERROR(
      Allocate({.columns = static_cast<std::int64_t>(gain.size()), .epsilon = epsilon}, norm));
  std::ranges::copy(gain, norm.gain.as<float>().begin());
  std::ranges::copy(bias, norm.bias.as<float>().begin());
  return norm;
}

absl::Status CpuDevice::Allocate(const backend::Outline& outline, Weight& weight) {
  constexpr std::int64_t kGroup = kPanelGroup * kLine;
  const std::int64_t panels = (outline.rows + kGroup - 1) / kGroup * kPanelGroup;
  weight.format = outline.format;
  weight.outputs = outline.rows;
  weight.inputs = outline.columns;
  weight.panel_bytes = PanelBytes(outline.format, outline.columns);
  CODEGEN_ASSIGN_OR_RETURN(weight.panels, arena_.Make(Product(panels, weight.panel_bytes)));
  CODEGEN_ASSIGN_OR_RETURN(weight.scales, MakePadded(panels * kLine));
  CODEGEN_ASSIGN_OR_RETURN(weight.bias, MakePadded(outline.rows));
  return absl::OkStatus();
}

absl::Status CpuDevice::Allocate(const backend::Outline& outline, Embedding& embedding) {
  embedding.format = EmbeddingFormat(outline.format);
  embedding.rows = outline.rows;
  embedding.columns = outline.columns;
  embedding.row_bytes = EmbeddingRowBytes(outline.format, outline.columns);
  CODEGEN_ASSIGN_OR_RETURN(embedding.elements,
                           arena_.Make(Product(outline.rows, embedding.row_bytes)));
  CODEGEN_ASSIGN_OR_RETURN(embedding.scales, MakePadded(outline.rows));
  return absl::OkStatus();
}

absl::Status CpuDevice::Allocate(const backend::Outline& outline, Norm& norm) {
  norm.columns = outline.columns;
  norm.epsilon = outline.epsilon;
  CODEGEN_ASSIGN_OR_RETURN(norm.gain, MakePadded(outline.columns));
  CODEGEN_ASSIGN_OR_RETURN(norm.bias, MakePadded(outline.columns));
  return absl::OkStatus();
}

absl::StatusOr<KvLayer> CpuDevice::MakeKvLayer(std::int64_t pages, const backend::Heads& heads) {
  CODEGEN_DCHECK(pages >= 0 && heads.count > 0 && heads.dim > 0 && heads.dim % 8 == 0);
  CODEGEN_DCHECK(heads.rotary_dim % 2 == 0 && heads.rotary_dim <= heads.dim);
  CODEGEN_DCHECK(kv_ != KvFormat::kAuto);
  const std::int64_t element_bytes = kv_ == KvFormat::kBf16 ? 2 : 4;
  KvLayer kv{.heads = heads,
             .format = kv_,
             .kernels = &KernelsForKv(),
             .pages = pages,
             .key_bytes = heads.dim * backend::kPageTokens * element_bytes,
             .value_bytes = RoundUpToLine(heads.dim) * backend::kPageTokens * element_bytes,
             .scratch_floats = 2 * kAttendRows * RoundUpToLine(heads.dim)};
  CODEGEN_ASSIGN_OR_RETURN(kv.buffer, AlignedBuffer::Make(Product(pages, kv.page_bytes())));
  CODEGEN_ASSIGN_OR_RETURN(kv.scratch, MakeFloats(pool_.threads(), kv.scratch_floats));
  CODEGEN_ASSIGN_OR_RETURN(kv.rotary, RotaryFor(heads, pages * backend::kPageTokens));
  return kv;
}

absl::StatusOr<std::shared_ptr<const RotaryTable>> CpuDevice::RotaryFor(const backend::Heads& heads,
                                                                        std::int64_t positions) {
  const std::lock_guard lock(mutex_);
  std::shared_ptr<const RotaryTable> shared = rotary_.lock();
  if (shared != nullptr && shared->Covers(heads, positions)) return shared;
  CODEGEN_ASSIGN_OR_RETURN(RotaryTable table, RotaryTable::Make(positions, heads, pool_));
  shared = std::make_shared<const RotaryTable>(std::move(table));
  rotary_ = shared;
  return shared;
}

void CpuDevice::Upload(std::span<const float> floats, Tensor& y) {
  CODEGEN_DCHECK(static_cast<std::int64_t>(floats.size()) == y.rows() * y.columns());
  for (std::int64_t t = 0; t < y.rows(); ++t)
    std::copy_n(floats.data() + t * y.columns(), y.columns(), y.row(t));
}

void CpuDevice::Download(const Tensor& x, std::span<float> out) {
  CODEGEN_DCHECK(static_cast<std::int64_t>(out.size()) == x.rows() * x.columns());
  for (std::int64_t t = 0; t < x.rows(); ++t)
    std::copy_n(x.row(t), x.columns(), out.data() + t * x.columns());
}

}  // namespace codegen::cpu
