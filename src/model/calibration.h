// SPDX-License-Identifier: Apache-2.0
//
// A text on its way through the blocks of a model, one block at a time: what each matrix is
// multiplied by is summed up for quant/gptq.h. The blocks are those of the original weights.
// Inputs from blocks already rounded serve no better: the divergence of the shipped model moves by
// 5 % at most, either way.
//
// The text is cut into windows that know nothing of each other. Between blocks their residual
// stream waits on the host, so that of activations there is one window at a time.
#ifndef CODEGEN_MODEL_CALIBRATION_H_
#define CODEGEN_MODEL_CALIBRATION_H_

#include <absl/status/statusor.h>

#include <algorithm>
#include <concepts>
#include <cstdint>
#include <numeric>
#include <span>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/check.h"
#include "base/thread_pool.h"
#include "model/decoder.h"
#include "model/weight_table.h"
#include "quant/gptq.h"

namespace codegen::model {

// Tokens that a text gives at most. On the shipped model a quarter of them leave a tenth more
// divergence, four times as many a tenth less.
inline constexpr std::size_t kMostCalibrationTokens = 16'384;
inline constexpr int kCalibrationWindow = 512;  // tokens, or the context if that is less

// A device whose matrices can be rounded by quant/gptq.h, on the threads of its pool.
template <class D>
concept CalibratedDevice = backend::DeviceConcept<D> &&
    requires(D& device, const quant::Int4Source& source, std::span<const float> bias) {
  { device.MakeWeight(source, bias) } -> std::same_as<absl::StatusOr<typename D::Weight>>;
  { device.pool() } -> std::same_as<base::ThreadPool&>;
};

// A backend that adds what it multiplies a matrix by to the Hessian of that matrix.
template <backend::Backend B>
class Recorded : public B {
 public:
  using Device = typename B::Device;
  using Tensor = typename Device::Tensor;
  using Weight = typename Device::Weight;

  explicit Recorded(Device& device) : B(device), device_(device) {}

  // Until Forget. Both must stay where they are.
  void Record(const Weight& w, quant::Hessian& hessian) { hessians_[&w] = &hessian; }
  void Forget() { hessians_.clear(); }

  // In place of that of B.
  void Linear(const Tensor& x, const Weight& w, backend::Then then, Tensor& y) {
    if (const auto found = hessians_.find(&w); found != hessians_.end()) {
      copy_.resize(static_cast<std::size_t>(x.rows() * x.columns()));
      device_.Download(x, copy_);
      found->second->Add(copy_, device_.pool());
    }
    B::Linear(x, w, then, y);
  }

 private:
  Device& device_;
  std::unordered_map<const Weight*, quant::Hessian*> hessians_;
  std::vector<float> copy_;
};

// The rows of one step: the tokens of a text from its beginning.
class WindowRows {
 public:
  explicit WindowRows(std::span<const TokenId> tokens)
      : tokens_(tokens),
        positions_(tokens.size()),
        pages_((tokens.size() + backend::kPageTokens - 1) / backend::kPageTokens),
        first_row_{0, static_cast<std::int32_t>(tokens.size())},
        first_page_{0, static_cast<std::int32_t>(pages_.size())} {
    std::iota(positions_.begin(), positions_.end(), 0);
    std::iota(pages_.begin(), pages_.end(), 0);
  }

  // Valid as long as this and the tokens.
  backend::Rows rows() const {
    return {.tokens = tokens_,
            .positions = positions_,
            .first_row = first_row_,
            .first_page = first_page_,
            .pages = pages_,
            .logit_rows = {}};
  }

 private:
  std::span<const TokenId> tokens_;
  std::vector<std::int32_t> positions_;
  std::vector<std::int32_t> pages_;
  std::vector<std::int32_t> first_row_;
  std::vector<std::int32_t> first_page_;
};

template <backend::Backend B>
requires CalibratedDevice<typename B::Device>
class Calibration {
 public:
  using D = typename B::Device;

