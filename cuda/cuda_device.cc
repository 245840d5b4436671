// SPDX-License-Identifier: Apache-2.0
#include "cuda/cuda_device.h"

#include <cuda_runtime_api.h>
#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "backend/rows.h"
#include "backend/turns.h"
#include "base/check.h"
#include "cuda/check.h"
#include "cuda/current_device.h"
#include "cuda/gemm.h"
#include "tensor/half.h"

namespace codegen::cuda {
namespace {

constexpr std::int64_t kFloatBytes = sizeof(float);
constexpr std::int64_t kHalfBytes = 2;
constexpr int kWidestHead = 256;  // of the attention kernels
constexpr int kInputsMultiple = 8;

// Of what is free, for graphs, code and the needs of libraries.
constexpr std::int64_t kLeftToCuda = std::int64_t{512} << 20;

// What is free and of that what may be taken.
absl::StatusOr<std::int64_t> MemoryToTake(const CudaOptions& options) {
  CODEGEN_DCHECK(options.memory >= 0);
  std::size_t free = 0;
  std::size_t total = 0;
  CODEGEN_RETURN_IF_ERROR(Check(cudaMemGetInfo(&free, &total), "asking for the GPU's memory"));
  if (options.memory == 0) {
    const auto all = static_cast<std::int64_t>(free);
    return all - std::max(std::min(kLeftToCuda, all / 4), all / 32);
  }
  if (options.memory <= static_cast<std::int64_t>(total)) return options.memory;
  return absl::InvalidArgumentError(fmt::format(
      "device memory of {} bytes asked for, GPU {} has {}", options.memory, options.device, total));
}

absl::StatusOr<int> Attribute(int device, cudaDeviceAttr attribute) {
  int value = 0;
  CODEGEN_RETURN_IF_ERROR(Check(cudaDeviceGetAttribute(&value, attribute, device),
                                "asking for an attribute of the GPU"));
  return value;
}

// Kernels are compiled for these two, and their blocks take up to 139,264 bytes of shared memory,
// which the smaller devices of the first generation do not have.
absl::StatusOr<DeviceShape> ShapeOf(int device) {
  CODEGEN_ASSIGN_OR_RETURN(const int major, Attribute(device, cudaDevAttrComputeCapabilityMajor));
  CODEGEN_ASSIGN_OR_RETURN(const int minor, Attribute(device, cudaDevAttrComputeCapabilityMinor));
  if ((major != 8 && major != 9) || minor != 0) {
    return absl::FailedPreconditionError(
        fmt::format("GPU {} has compute capability {}.{}, this library is built for 8.0 (A100) and "
                    "9.0 (H100, H200)",
                    device, major, minor));
  }
  DeviceShape shape;
  CODEGEN_ASSIGN_OR_RETURN(shape.multiprocessors,
                           Attribute(device, cudaDevAttrMultiProcessorCount));
  return shape;
}

std::int64_t ElementBytes(backend::Holds holds) {
  return holds == backend::Holds::kSums ? kFloatBytes : kHalfBytes;
}

std::vector<std::uint16_t> Bf16Of(std::span<const float> floats) {
  std::vector<std::uint16_t> bits(floats.size());
  std::ranges::transform(floats, bits.begin(), tensor::Bf16FromFloat);
  return bits;
}

}  // namespace

void Tensor::SetRows(std::int64_t rows) {
  CODEGEN_DCHECK(rows >= 0 && rows <= capacity_);
  rows_ = rows;
}

absl::StatusOr<std::unique_ptr<CudaDevice>> CudaDevice::Create(const CudaOptions& options,
                                                               absl::StatusOr<BlasFunctions> blas,
                                                               base::ThreadPool& pool) {
  CODEGEN_ASSIGN_OR_RETURN(const CurrentDevice current, CurrentDevice::Choose(options.device));
  if (blas.ok()) {
    if (absl::Status usable = CheckUsable(*blas); !usable.ok()) blas = std::move(usable);
  }
  CODEGEN_ASSIGN_OR_RETURN(const std::int64_t memory, MemoryToTake(options));
  CODEGEN_ASSIGN_OR_RETURN(const DeviceShape shape, ShapeOf(options.device));
  CODEGEN_ASSIGN_OR_RETURN(Transfer transfer, Transfer::Create(pool));
  return std::unique_ptr<CudaDevice>(
      new CudaDevice(options, std::move(blas), pool, memory, shape, std::move(transfer)));
}

absl::StatusOr<Tensor> CudaDevice::MakeTensor(std::int64_t capacity, std::int64_t columns,
                                              backend::Holds holds) {
  CODEGEN_DCHECK(capacity >= 0 && columns >= 0);
  CODEGEN_ASSIGN_OR_RETURN(const CurrentDevice current, CurrentDevice::Choose(options_.device));
  Tensor tensor;
  tensor.capacity_ = capacity;
  tensor.columns_ = columns;
  tensor.holds_ = holds;
  // A product of a bucket of rows writes all of them.
  const std::int64_t rows = capacity == 0 ? 0 : RowBucket(capacity);
  CODEGEN_ASSIGN_OR_RETURN(tensor.buffer_,
                           DeviceBuffer::Create(budget_, rows * columns * ElementBytes(holds)));
  return tensor;
}

absl::StatusOr<Weight> CudaDevice::MakeWeight(const backend::MatrixSource& source,
                                              std::span<const float> bias, WeightFormat format) {
  CODEGEN_DCHECK(source.rows > 0 && source.columns > 0);
  CODEGEN_DCHECK(bias.empty() || static_cast<std::int64_t>(bias.size()) == source.rows);
  if (source.columns % kInputsMultiple != 0) {
    return absl::InvalidArgumentError(
        fmt::format("matrix [{}, {}]: inputs must be a multiple of {} on a GPU", source.rows,
                    source.columns, kInputsMultiple));
  }
  CODEGEN_ASSIGN_OR_RETURN(const CurrentDevice current, CurrentDevice::Choose(options_.device));
  const RowLayout layout = WeightLayout(format, source.columns);
  Weight weight;
  weight.format = format;
  weight.outputs = source.rows;
  weight.inputs = source.columns;
  CODEGEN_ASSIGN_OR_RETURN(weight.elements,
                           DeviceBuffer::Create(budget_, source.rows * layout.elements));
  CODEGEN_ASSIGN_OR_RETURN(weight.scales,
                           DeviceBuffer::Create(budget_, source.rows * layout.scales));
  if (!bias.empty()) {
    CODEGEN_ASSIGN_OR_RETURN(weight.bias, MakeFloats(bias));
  }
  const std::lock_guard lock(mutex_);
  if (!bias.empty() && format == WeightFormat::kBf16) {
    CODEGEN_ASSIGN_OR_RETURN(weight.bias_bf16,
                             DeviceBuffer::Create(budget_, source.rows * kHalfBytes));
    const std::vector<std::uint16_t> bits = Bf16Of(bias);
    CODEGEN_RETURN_IF_ERROR(transfer_.Send(std::as_bytes(std::span(bits)), weight.bias_bf16));
  }
  CODEGEN_RETURN_IF_ERROR(transfer_.SendRows(source, layout, weight.elements, weight.scales));
  return weight;
}

absl::StatusOr<Embedding> CudaDevice::MakeEmbedding(const backend::MatrixSource& source,
                                                    WeightFormat format) {
  CODEGEN_DCHECK(source.rows > 0 && source.columns > 0);
  CODEGEN_ASSIGN_OR_RETURN(const CurrentDevice current, CurrentDevice::Choose(options_.device));
  const RowLayout layout = EmbeddingLayout(format, source.columns);
  Embedding embedding;
  embedding.format = layout.format;
  embedding.rows = source.rows;
  embedding.columns = source.columns;
  CODEGEN_ASSIGN_OR_RETURN(embedding.elements,
                           DeviceBuffer::Create(budget_, source.rows * layout.elements));
  CODEGEN_ASSIGN_OR_RETURN(embedding.scales,
                           DeviceBuffer::Create(budget_, source.rows * layout.scales));
  const std::lock_guard lock(mutex_);
  CODEGEN_RETURN_IF_ERROR(transfer_.SendRows(source, layout, embedding.elements, embedding.scales));
  return embedding;
}

absl::StatusOr<Norm> CudaDevice::MakeNorm(std::span<const float> gain, std::span<const float> bias,
                                          float epsilon) {
  Norm norm;
  norm.columns = static_cast<std::int64_t>(gain.size());
  norm.epsilon = epsilon;
  std::vector<float> all(bias.begin(), bias.end());
  all.resize(gain.size());
  CODEGEN_ASSIGN_OR_RETURN(norm.gain, MakeFloats(gain));
  CODEGEN_ASSIGN_OR_RETURN(norm.bias, MakeFloats(all));
  return norm;
}

absl::StatusOr<KvLayer> CudaDevice::MakeKvLayer(std::int64_t pages, const backend::Heads& heads) {
  CODEGEN_DCHECK(pages >= 0 && heads.count > 0 && heads.dim > 0 && heads.dim % 8 == 0);
  CODEGEN_DCHECK(heads.rotary_dim % 2 == 0 && heads.rotary_dim <= heads.dim);
  if (heads.dim > kWidestHead) {
    return absl::InvalidArgumentError(
        fmt::format("heads of {} elements: at most {} on a GPU", heads.dim, kWidestHead));
  }
  CODEGEN_ASSIGN_OR_RETURN(const CurrentDevice current, CurrentDevice::Choose(options_.device));
  const std::int64_t bytes =
      pages * backend::kPageTokens * std::int64_t{heads.count} * heads.dim * kHalfBytes;
  KvLayer kv;
  kv.heads = heads;
  kv.pages = pages;
  CODEGEN_ASSIGN_OR_RETURN(kv.keys, DeviceBuffer::Create(budget_, bytes));
  CODEGEN_ASSIGN_OR_RETURN(kv.values, DeviceBuffer::Create(budget_, bytes));
  CODEGEN_ASSIGN_OR_RETURN(kv.turns, TurnsFor(heads, pages * backend::kPageTokens));
  return kv;
}

absl::StatusOr<std::shared_ptr<const Turns>> CudaDevice::TurnsFor(const backend::Heads& heads,
                                                                  std::int64_t positions) {
  const std::lock_guard lock(mutex_);
  std::shared_ptr<const Turns> shared = turns_.lock();
  if (shared != nullptr && backend::TurnAlike(shared->heads, heads) &&
      positions <= shared->positions) {
    return shared;
  }
  std::vector<float> table(static_cast<std::size_t>(positions * heads.rotary_dim));
  pool_.ParallelFor(heads.rotary_dim / 2, [&](std::int64_t pair) {
    backend::FillTurns(heads, positions, pair, table.data());
  });
  auto turns = std::make_shared<Turns>();
  turns->heads = heads;
  turns->positions = positions;
  const std::span bytes = std::as_bytes(std::span(table));
  CODEGEN_ASSIGN_OR_RETURN(turns->table,
                           DeviceBuffer::Create(budget_, static_cast<std::int64_t>(bytes.size())));
  CODEGEN_RETURN_IF_ERROR(transfer_.Send(bytes, turns->table));
  turns_ = turns;
  return turns;
}

absl::StatusOr<DeviceBuffer> CudaDevice::MakeFloats(std::span<const float> floats) {
  CODEGEN_ASSIGN_OR_RETURN(const CurrentDevice current, CurrentDevice::Choose(options_.device));
  const std::span bytes = std::as_bytes(floats);
  CODEGEN_ASSIGN_OR_RETURN(DeviceBuffer buffer,
                           DeviceBuffer::Create(budget_, static_cast<std::int64_t>(bytes.size())));
  const std::lock_guard lock(mutex_);
  CODEGEN_RETURN_IF_ERROR(transfer_.Send(bytes, buffer));
  return buffer;
}

absl::Status CudaDevice::Upload(std::span<const float> floats, Tensor& y) {
  CODEGEN_DCHECK(static_cast<std::int64_t>(floats.size()) == y.rows() * y.columns());
  CODEGEN_ASSIGN_OR_RETURN(const CurrentDevice current, CurrentDevice::Choose(options_.device));
  const std::lock_guard lock(mutex_);
  if (y.holds() == backend::Holds::kSums) return transfer_.Send(std::as_bytes(floats), y.buffer_);
  const std::vector<std::uint16_t> bits = Bf16Of(floats);
  return transfer_.Send(std::as_bytes(std::span(bits)), y.buffer_);
}

absl::Status CudaDevice::Download(const Tensor& x, std::span<float> out) {
  CODEGEN_DCHECK(static_cast<std::int64_t>(out.size()) == x.rows() * x.columns());
  CODEGEN_ASSIGN_OR_RETURN(const CurrentDevice current, CurrentDevice::Choose(options_.device));
  const std::lock_guard lock(mutex_);
  if (x.holds() == backend::Holds::kSums)
    return transfer_.Receive(x.buffer_, std::as_writable_bytes(out));
  std::vector<std::uint16_t> bits(out.size());
  CODEGEN_RETURN_IF_ERROR(transfer_.Receive(x.buffer_, std::as_writable_bytes(std::span(bits))));
  std::ranges::transform(bits, out.begin(), tensor::FloatFromBf16);
  return absl::OkStatus();
}

}  // namespace codegen::cuda
