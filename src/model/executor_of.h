// SPDX-License-Identifier: Apache-2.0
//
// Executor and DeviceModel for one Backend and one architecture.
#ifndef CODEGEN_MODEL_EXECUTOR_OF_H_
#define CODEGEN_MODEL_EXECUTOR_OF_H_

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "backend/step.h"
#include "model/decoder.h"
#include "model/executor.h"
#include "model/weight_table.h"

namespace codegen::model {

template <backend::Backend B, class Layer>
class ExecutorOf final : public Executor {
 public:
  using D = typename B::Device;

  // `owner` keeps `weights` and whatever the backend refers to alive.
  ExecutorOf(std::shared_ptr<const void> owner, const Weights<D, Layer>& weights,
             const ExecutorOptions& options, D& device, B backend,
             std::vector<typename D::KvLayer> kv, Activations<D> activations)
      : owner_(std::move(owner)),
        weights_(weights),
        options_(options),
        device_(device),
        backend_(std::move(backend)),
        kv_(std::move(kv)),
        activations_(std::move(activations)) {}

  absl::Status Step(const backend::Rows& rows, const StepOutput& output) override {
    CODEGEN_RETURN_IF_ERROR(Check(rows, output));
    if (rows.size() == 0) return absl::OkStatus();
    SetRows(activations_, rows);  // for what comes after a step that is replayed, too
    const backend::Step step{.rows = rows, .sampling = output.sampling, .tokens = output.tokens};
    CODEGEN_RETURN_IF_ERROR(backend::Run(backend_, step, [&] {
      const auto& logits = Forward(backend_, weights_, rows, kv_, activations_);
      if (!output.sampling.empty()) backend_.Sample(logits, output.sampling, output.tokens);
    }));
    if (output.logits.empty()) return absl::OkStatus();
    const bool whole = options_.communicator == nullptr;
    return backend::Download(device_, whole ? activations_.logits : activations_.all_logits,
                             output.logits);
  }

 private:
  absl::Status Check(const backend::Rows& rows, const StepOutput& output) const {
    const std::size_t wanted = rows.logit_rows.size();
    if (rows.size() > options_.rows || static_cast<std::int64_t>(wanted) > options_.logit_rows) {
      return absl::InternalError(fmt::format("step of {} rows, {} with logits; made for {} and {}",
                                             rows.size(), wanted, options_.rows,
                                             options_.logit_rows));
    }
    const bool sampling_fits = output.sampling.empty() ||
                               (output.sampling.size() == wanted && output.tokens.size() == wanted);
    const bool logits_fit =
        output.logits.empty() ||
        output.logits.size() == wanted * static_cast<std::size_t>(weights_.config.vocabulary);
    const bool pages_fit = std::ranges::all_of(
        rows.pages, [&](std::int32_t page) { return page >= 0 && page < options_.pages; });
    if (sampling_fits && logits_fit && pages_fit) return absl::OkStatus();
    return absl::InternalError("step whose outputs or pages do not fit");
  }

  std::shared_ptr<const void> owner_;
  const Weights<D, Layer>& weights_;
  ExecutorOptions options_;
  D& device_;
  B backend_;
  std::vector<typename D::KvLayer> kv_;
  Activations<D> activations_;
};

// `Host` owns the device, and what the device needs: `host->device()`.
template <backend::Backend B, class Layer, class Host>
class DeviceModelOf final : public DeviceModel,
                            public std::enable_shared_from_this<DeviceModelOf<B, Layer, Host>> {
 public:
  using D = typename B::Device;

  DeviceModelOf(std::shared_ptr<Host> host, Weights<D, Layer> weights)
      : host_(std::move(host)), weights_(std::move(weights)) {}

  absl::StatusOr<std::unique_ptr<Executor>> MakeExecutor(
      const ExecutorOptions& options) const override {
    D& device = host_->device();
    const backend::StepLimits limits{.rows = options.rows,
                                     .logit_rows = options.logit_rows,
                                     .context = weights_.config.context,
                                     .heads = weights_.config.heads};
    CODEGEN_ASSIGN_OR_RETURN(B backend,
                             backend::MakeBackend<B>(device, limits, options.communicator));
    std::vector<typename D::KvLayer> kv;
    for (std::size_t i = 0; i < weights_.layers.size(); ++i) {
      CODEGEN_ASSIGN_OR_RETURN(auto layer,
                               device.MakeKvLayer(options.pages, weights_.config.heads));
      kv.push_back(std::move(layer));
    }
    const int shards = options.communicator == nullptr ? 1 : options.communicator->size();
    CODEGEN_ASSIGN_OR_RETURN(
        auto activations,
        MakeActivations(device, weights_.config, options.rows, options.logit_rows, shards));
    return std::make_unique<ExecutorOf<B, Layer>>(this->shared_from_this(), weights_, options,
                                                  device, std::move(backend), std::move(kv),
                                                  std::move(activations));
  }

  absl::StatusOr<SavedTensors> Tensors() const override {
    if constexpr (backend::SavableDevice<D>) {
      SavedTensors saved{.layout = std::string(D::kLayout)};
      CODEGEN_RETURN_IF_ERROR(VisitWeights(weights_, [&](const WeightEntry& entry, auto& object) {
        return VisitParts<D>(entry, object, [&](const std::string& name, auto& part) {
          saved.tensors.push_back({name, part.dtype, part.shape, part.bytes});
          return absl::OkStatus();
        });
      }));
      return saved;
    } else {
      return absl::UnimplementedError("the weights of this device cannot be saved");
    }
  }

 private:
  std::shared_ptr<Host> host_;
  Weights<D, Layer> weights_;
};

}  // namespace codegen::model

#endif  // CODEGEN_MODEL_EXECUTOR_OF_H_