  // `device`, `config` and `tokens` must outlive the calibration. Errors: RESOURCE_EXHAUSTED.
  static absl::StatusOr<Calibration> Make(D& device, const ModelConfig& config,
                                          std::span<const TokenId> tokens) {
    const std::int64_t window = std::min(kCalibrationWindow, config.context);
    const std::int64_t pages = (window + backend::kPageTokens - 1) / backend::kPageTokens;
    CODEGEN_ASSIGN_OR_RETURN(auto kv, device.MakeKvLayer(pages, config.heads));
    CODEGEN_ASSIGN_OR_RETURN(auto activations, MakeActivations(device, config, window, 1));
    CODEGEN_ASSIGN_OR_RETURN(
        auto residual,
        base::AlignedBuffer::Make(std::ssize(tokens) * config.width * std::int64_t{sizeof(float)}));
    return Calibration(device, config, tokens, window, std::move(kv), std::move(activations),
                       std::move(residual));
  }

  // The text before the first block.
  void Embed(const typename D::Embedding& embedding) {
    ForEachWindow([&](const backend::Rows& rows, std::span<float> residual) {
      backend_.Embed(rows.tokens, embedding, a_.residual);
      device_.Download(a_.residual, residual);
    });
  }

  // Moves the text through the next block. Returns the Hessians of its matrices, in the order of
  // weight_table.h. Errors: RESOURCE_EXHAUSTED.
  template <class Layer>
  absl::StatusOr<std::vector<quant::Hessian>> Run(const Layer& layer) {
    CODEGEN_ASSIGN_OR_RETURN(std::vector<quant::Hessian> hessians, Record(layer));
    ForEachWindow([&](const backend::Rows& rows, std::span<float> residual) {
      device_.Upload(residual, a_.residual);
      ForwardBlock(backend_, layer, rows, config_.heads, kv_, a_);
      device_.Download(a_.residual, residual);
    });
    backend_.Forget();
    return hessians;
  }

 private:
  Calibration(D& device, const ModelConfig& config, std::span<const TokenId> tokens,
              std::int64_t window, typename D::KvLayer kv, Activations<D> a,
              base::AlignedBuffer residual)
      : device_(device),
        config_(config),
        tokens_(tokens),
        window_(static_cast<std::size_t>(window)),
        backend_(device),
        kv_(std::move(kv)),
        a_(std::move(a)),
        residual_(std::move(residual)) {}

  // Makes a Hessian for each matrix of a layer.
  template <class Layer>
  absl::StatusOr<std::vector<quant::Hessian>> Record(const Layer& layer) {
    std::vector<quant::Hessian> hessians;
    std::vector<const typename D::Weight*> weights;
    const auto make = [&]<class Object>(const WeightEntry& entry,
                                        const Object& object) -> absl::Status {
      if constexpr (std::is_same_v<Object, typename D::Weight>) {
        CODEGEN_ASSIGN_OR_RETURN(hessians.emplace_back(),
                                 quant::Hessian::Make(entry.outline.columns));
        weights.push_back(&object);
      }
      return absl::OkStatus();
    };
    CODEGEN_RETURN_IF_ERROR(VisitLayer(config_, "", layer, make));
    for (std::size_t i = 0; i < weights.size(); ++i) backend_.Record(*weights[i], hessians[i]);
    return hessians;
  }

  // Calls work(rows, residual [rows, width]) for each window; the activations are sized for it.
  template <class Work>
  void ForEachWindow(const Work& work) {
    const auto width = static_cast<std::size_t>(config_.width);
    for (std::size_t first = 0; first < tokens_.size(); first += window_) {
      const std::size_t count = std::min(window_, tokens_.size() - first);
      const WindowRows window(tokens_.subspan(first, count));
      SetRows(a_, window.rows());
      work(window.rows(), residual_.as<float>().subspan(first * width, count * width));
    }
  }

  D& device_;
  const ModelConfig& config_;
  std::span<const TokenId> tokens_;
  std::size_t window_;
  Recorded<B> backend_;
  typename D::KvLayer kv_;
  Activations<D> a_;
  base::AlignedBuffer residual_;  // [tokens, width] f32
};

}  // namespace codegen::model

#endif  // CODEGEN_MODEL_CALIBRATION_H_
