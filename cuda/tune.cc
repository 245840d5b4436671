// SPDX-License-Identifier: Apache-2.0
#include "cuda/tune.h"

#include <cuda_runtime_api.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/check.h"
#include "cuda/check.h"
#include "cuda/current_device.h"
#include "cuda/gemm.h"

namespace codegen::cuda {
namespace {

// Of factors: 0.011 in bf16. Multiplying zeros costs less power, and so less time, than a model.
constexpr int kFactorByte = 0x3C;

absl::StatusOr<DeviceBuffer> MakeFilled(CudaDevice& device, std::int64_t bytes, int value,
                                        const Stream& stream) {
  CODEGEN_ASSIGN_OR_RETURN(DeviceBuffer buffer, DeviceBuffer::Create(device.budget(), bytes));
  CODEGEN_RETURN_IF_ERROR(
      Check(cudaMemsetAsync(buffer.data(), value, static_cast<std::size_t>(bytes), stream.get()),
            "filling memory of the GPU"));
  return buffer;
}

// One product at a time, with the weights of the model.
class ProductTuner {
 public:
  // With memory for the largest of `products`.
  static absl::StatusOr<ProductTuner> Create(CudaDevice& device,
                                             std::span<const GemmProduct> products) {
    std::int64_t x_bytes = 0;
    std::int64_t y_bytes = 0;
    for (const auto& [shape, operands] : products) {
      x_bytes = std::max(x_bytes, shape.rows * shape.inputs * 2);
      y_bytes = std::max(y_bytes, shape.rows * shape.outputs * 4);
    }
    CODEGEN_ASSIGN_OR_RETURN(Stream stream, Stream::Create());
    CODEGEN_ASSIGN_OR_RETURN(Gemm gemm, Gemm::Create(*device.blas(), device.budget()));
    CODEGEN_ASSIGN_OR_RETURN(DeviceBuffer x, MakeFilled(device, x_bytes, kFactorByte, stream));
    CODEGEN_ASSIGN_OR_RETURN(DeviceBuffer y, MakeFilled(device, y_bytes, 0, stream));
    return ProductTuner(std::move(stream), std::move(gemm), std::move(x), std::move(y));
  }

  // Adds the choice for a product to `tuning`, unless it says already, or no algorithm takes it.
  absl::Status Tune(GemmProduct product, GemmTuning& tuning, Tuned& tuned) {
    const absl::Status prepared = gemm_.Prepare(product.shape);
    if (absl::IsInvalidArgument(prepared)) return absl::OkStatus();
    CODEGEN_RETURN_IF_ERROR(prepared);
    ++tuned.products;
    const auto known = tuning.find(product.shape);
    if (known != tuning.end() && gemm_.Choose(product.shape, known->second))
      return absl::OkStatus();
    product.operands.x = x_.data();
    product.operands.y = y_.data();
    CODEGEN_ASSIGN_OR_RETURN(tuning[product.shape],
                             gemm_.Tune(product.shape, product.operands, stream_));
    ++tuned.measured;
    return absl::OkStatus();
  }

 private:
  ProductTuner(Stream stream, Gemm gemm, DeviceBuffer x, DeviceBuffer y)
      : stream_(std::move(stream)), gemm_(std::move(gemm)), x_(std::move(x)), y_(std::move(y)) {}

  Stream stream_;
  Gemm gemm_;
  DeviceBuffer x_, y_;
};

// What cuBLASLt does of `products`, in all buckets of up to `most` rows.
std::vector<GemmProduct> GemmProductsOf(std::span<const LinearProduct> products, int most) {
  std::vector<GemmProduct> all;
  for (const LinearProduct& product : products) {
    std::int64_t bucket = 0;
    for (std::int64_t rows = 1; rows <= most; rows = bucket + 1) {
      bucket = RowBucket(rows);
      const std::optional<GemmProduct> gemm = GemmProductOf(product, static_cast<int>(bucket));
      if (gemm.has_value()) all.push_back(*gemm);
    }
  }
  return all;
}

absl::Status TuneAll(CudaDevice& device, std::span<const GemmProduct> products, GemmTuning& tuning,
                     Tuned& tuned) {
  if (products.empty()) return absl::OkStatus();
  CODEGEN_ASSIGN_OR_RETURN(const CurrentDevice current,
                           CurrentDevice::Choose(device.options().device));
  CODEGEN_ASSIGN_OR_RETURN(ProductTuner tuner, ProductTuner::Create(device, products));
  for (const GemmProduct& product : products)
    CODEGEN_RETURN_IF_ERROR(tuner.Tune(product, tuning, tuned));
  return absl::OkStatus();
}

absl::Status OfFile(const absl::Status& status) {
  return {status.code(),
          fmt::format("LoadOptions::tuning.file: {}", std::string(status.message()))};
}

}  // namespace

absl::StatusOr<GemmTuning> ReadTuningOf(const CudaDevice& device, const TuningOptions& options) {
  if (options.file.empty() || !device.blas().ok()) return GemmTuning();
  CODEGEN_ASSIGN_OR_RETURN(const TuningOrigin origin,
                           OriginOf(device.options().device, *device.blas()));
  absl::StatusOr<GemmTuning> tuning = ReadTuning(options.file, origin);
  if (!tuning.ok()) return OfFile(tuning.status());
  return tuning;
}

absl::StatusOr<Tuned> TuneProducts(CudaDevice& device, std::span<const LinearProduct> products,
                                   const TuningOptions& options, GemmTuning known) {
  if (options.rows == 0 || !device.blas().ok()) return Tuned();
  Tuned tuned;
  const absl::StatusOr<TuningOrigin> origin = OriginOf(device.options().device, *device.blas());
  absl::Status status = origin.status();
  if (status.ok()) status = TuneAll(device, GemmProductsOf(products, options.rows), known, tuned);
  if (absl::IsUnavailable(status)) return status;
  if (!status.ok()) return Tuned{.failure = std::move(status)};
  if (tuned.measured > 0 && !options.file.empty()) {
    const absl::Status written = WriteTuning(options.file, *origin, known);
    if (!written.ok()) return OfFile(written);
  }
  device.SetTuning(std::make_shared<const GemmTuning>(std::move(known)));
  return tuned;
}

}  // namespace codegen::cuda
