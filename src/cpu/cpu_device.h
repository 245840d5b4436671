// SPDX-License-Identifier: Apache-2.0
//
// CpuDevice: memory of the CPU backend, laid out for its kernels.
#ifndef CODEGEN_CPU_CPU_DEVICE_H_
#define CODEGEN_CPU_CPU_DEVICE_H_

#include <absl/functional/function_ref.h>
#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string_view>

#include "backend/backend.h"
#include "backend/savable.h"
#include "base/aligned_buffer.h"
#include "base/thread_pool.h"
#include "codegen/options.h"
#include "cpu/kernels.h"
#include "cpu/parts.h"
#include "cpu/rotary.h"
#include "quant/format.h"

namespace codegen::cpu {

// Activations [rows <= capacity, columns] f32. Rows begin on a cache line and are an odd number of
// lines apart: a tile reads a dozen rows side by side, and a power of two between them would put
// them all into one set of the L1 cache.
class Tensor {
 public:
  Tensor() = default;

  void SetRows(std::int64_t rows);  // Requires: rows <= capacity
  std::int64_t rows() const { return rows_; }
  std::int64_t columns() const { return columns_; }
  std::int64_t stride() const { return stride_; }  // floats from one row to the next
  float* row(std::int64_t t) { return buffer_.as<float>().data() + t * stride_; }
  const float* row(std::int64_t t) const { return buffer_.as<float>().data() + t * stride_; }

  // Scratch memory of the operation that reads this tensor, one at a time.
  NarrowRow narrow(std::int64_t t) const;
  std::int64_t narrow_stride() const { return narrow_stride_; }  // bytes from one row to the next

 private:
  friend class CpuDevice;
  base::AlignedBuffer buffer_;
  std::int64_t capacity_ = 0;
  std::int64_t rows_ = 0;
  std::int64_t columns_ = 0;
  std::int64_t stride_ = 0;
  mutable base::AlignedBuffer narrow_;
  std::int64_t narrow_stride_ = 0;
};

// A matrix [outputs, inputs] in panels (pack.h), and its bias.
struct Weight {
  WeightFormat format = WeightFormat::kF32;
  std::int64_t outputs = 0;
  std::int64_t inputs = 0;
  std::int64_t panel_bytes = 0;
  base::AlignedBuffer panels;
  base::AlignedBuffer scales;  // [outputs] f32, padded; of int8
  base::AlignedBuffer bias;    // [outputs] f32, padded; zeros without a bias
};

// A matrix [rows, columns] in rows of `row_bytes`, whole lines of 16 elements; int4 is held as
// int8.
struct Embedding {
  WeightFormat format = WeightFormat::kF32;
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  std::int64_t row_bytes = 0;
  base::AlignedBuffer elements;
  base::AlignedBuffer scales;  // [rows] f32; of int8
};

struct Norm {
  std::int64_t columns = 0;
  float epsilon = 0;
  base::AlignedBuffer gain;  // [columns] f32, padded
  base::AlignedBuffer bias;  // the same; zeros without a bias
};

// Keys and values of one layer in f32 or bf16: in a page each head has its keys, then its values,
// both as in kernels.h. They lie together because the prefetchers of the CPU fetch ahead in pieces
// of 4 KiB: of 2 KiB of keys (bf16, dim 64) they would waste half.
struct KvLayer {
  std::int64_t page_bytes() const { return heads.count * (key_bytes + value_bytes); }

