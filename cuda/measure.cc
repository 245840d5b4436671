// SPDX-License-Identifier: Apache-2.0
#include "cuda/measure.h"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <chrono>

#include "base/check.h"
#include "cuda/check.h"
#include "cuda/current_device.h"
#include "cuda/event.h"
#include "cuda/gemm.h"
#include "cuda/stream.h"

namespace codegen::cuda {
namespace {

constexpr int kRounds = 5;

// Much larger than the second-level cache of any device (50 MB on Hopper).
constexpr std::int64_t kCopyBytes = std::int64_t{512} << 20;
constexpr std::int64_t kLeastBytes = std::int64_t{1} << 20;

// A square product that fills every device for a millisecond or so.
constexpr std::int64_t kSide = 8192;

// The shortest of a few rounds of put().
template <class Put>
absl::StatusOr<double> Seconds(const Stream& stream, const Put& put) {
  CODEGEN_ASSIGN_OR_RETURN(const Event begin, Event::Create(EventUse::kTiming));
  CODEGEN_ASSIGN_OR_RETURN(const Event end, Event::Create(EventUse::kTiming));
  double best = 0;
  for (int round = 0; round <= kRounds; ++round) {
    CODEGEN_RETURN_IF_ERROR(begin.Record(stream));
    CODEGEN_RETURN_IF_ERROR(put());
    CODEGEN_RETURN_IF_ERROR(end.Record(stream));
    CODEGEN_RETURN_IF_ERROR(end.Synchronize());
    CODEGEN_ASSIGN_OR_RETURN(const std::chrono::duration<double> took, ElapsedBetween(begin, end));
    if (round == 1 || (round > 1 && took.count() < best)) best = took.count();  // 0 warms up
  }
  return best;
}

absl::StatusOr<double> MeasureCopies(CudaDevice& device, const Stream& stream) {
  const std::int64_t bytes = std::clamp(device.budget().free_bytes() / 4, kLeastBytes, kCopyBytes);
  CODEGEN_ASSIGN_OR_RETURN(const DeviceBuffer from, DeviceBuffer::Create(device.budget(), bytes));
  CODEGEN_ASSIGN_OR_RETURN(const DeviceBuffer to, DeviceBuffer::Create(device.budget(), bytes));
  const auto size = static_cast<std::size_t>(bytes);
  CODEGEN_RETURN_IF_ERROR(
      Check(cudaMemsetAsync(from.data(), 0, size, stream.get()), "clearing memory of the GPU"));
  CODEGEN_ASSIGN_OR_RETURN(const double seconds, Seconds(stream, [&] {
                             return Check(cudaMemcpyAsync(to.data(), from.data(), size,
                                                          cudaMemcpyDeviceToDevice, stream.get()),
                                          "copying within the GPU");
                           }));
  return 2 * static_cast<double>(bytes) / seconds / 1e9;
}

// In zeros, which cost the least power: the peak, not what a model may hope for.
absl::StatusOr<double> MeasureProducts(CudaDevice& device, const Stream& stream) {
  MemoryBudget& budget = device.budget();
  std::int64_t side = kSide;
  while (side > 256 && 3 * 2 * side * side > budget.free_bytes() / 8) side /= 2;
  CODEGEN_ASSIGN_OR_RETURN(const DeviceBuffer matrices,
                           DeviceBuffer::Create(budget, 3 * 2 * side * side));
  CODEGEN_RETURN_IF_ERROR(Check(
      cudaMemsetAsync(matrices.data(), 0, static_cast<std::size_t>(matrices.bytes()), stream.get()),
      "clearing memory of the GPU"));
  CODEGEN_ASSIGN_OR_RETURN(Gemm gemm, Gemm::Create(*device.blas(), budget));
  const GemmShape shape{.rows = side, .outputs = side, .inputs = side};
  CODEGEN_RETURN_IF_ERROR(gemm.Prepare(shape));
  const GemmOperands operands{.x = matrices.data(),
                              .w = matrices.data() + 2 * side * side,
                              .y = matrices.data() + 2 * 2 * side * side};
  CODEGEN_ASSIGN_OR_RETURN(const double seconds,
                           Seconds(stream, [&] { return gemm.Multiply(shape, operands, stream); }));
  const auto n = static_cast<double>(side);
  return 2 * n * n * n / seconds / 1e9;
}

}  // namespace

absl::StatusOr<DeviceSpeed> MeasureDevice(CudaDevice& device) {
  const int index = device.options().device;
  CODEGEN_ASSIGN_OR_RETURN(const CurrentDevice current, CurrentDevice::Choose(index));
  DeviceSpeed speed;
  cudaDeviceProp properties;
  CODEGEN_RETURN_IF_ERROR(
      Check(cudaGetDeviceProperties(&properties, index), "asking for the GPU's name"));
  speed.name = properties.name;
  CODEGEN_ASSIGN_OR_RETURN(const Stream stream, Stream::Create());
  CODEGEN_ASSIGN_OR_RETURN(speed.copy_gb_s, MeasureCopies(device, stream));
  if (device.blas().ok()) {
    CODEGEN_ASSIGN_OR_RETURN(speed.bf16_gflops, MeasureProducts(device, stream));
  }
  return speed;
}

}  // namespace codegen::cuda
