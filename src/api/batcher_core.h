// SPDX-License-Identifier: Apache-2.0
//
// What the threads of a Batcher share: the engine that computes, the delivery that calls back, the
// requests that live, and what is measured of them.
//
// Lock order: the core's, then a request's, then the delivery's or the engine's.
#ifndef CODEGEN_API_BATCHER_CORE_H_
#define CODEGEN_API_BATCHER_CORE_H_

#include <absl/base/thread_annotations.h>
#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include <atomic>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "api/pending_request.h"
#include "api/trace_output.h"
#include "base/mutex.h"
#include "codegen/batcher.h"
#include "metrics/recorder.h"
#include "runtime/delivery.h"
#include "runtime/engine.h"
#include "runtime/intake.h"
#include "runtime/watchdog.h"

namespace codegen::api {

class BatcherCore final : public RequestOwner,
                          public runtime::EngineListener,
                          public std::enable_shared_from_this<BatcherCore> {
 public:
  // `options` are checked, and complete: no zero that stands for a default. Starts the threads.
  // Errors: RESOURCE_EXHAUSTED.
  static absl::StatusOr<std::shared_ptr<BatcherCore>> Create(const Model& model,
                                                             const BatcherOptions& options);
  // The same on an executor that is there, with room for what `options` say.
  static absl::StatusOr<std::shared_ptr<BatcherCore>> CreateOn(
      std::unique_ptr<model::Executor> executor, const Model& model, const BatcherOptions& options);

  // For Batcher; see there.
  absl::StatusOr<std::shared_ptr<PendingRequest>> Submit(Request request, Callbacks callbacks);
  // The same for how likely each of `ids` is after those before it, which the completion has in
  // token_ids and logprobs. Requires: at least two of them, which fit the context.
  absl::StatusOr<std::shared_ptr<PendingRequest>> SubmitScore(std::span<const TokenId> ids,
                                                              const std::string& cache_salt);
  absl::Status Drain(Time deadline);
  // Ends everything, and waits for the threads as Batcher's destructor says.
  void Shutdown();
  Metrics metrics() const { return recorder_.Snapshot(); }
  Health health() const;
  const Model& model() const { return model_; }
  int context_tokens() const { return options_.context_tokens; }
  int NewSession() { return ++sessions_; }  // a number that no other session has

  // RequestOwner.
  void End(runtime::RequestId request, FinishReason reason,
           const absl::Status& status) noexcept override;
  void Drop(runtime::SampleId id) override;
  void Resume(runtime::SampleId id) override;
  void OnCompleted(runtime::RequestId request, const Completion& completion) override;
  void OnDelivered(runtime::RequestId request) override;

  // EngineListener.
  void OnEvents(std::span<const runtime::Event> events, runtime::Scheduler& scheduler) override;
  void OnStepBegin() override;
  void OnStepEnd(const runtime::StepReport& report, const runtime::Scheduler& scheduler) override;
  void OnIdle(const runtime::Scheduler& scheduler) override;
  void OnFailure(const absl::Status& status) override;

 private:
  // A request that was not delivered yet.
  struct Live {
    std::shared_ptr<PendingRequest> request;
    runtime::Intake::Place place;
  };

  BatcherCore(const Model& model, const BatcherOptions& options);
  absl::Status Start(std::unique_ptr<model::Executor> executor);
  absl::Status StartWatchdog();
  absl::Status StartEngine();
  runtime::SchedulerOptions ForScheduler() const;

  absl::Status CheckProcess() const;
  absl::StatusOr<runtime::Job> MakeJob(Request& request) const;
  runtime::Job MakeScoreJob(std::span<const TokenId> ids, const std::string& cache_salt) const;
  Time DoneBy(Time asked, Time arrival) const;
  absl::Status CheckOpen() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::StatusOr<std::shared_ptr<PendingRequest>> Admit(runtime::Job job,
                                                        PendingRequestOptions options,
                                                        std::int64_t bytes);
  std::shared_ptr<PendingRequest> Accept(runtime::Job job, PendingRequestOptions options,
                                         std::int64_t bytes) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Note(const runtime::Event& event, Live& live) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Forget(runtime::RequestId request) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Measure(const runtime::Event& event);
  void EndAtOnce(PendingRequest& request, runtime::Event end);
  void EndAllAtOnce(const absl::Status& status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void RunEngine();
  void OnHang();

  // Constant after Create.
  const Model model_;
  const BatcherOptions options_;
  const int process_;  // that it was made in
  std::shared_ptr<runtime::Delivery> delivery_;
  std::unique_ptr<runtime::Engine> engine_;
  std::unique_ptr<runtime::Watchdog> watchdog_;
  std::shared_ptr<TraceOutput> trace_;  // null without a sink

  metrics::Recorder recorder_;  // safe by itself
  std::atomic<int> sessions_ = 0;

  // Used by the engine's thread alone.
  std::vector<std::shared_ptr<PendingRequest>> to_schedule_;
  std::vector<runtime::RequestId> unwanted_;  // delivered already

  mutable base::Mutex mutex_;
  base::Condition changed_;  // live_, or engine_ended_
  std::unordered_map<runtime::RequestId, Live> live_ ABSL_GUARDED_BY(mutex_);
  runtime::RequestId last_id_ ABSL_GUARDED_BY(mutex_) = 0;
  runtime::Intake intake_ ABSL_GUARDED_BY(mutex_);
  bool draining_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status failure_ ABSL_GUARDED_BY(mutex_);
  bool hung_ ABSL_GUARDED_BY(mutex_) = false;
  bool engine_ended_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread engine_thread_;  // used by Create and Shutdown alone
};

}  // namespace codegen::api

#endif  // CODEGEN_API_BATCHER_CORE_H_