  backend::Heads heads;
  KvFormat format = KvFormat::kF32;
  const KvKernels* kernels = nullptr;  // that read and write it
  std::int64_t pages = 0;
  std::int64_t key_bytes = 0;    // of one head in a page
  std::int64_t value_bytes = 0;  // the same
  base::AlignedBuffer buffer;    // [pages, page_bytes]
  base::AlignedBuffer scratch;   // [threads, scratch_floats]: queries, and outputs in the making
  std::int64_t scratch_floats = 0;
  std::shared_ptr<const RotaryTable> rotary;
};

struct CpuOptions {
  CpuFeatures level = CpuFeatures::kAuto;  // one that isa.h supports; kAuto: the best
  ComputePrecision precision = ComputePrecision::kExact;
  KvFormat kv = KvFormat::kF32;  // not kAuto
};

// Safe to use from several threads; what it makes is safe to read from several, and to write from
// one at a time.
class CpuDevice {
 public:
  using Tensor = cpu::Tensor;
  using Weight = cpu::Weight;
  using Embedding = cpu::Embedding;
  using Norm = cpu::Norm;
  using KvLayer = cpu::KvLayer;

  // `pool` outlives the device.
  explicit CpuDevice(base::ThreadPool& pool, const CpuOptions& options = {});

  base::ThreadPool& pool() { return pool_; }
  const Kernels& kernels() const { return kernels_; }
  // The kernel for weights of a format, which is not kAuto.
  const LinearKernel& KernelFor(WeightFormat format) const;
  // The kernels for keys and values.
  const KvKernels& KernelsForKv() const;

  // Errors of all: RESOURCE_EXHAUSTED naming the bytes; of those that read a source, the status
  // of its first row that failed. Requires: format is not kAuto; bias empty or [rows of source].
  // Tensors hold float32 whatever they are for.
  absl::StatusOr<Tensor> MakeTensor(std::int64_t capacity, std::int64_t columns,
                                    backend::Holds holds = backend::Holds::kSums);
  absl::StatusOr<Weight> MakeWeight(const backend::MatrixSource& source,
                                    std::span<const float> bias, WeightFormat format);
  absl::StatusOr<Weight> MakeWeight(const quant::Int4Source& source, std::span<const float> bias);
  absl::StatusOr<Embedding> MakeEmbedding(const backend::MatrixSource& source, WeightFormat format);
  absl::StatusOr<Norm> MakeNorm(std::span<const float> gain, std::span<const float> bias,
                                float epsilon);
  absl::StatusOr<KvLayer> MakeKvLayer(std::int64_t pages, const backend::Heads& heads);

  // What a saved model is read into and written from (backend/savable.h, parts.h). The name of the
  // layout goes up whenever pack.h or parts.h means other bytes.
  static constexpr std::string_view kLayout = "panels16-v1";
  absl::Status Allocate(const backend::Outline& outline, Weight& weight);
  absl::Status Allocate(const backend::Outline& outline, Embedding& embedding);
  absl::Status Allocate(const backend::Outline& outline, Norm& norm);
  template <class Object>
  static auto PartsOf(Object& object, backend::Bias bias) {
    return cpu::PartsOf(object, bias);
  }

  void Upload(std::span<const float> floats, Tensor& y);
  void Download(const Tensor& x, std::span<float> out);

 private:
  // Reads `source`, as it is stored where the format allows it, on all threads in blocks of a
  // multiple of 16 rows, and hands each to take(row of the first, rows), which may write to memory
  // of those rows alone.
  absl::Status ForEachBlock(
      const backend::MatrixSource& source, WeightFormat format,
      absl::FunctionRef<void(std::int64_t first, const WeightRows& rows)> take);
  absl::StatusOr<base::AlignedBuffer> TakeScratch(std::int64_t bytes);
  void ReturnScratch(base::AlignedBuffer scratch);
  absl::StatusOr<std::shared_ptr<const RotaryTable>> RotaryFor(const backend::Heads& heads,
                                                               std::int64_t positions);

  base::ThreadPool& pool_;
  ComputePrecision precision_;
  KvFormat kv_;
  const Kernels& kernels_;
  base::AlignedArena arena_;  // of the weights
  std::mutex mutex_;
  base::AlignedBuffer scratch_;              // of ForEachBlock; guarded by mutex_
  std::weak_ptr<const RotaryTable> rotary_;  // the latest one; guarded by mutex_
};

}  // namespace codegen::cpu

#endif  // CODEGEN_CPU_CPU_DEVICE_H_
