// SPDX-License-Identifier: Apache-2.0
//
// CudaDevice: memory of a GPU, laid out for the kernels of cuda/kernels.
#ifndef CODEGEN_CUDA_CUDA_DEVICE_H_
#define CODEGEN_CUDA_CUDA_DEVICE_H_

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include <cstdint>
#include <memory>
#include <mutex>
#include <span>

#include "backend/backend.h"
#include "base/thread_pool.h"
#include "codegen/options.h"
#include "cuda/buffer.h"
#include "cuda/gemm_tuning.h"
#include "cuda/library.h"
#include "cuda/transfer.h"

namespace codegen::cuda {

// How many rows a tensor has in a step: the memory of the device that says so differs.
enum class RowCount { kRows, kLogitRows };

// Activations [rows <= capacity, columns], dense. Sums are float32, factors bfloat16.
class Tensor {
 public:
  Tensor() = default;

  void SetRows(std::int64_t rows);  // Requires: rows <= capacity
  std::int64_t rows() const { return rows_; }
  std::int64_t columns() const { return columns_; }
  backend::Holds holds() const { return holds_; }

  // Requires: T is float or __nv_bfloat16, as holds() says.
  template <class T>
  T* as() const {
    return buffer_.as<T>();
  }

  // Which of the counts of a step its rows are; set by the operation that writes it.
  RowCount count() const { return count_; }
  void SetCount(RowCount count) { count_ = count; }

 private:
  friend class CudaDevice;
  DeviceBuffer buffer_;
  std::int64_t capacity_ = 0;
  std::int64_t rows_ = 0;
  std::int64_t columns_ = 0;
  backend::Holds holds_ = backend::Holds::kSums;
  RowCount count_ = RowCount::kRows;
};

// A matrix [outputs, inputs] as kernels/linear.h says.
struct Weight {
  WeightFormat format = WeightFormat::kF32;
  std::int64_t outputs = 0;
  std::int64_t inputs = 0;
  DeviceBuffer elements;
  DeviceBuffer scales;     // of int8 and int4
  DeviceBuffer bias;       // [outputs] f32; of no bytes without a bias
  DeviceBuffer bias_bf16;  // the same for cuBLASLt, where the weights are bf16
};

// A matrix [rows, columns] as kernels/embed.cuh says.
struct Embedding {
  WeightFormat format = WeightFormat::kF32;
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  DeviceBuffer elements;
  DeviceBuffer scales;  // [rows] f32; of int8
};

struct Norm {
  std::int64_t columns = 0;
  float epsilon = 0;
  DeviceBuffer gain;  // [columns] f32
  DeviceBuffer bias;  // the same; zeros without a bias
};

// backend::FillTurns of many positions.
struct Turns {
  backend::Heads heads = {};
  std::int64_t positions = 0;
  DeviceBuffer table;  // [positions, rotary_dim] f32
};

// Keys and values of one layer in bf16.
struct KvLayer {
  backend::Heads heads = {};
  std::int64_t pages = 0;
  DeviceBuffer keys;    // [page][head][16][dim]
  DeviceBuffer values;  // the same
  std::shared_ptr<const Turns> turns;
};

struct CudaOptions {
  int device = 0;  // as CUDA counts them
  // What all that is made here may take of the device's memory, in bytes; 0: all that is free now,
  // but for half a gigabyte or so that CUDA needs for itself.
  std::int64_t memory = 0;
  // Each kind of product is one kernel whatever the number of rows, so that a row's result never
  // depends on the rows beside it.
  bool deterministic = false;
};

// What the choice of kernels depends on.
struct DeviceShape {
  int multiprocessors = 0;
};

// Safe to use from several threads, as what it makes is for different executors. Leaves the device
// that a calling thread had chosen as it was.
class CudaDevice {
 public:
  using Tensor = cuda::Tensor;
  using Weight = cuda::Weight;
  using Embedding = cuda::Embedding;
  using Norm = cuda::Norm;
  using KvLayer = cuda::KvLayer;

  // `pool`, whose threads lay out weights, outlives the device. Without `blas`, or where it does
  // not work on this device, own kernels do the products of many rows too. FAILED_PRECONDITION if
  // there is no such device, no driver, or a device that the kernels are not built for;
  // INVALID_ARGUMENT if it has less memory than asked for.
  static absl::StatusOr<std::unique_ptr<CudaDevice>> Create(const CudaOptions& options,
                                                            absl::StatusOr<BlasFunctions> blas,
                                                            base::ThreadPool& pool);

  const CudaOptions& options() const { return options_; }
  // Or why there is none.
  const absl::StatusOr<BlasFunctions>& blas() const { return blas_; }
  const DeviceShape& shape() const { return shape_; }

  // What backends begin with. Requires, of SetTuning: before the first is made.
  const std::shared_ptr<const GemmTuning>& tuning() const { return tuning_; }
  void SetTuning(std::shared_ptr<const GemmTuning> tuning) { tuning_ = std::move(tuning); }

  MemoryBudget& budget() { return budget_; }

  // Errors of all: RESOURCE_EXHAUSTED naming the bytes; UNAVAILABLE if the device is lost; of those
  // that read a source, the status of its first row that failed. Requires: format is not kAuto;
  // bias empty or [rows of source].
  absl::StatusOr<Tensor> MakeTensor(std::int64_t capacity, std::int64_t columns,
                                    backend::Holds holds = backend::Holds::kSums);
  // INVALID_ARGUMENT unless inputs are a multiple of 8.
  absl::StatusOr<Weight> MakeWeight(const backend::MatrixSource& source,
                                    std::span<const float> bias, WeightFormat format);
  absl::StatusOr<Embedding> MakeEmbedding(const backend::MatrixSource& source, WeightFormat format);
  absl::StatusOr<Norm> MakeNorm(std::span<const float> gain, std::span<const float> bias,
                                float epsilon);
  // INVALID_ARGUMENT if heads are wider than 256.
  absl::StatusOr<KvLayer> MakeKvLayer(std::int64_t pages, const backend::Heads& heads);

  // Wait for their copy. Errors: of the device. Factors are rounded to nearest even.
  absl::Status Upload(std::span<const float> floats, Tensor& y);
  absl::Status Download(const Tensor& x, std::span<float> out);

 private:
  CudaDevice(const CudaOptions& options, absl::StatusOr<BlasFunctions> blas, base::ThreadPool& pool,
             std::int64_t memory, const DeviceShape& shape, Transfer transfer)
      : options_(options),
        blas_(std::move(blas)),
        pool_(pool),
        budget_(memory),
        shape_(shape),
        transfer_(std::move(transfer)) {}

  absl::StatusOr<DeviceBuffer> MakeFloats(std::span<const float> floats);
  absl::StatusOr<std::shared_ptr<const Turns>> TurnsFor(const backend::Heads& heads,
                                                        std::int64_t positions);

  const CudaOptions options_;
  const absl::StatusOr<BlasFunctions> blas_;
  base::ThreadPool& pool_;
  MemoryBudget budget_;
  const DeviceShape shape_;
  std::shared_ptr<const GemmTuning> tuning_ = std::make_shared<const GemmTuning>();
  std::mutex mutex_;
  Transfer transfer_;                 // guarded by mutex_
  std::weak_ptr<const Turns> turns_;  // the latest; guarded by mutex_
};

}  // namespace codegen::cuda

#endif  // CODEGEN_CUDA_CUDA_DEVICE_H_
