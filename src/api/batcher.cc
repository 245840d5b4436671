// SPDX-License-Identifier: Apache-2.0
#include "codegen/batcher.h"

#include <absl/strings/cord.h>
#include <absl/strings/numbers.h>
#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <new>
#include <string>
#include <utility>

#include "api/batcher_core.h"
#include "api/model_state.h"
#include "base/check.h"
#include "base/no_memory.h"

namespace codegen {
namespace {

constexpr int kLargestBatch = 1024;
constexpr int kLargestStep = 8192;
constexpr int kLargestBlock = 128;
constexpr int kDefaultContexts = 16;

template <class T>
absl::Status CheckRange(const char* field, T value, T least, T most) {
  if (value >= least && value <= most) return absl::OkStatus();
  return absl::InvalidArgumentError(
      fmt::format("BatcherOptions::{} is {}, allowed {} to {}", field, value, least, most));
}

absl::Status CheckPolicy(const BatchPolicy& policy, int max_batch) {
  CODEGEN_RETURN_IF_ERROR(
      CheckRange<std::int64_t>("policy.window", policy.window.count(), 0,
                               std::chrono::microseconds(std::chrono::minutes(1)).count()));
  for (const int size : policy.preferred)
    CODEGEN_RETURN_IF_ERROR(CheckRange("policy.preferred", size, 1, max_batch));
  return absl::OkStatus();
}

absl::Status CheckWaiting(const BatcherOptions& options) {
  constexpr std::int64_t kMost = std::int64_t{1} << 40;
  CODEGEN_RETURN_IF_ERROR(CheckRange("queue_requests", options.queue_requests, 1, 1 << 20));
  CODEGEN_RETURN_IF_ERROR(CheckRange("queue_bytes", options.queue_bytes, std::int64_t{1}, kMost));
  CODEGEN_RETURN_IF_ERROR(
      CheckRange<std::int64_t>("ageing", options.ageing.count(), 0, kMost / 1'000'000));
  CODEGEN_RETURN_IF_ERROR(CheckRange<std::int64_t>(
      "default_timeout", options.default_timeout.count(), 0, kMost / 1'000'000));
  CODEGEN_RETURN_IF_ERROR(
      CheckRange<std::int64_t>("step_timeout", options.step_timeout.count(), 1, kMost / 1'000'000));
  return CheckRange("output_tokens", options.output_tokens, 1, 1 << 20);
}

absl::Status CheckOptions(const BatcherOptions& options, int context) {
  CODEGEN_RETURN_IF_ERROR(CheckRange("max_batch", options.max_batch, 1, kLargestBatch));
  CODEGEN_RETURN_IF_ERROR(
      CheckRange("step_tokens", options.step_tokens, options.max_batch, kLargestStep));
  CODEGEN_RETURN_IF_ERROR(CheckRange("context_tokens", options.context_tokens, 0, context));
  if (options.block_tokens < backend::kPageTokens || options.block_tokens > kLargestBlock ||
      !std::has_single_bit(static_cast<unsigned>(options.block_tokens))) {
    return absl::InvalidArgumentError(fmt::format(
        "BatcherOptions::block_tokens is {}, allowed 16, 32, 64 or 128", options.block_tokens));
  }
  if (!(options.prefix_cache_quota >= 0 && options.prefix_cache_quota <= 1)) {
    return absl::InvalidArgumentError(fmt::format(
        "BatcherOptions::prefix_cache_quota is {}, allowed 0 to 1", options.prefix_cache_quota));
  }
  CODEGEN_RETURN_IF_ERROR(CheckPolicy(options.policy, options.max_batch));
  return CheckWaiting(options);
}

std::int64_t RoundUp(std::int64_t value, std::int64_t unit) {
  return (value + unit - 1) / unit * unit;
}

// Fills in what is 0 for a default. Errors: INVALID_ARGUMENT if kv_bytes hold no context.
absl::StatusOr<BatcherOptions> Complete(BatcherOptions options, const Model& model) {
  const ModelInfo& info = model.info();
  if (options.context_tokens == 0) options.context_tokens = info.context;
  const std::int64_t context_bytes =
      RoundUp(options.context_tokens, options.block_tokens) * info.kv_bytes_per_token;
  if (options.kv_bytes == 0) {
    const std::int64_t share = model.state()->on_device.memory() / 4;
    options.kv_bytes = std::max(context_bytes, std::min(kDefaultContexts * context_bytes, share));
  }
  constexpr std::int64_t kMostBlocks = 1 << 24;
  const std::int64_t block_bytes = info.kv_bytes_per_token * options.block_tokens;
  CODEGEN_RETURN_IF_ERROR(
      CheckRange("kv_bytes", options.kv_bytes, context_bytes, kMostBlocks * block_bytes));
  return options;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Batcher>> Batcher::Create(const Model& model,
                                                         const BatcherOptions& options) try {
  CODEGEN_RETURN_IF_ERROR(CheckOptions(options, model.info().context));
  CODEGEN_ASSIGN_OR_RETURN(BatcherOptions complete, Complete(options, model));
  CODEGEN_ASSIGN_OR_RETURN(auto core, api::BatcherCore::Create(model, std::move(complete)));
  return std::unique_ptr<Batcher>(new Batcher(std::move(core)));
} catch (const std::bad_alloc&) {
  return base::NoMemory("no memory for the batcher");
}

Batcher::Batcher(std::shared_ptr<api::BatcherCore> core) : core_(std::move(core)) {}

Batcher::~Batcher() { core_->Shutdown(); }

absl::StatusOr<Handle> Batcher::Submit(Request request, Callbacks callbacks) {
  CODEGEN_ASSIGN_OR_RETURN(auto pending, core_->Submit(std::move(request), std::move(callbacks)));
  return Handle(std::move(pending));
}

std::optional<std::chrono::milliseconds> Batcher::RetryAfter(const absl::Status& status) {
  const auto payload = status.GetPayload(runtime::kRetryAfterPayload);
  std::int64_t milliseconds = 0;
  if (!payload || !absl::SimpleAtoi(std::string(*payload), &milliseconds)) return std::nullopt;
  return std::chrono::milliseconds(milliseconds);
}

absl::Status Batcher::Drain(Time deadline) { return core_->Drain(deadline); }

Metrics Batcher::metrics() const { return core_->metrics(); }

Health Batcher::health() const { return core_->health(); }

int Batcher::context_tokens() const { return core_->context_tokens(); }

const Model& Batcher::model() const { return core_->model(); }

}  // namespace codegen
