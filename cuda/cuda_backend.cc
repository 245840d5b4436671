// SPDX-License-Identifier: Apache-2.0
#include "cuda/cuda_backend.h"

#include <absl/cleanup/cleanup.h>
#include <cuda_runtime_api.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <string>

#include "base/check.h"
#include "cuda/check.h"
#include "cuda/current_device.h"
#include "cuda/element.h"
#include "cuda/kernels/add.cuh"
#include "cuda/kernels/attend_decode.cuh"
#include "cuda/kernels/attend_prefill.cuh"
#include "cuda/kernels/embed.cuh"
#include "cuda/kernels/gather.cuh"
#include "cuda/kernels/norm.cuh"
#include "cuda/kernels/plan_splits.cuh"
#include "cuda/kernels/rotate_append.cuh"
#include "cuda/kernels/sample.cuh"
#include "cuda/kernels/swiglu.cuh"
#include "cuda/linear.h"

namespace codegen::cuda {
namespace {

using backend::Holds;

// Blocks of attend_decode that a multiprocessor holds.
constexpr int kDecodeBlocks = 3;

int Columns(const Tensor& x) { return static_cast<int>(x.columns()); }

// Calls work(table) with the elements of an embedding.
template <class Work>
cudaError_t WithTable(const Embedding& e, const Work& work) {
  switch (e.format) {
    case WeightFormat::kF32:
      return work(EmbeddingTable<float>{e.elements.as<float>()});
    case WeightFormat::kBf16:
      return work(EmbeddingTable<__nv_bfloat16>{e.elements.as<__nv_bfloat16>()});
    case WeightFormat::kF16:
      return work(EmbeddingTable<__half>{e.elements.as<__half>()});
    case WeightFormat::kInt8:
      return work(EmbeddingTable<std::int8_t>{e.elements.as<std::int8_t>(), e.scales.as<float>()});
    case WeightFormat::kInt4:
    case WeightFormat::kAuto:
      break;
  }
  return cudaErrorInvalidValue;
}

}  // namespace

CudaBackend::CudaBackend(CudaDevice& device, Stream stream, Event done, std::optional<Gemm> gemm,
                         StepArrays arrays, Scratch scratch)
    : device_(&device),
      stream_(std::move(stream)),
      done_(std::move(done)),
      gemm_(std::move(gemm)),
      arrays_(std::move(arrays)),
      scratch_(std::move(scratch)) {}

absl::StatusOr<CudaBackend> CudaBackend::Create(CudaDevice& device,
                                                const backend::StepLimits& limits) {
  CODEGEN_ASSIGN_OR_RETURN(const CurrentDevice current,
                           CurrentDevice::Choose(device.options().device));
  CODEGEN_ASSIGN_OR_RETURN(Stream stream, Stream::Create());
  CODEGEN_ASSIGN_OR_RETURN(Event done, Event::Create(EventUse::kOrder));
  std::optional<Gemm> gemm;
  if (device.blas().ok() && !device.options().deterministic) {
    CODEGEN_ASSIGN_OR_RETURN(gemm, Gemm::Create(*device.blas(), device.budget()));
    gemm->BeginWith(device.tuning());
  }
  CODEGEN_ASSIGN_OR_RETURN(
      StepArrays arrays,
      StepArrays::Create(limits, device.options().deterministic, device.budget()));
  CODEGEN_ASSIGN_OR_RETURN(Scratch scratch, Scratch::Create(limits, device.budget(), stream));
  return CudaBackend(device, std::move(stream), std::move(done), std::move(gemm), std::move(arrays),
                     std::move(scratch));
}

// --- Steps --------------------------------------------------------------------------------------

absl::Status CudaBackend::Run(const backend::Step& step, absl::FunctionRef<void()> compute) {
  CODEGEN_ASSIGN_OR_RETURN(const CurrentDevice current,
                           CurrentDevice::Choose(device_->options().device));
  CODEGEN_RETURN_IF_ERROR(Bring(step));
  if (absl::Status status = PutStep(step, compute); !status.ok()) {
    stream_.Synchronize()
        .IgnoreError();  // nobody may still read the arrays that the next one fills
    return status;
  }
  CODEGEN_RETURN_IF_ERROR(Wait());
  std::ranges::copy(scratch_.sampled_on_host().first(step.tokens.size()), step.tokens.begin());
  return absl::OkStatus();
}

absl::Status CudaBackend::Bring(const backend::Step& step) {
  CODEGEN_RETURN_IF_ERROR(arrays_.SetRows(step.rows));
  arrays_.SetTokens(step.rows.tokens);
  arrays_.SetLogitRows(step.rows.logit_rows);
  arrays_.SetSampling(step.sampling);
  arrays_.SetCount(RowCount::kRows, step.rows.size());
  arrays_.SetCount(RowCount::kLogitRows, static_cast<std::int64_t>(step.rows.logit_rows.size()));
  return arrays_.CopyIn(stream_);
}

absl::Status CudaBackend::PutStep(const backend::Step& step, absl::FunctionRef<void()> compute) {
  const auto put = [&] {
    const absl::Cleanup ends = [this] { in_step_ = false; };
    in_step_ = true;
    planned_ = false;
    compute();
    return std::exchange(status_, absl::OkStatus());
  };
  capacity_ = arrays_.shape();
  if (!capacity_.all_decode) return put();

  const auto bucket = [](int rows) { return static_cast<int>(StepArrays::Capacity(rows)); };
  const int rows = bucket(capacity_.rows);
  const bool one_attention = device_->options().deterministic;
  capacity_ = {.rows = rows,
               .logit_rows = bucket(capacity_.logit_rows),
               .decode_groups = one_attention ? 0 : rows,
               .prefill_groups = one_attention ? rows : 0};
  const GraphKey key{capacity_.rows, capacity_.logit_rows, !step.sampling.empty()};
  if (const Graph* const graph = graphs_.Find(key); graph != nullptr) return graph->Launch(stream_);
  if (seen_.insert(key).second) return put();

  absl::StatusOr<Graph> captured = Graph::Capture(stream_, put);
  if (absl::IsUnavailable(captured.status())) return captured.status();
  if (!captured.ok()) return put();  // a graph takes memory; the step itself has all it needs
  return graphs_.Add(key, *std::move(captured)).Launch(stream_);
}

absl::Status CudaBackend::Wait() {
  CODEGEN_RETURN_IF_ERROR(done_.Record(stream_));
  return done_.Synchronize();
}

void CudaBackend::Keep(absl::Status status) {
  if (status_.ok()) status_ = std::move(status);
}

template <class Work>
void CudaBackend::Put(const char* what, RowCount count, Tensor& y, const Work& work) {
  y.SetCount(count);
  Put(what, count, y.rows(), work);
}

template <class Work>
void CudaBackend::Put(const char* what, RowCount count, std::int64_t alone_rows, const Work& work) {
  const auto put = [&](int capacity) -> absl::Status {
    if (capacity == 0) return absl::OkStatus();
    return work(LinearRows{.count = arrays_.count(count), .capacity = capacity});
  };
  if (in_step_) {
    if (status_.ok()) Keep(put(count == RowCount::kRows ? capacity_.rows : capacity_.logit_rows));
    return;
  }
  const auto alone = [&]() -> absl::Status {
    CODEGEN_ASSIGN_OR_RETURN(const CurrentDevice current,
                             CurrentDevice::Choose(device_->options().device));
    arrays_.SetCount(count, alone_rows);
    capacity_ = arrays_.shape();
    planned_ = false;
    CODEGEN_RETURN_IF_ERROR(arrays_.CopyIn(stream_));
    CODEGEN_RETURN_IF_ERROR(put(static_cast<int>(alone_rows)));
    return Wait();
  };
  const absl::Status status = alone();
  if (!status.ok())
    Keep(absl::Status(status.code(), fmt::format("{}: {}", what, std::string(status.message()))));
}

// --- Operations ---------------------------------------------------------------------------------

void CudaBackend::Embed(std::span<const TokenId> tokens, const Embedding& e, Tensor& y) {
  if (!in_step_) arrays_.SetTokens(tokens);
  Put("Embed", RowCount::kRows, y, [&](const LinearRows& rows) {
    return Check(WithTable(e,
                           [&]<class T>(const EmbeddingTable<T>& table) {
                             return cuda::Embed<T>({.table = table,
                                                    .tokens = arrays_.device().tokens,
                                                    .y = y.as<float>(),
                                                    .rows = rows.count,
                                                    .row_capacity = rows.capacity,
                                                    .table_rows = static_cast<int>(e.rows),
                                                    .columns = Columns(y)},
                                                   stream_.get());
                           }),
                 "starting an embedding");
  });
}

void CudaBackend::LayerNorm(const Tensor& x, const Norm& n, Tensor& y) {
  Put("LayerNorm", x.count(), y, [&](const LinearRows& rows) {
    return WithElements(y, [&]<class Y>(Y* to) {
      return Check(cuda::LayerNorm<Y>({.norm = {.x = x.as<float>(),
                                                .gain = n.gain.as<float>(),
                                                .y = to,
                                                .rows = rows.count,
                                                .row_capacity = rows.capacity,
                                                .columns = Columns(x),
                                                .epsilon = n.epsilon},
                                       .bias = n.bias.as<float>()},
                                      stream_.get()),
                   "starting a norm");
    });
  });
}

void CudaBackend::RmsNorm(const Tensor& x, const Norm& n, Tensor& y) {
  Put("RmsNorm", x.count(), y, [&](const LinearRows& rows) {
    return WithElements(y, [&]<class Y>(Y* to) {
      return Check(cuda::RmsNorm<Y>({.x = x.as<float>(),
                                     .gain = n.gain.as<float>(),
                                     .y = to,
                                     .rows = rows.count,
                                     .row_capacity = rows.capacity,
                                     .columns = Columns(x),
                                     .epsilon = n.epsilon},
                                    stream_.get()),
                   "starting a norm");
    });
  });
}

void CudaBackend::Linear(const Tensor& x, const Weight& w, backend::Then then, Tensor& y) {
  const LinearChoice choice{.gemm = gemm_.has_value() ? &*gemm_ : nullptr,
                            .deterministic = device_->options().deterministic};
  Put("Linear", x.count(), y,
      [&](const LinearRows& rows) { return PutLinear(choice, x, w, then, rows, y, stream_); });
}

void CudaBackend::Attend(const Tensor& x, const backend::Rows& rows, const backend::Heads& heads,
                         KvLayer& kv, Tensor& y) {
  if (!in_step_) Keep(arrays_.SetRows(rows));
  if (!status_.ok()) return;
  Put("Attend", RowCount::kRows, y,
      [&](const LinearRows& counted) { return PutAttend(x, heads, kv, counted, y); });
}

absl::Status CudaBackend::PutAttend(const Tensor& x, const backend::Heads& heads, KvLayer& kv,
                                    const LinearRows& rows, Tensor& y) {
  if (!scratch_.Takes(heads) || y.holds() != Holds::kFactors)
    return absl::InternalError("attention beyond what the backend was made for");
  const StepPointers& step = arrays_.device();
  auto* const keys = kv.keys.as<__nv_bfloat16>();
  auto* const values = kv.values.as<__nv_bfloat16>();
  CODEGEN_RETURN_IF_ERROR(WithElements(x, [&]<class T>(const T* qkv) {
    return Check(RotateAppend<T>({.x = qkv,
                                  .q = scratch_.queries(),
                                  .keys = keys,
                                  .values = values,
                                  .turns = kv.turns->table.as<float>(),
                                  .positions = step.positions,
                                  .slots = step.slots,
                                  .rows = rows.count,
                                  .row_capacity = rows.capacity,
                                  .heads = heads},
                                 stream_.get()),
                 "starting a rotation");
  }));

  AttendArgs attend{.q = scratch_.queries(),
                    .keys = keys,
                    .values = values,
                    .pages = step.pages,
                    .groups = step.prefill,
                    .count = step.prefill_count,
                    .y = y.as<__nv_bfloat16>(),
                    .group_capacity = capacity_.prefill_groups,
                    .heads = heads.count,
                    .dim = heads.dim};
  if (attend.group_capacity > 0) {
    CODEGEN_RETURN_IF_ERROR(
        Check(AttendPrefill(attend, stream_.get()), "starting attention of prompts"));
  }
  if (capacity_.decode_groups == 0) return absl::OkStatus();
  attend.groups = step.decode;
  attend.count = step.decode_count;
  attend.group_capacity = capacity_.decode_groups;
  if (!std::exchange(planned_, true)) {
    CODEGEN_RETURN_IF_ERROR(Check(PlanSplits({.groups = step.decode,
                                              .count = step.decode_count,
                                              .plan = scratch_.plan(),
                                              .heads = heads.count},
                                             stream_.get()),
                                  "starting the plan of decodes"));
  }
  const int wanted = kDecodeBlocks * device_->shape().multiprocessors / heads.count;
  return Check(AttendDecode({.attend = attend,
                             .plan = scratch_.plan(),
                             .partial = scratch_.partial(),
                             .blocks_per_head = std::clamp(wanted, 1, scratch_.split_capacity())},
                            stream_.get()),
               "starting attention of decodes");
}

void CudaBackend::SwiGlu(const Tensor& x, Tensor& y) {
  Put("SwiGlu", x.count(), y, [&](const LinearRows& rows) {
    return WithElements(x, y, [&]<class X, class Y>(const X* from, Y* to) {
      return Check(cuda::SwiGlu<X, Y>({.x = from,
                                       .y = to,
                                       .rows = rows.count,
                                       .row_capacity = rows.capacity,
                                       .columns = Columns(y)},
                                      stream_.get()),
                   "starting a gate");
    });
  });
}

void CudaBackend::Add(const Tensor& x, Tensor& y) {
  Put("Add", x.count(), y, [&](const LinearRows& rows) {
    return WithElements(x, [&]<class X>(const X* from) {
      return Check(cuda::Add<X>({.x = from,
                                 .y = y.as<float>(),
                                 .rows = rows.count,
                                 .row_capacity = rows.capacity,
                                 .columns = Columns(y)},
                                stream_.get()),
                   "starting an addition");
    });
  });
}

void CudaBackend::Gather(const Tensor& x, std::span<const std::int32_t> rows, Tensor& y) {
  if (!in_step_) arrays_.SetLogitRows(rows);
  Put("Gather", RowCount::kLogitRows, y, [&](const LinearRows& counted) {
    return WithElements(x, [&]<class T>(const T* from) {
      return Check(cuda::Gather<T>({.x = from,
                                    .indices = arrays_.device().logit_rows,
                                    .y = y.as<T>(),
                                    .rows = counted.count,
                                    .row_capacity = counted.capacity,
                                    .columns = Columns(y)},
                                   stream_.get()),
                   "starting to gather rows");
    });
  });
}

void CudaBackend::Sample(const Tensor& x, std::span<const backend::Sampling> sampling,
                         std::span<backend::SampledToken> tokens) {
  if (!in_step_) arrays_.SetSampling(sampling);
  const auto put = [&](const LinearRows& rows) -> absl::Status {
    CODEGEN_RETURN_IF_ERROR(Check(cuda::Sample({.logits = x.as<float>(),
                                                .sampling = arrays_.device().sampling,
                                                .changes = arrays_.device().changes,
                                                .unchanged = scratch_.unchanged(),
                                                .tokens = scratch_.sampled(),
                                                .rows = rows.count,
                                                .row_capacity = rows.capacity,
                                                .columns = Columns(x)},
                                               stream_.get()),
                                  "starting to sample"));
    return Check(cudaMemcpyAsync(scratch_.sampled_on_host().data(), scratch_.sampled(),
                                 static_cast<std::size_t>(rows.capacity) * sizeof(tokens[0]),
                                 cudaMemcpyDeviceToHost, stream_.get()),
                 "copying sampled tokens from the GPU");
  };
  Put("Sample", RowCount::kLogitRows, x.rows(), put);
  if (!in_step_) std::ranges::copy(scratch_.sampled_on_host().first(tokens.size()), tokens.begin());
}

}  // namespace codegen::cuda
