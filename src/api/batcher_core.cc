// SPDX-License-Identifier: Apache-2.0
#include "api/batcher_core.h"

#include <absl/cleanup/cleanup.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cfenv>
#include <exception>
#include <new>
#include <string>
#include <thread>
#include <utility>

#include "api/model_state.h"
#include "api/prompt.h"
#include "api/request_limits.h"
#include "base/check.h"
#include "base/no_memory.h"
#include "base/unshared.h"
#include "metrics/trace.h"

namespace codegen::api {
namespace {

using Clock = std::chrono::steady_clock;
using runtime::Event;
using runtime::RequestId;

// What the destructor waits for callbacks, once the engine has ended.
constexpr std::chrono::seconds kPatience{1};

std::int64_t BlocksOf(const Model& model, const BatcherOptions& options) {
  return options.kv_bytes / (model.info().kv_bytes_per_token * options.block_tokens);
}

metrics::Load LoadOf(const runtime::Scheduler& scheduler) {
  const kv::PagedMemory& memory = scheduler.memory();
  return {.running = scheduler.running(),
          .waiting = scheduler.waiting(),
          .blocks = memory.size(),
          .blocks_used = memory.used(),
          .blocks_cached = memory.idle()};
}

// What becomes of those in flight when the engine ends with `status`.
absl::Status Failed(const absl::Status& status) noexcept {
  try {
    return absl::UnavailableError(
        fmt::format("the engine failed: {}", std::string(status.message())));
  } catch (const std::bad_alloc&) {
    return base::StatusOf(absl::StatusCode::kUnavailable, status.message());
  }
}

metrics::Totals TotalsOf(const runtime::SchedulerCounters& counters) {
  const auto total = [](std::int64_t count) { return static_cast<std::uint64_t>(count); };
  return {.preemptions = total(counters.preemptions),
          .looked_up_tokens = total(counters.looked_up_tokens),
          .found_tokens = total(counters.found_tokens),
          .prompt_tokens = total(counters.prompt_tokens),
          .drawn_tokens = total(counters.drawn_tokens)};
}

}  // namespace

// Coming and going.

absl::StatusOr<std::shared_ptr<BatcherCore>> BatcherCore::Create(const Model& model,
                                                                 const BatcherOptions& options) {
  const std::int64_t pages_per_block = options.block_tokens / backend::kPageTokens;
  CODEGEN_ASSIGN_OR_RETURN(auto executor, model.state()->on_device.model->MakeExecutor(
                                              {.pages = BlocksOf(model, options) * pages_per_block,
                                               .rows = options.step_tokens,
                                               .logit_rows = options.max_batch}));
  return CreateOn(std::move(executor), model, options);
}

absl::StatusOr<std::shared_ptr<BatcherCore>> BatcherCore::CreateOn(
    std::unique_ptr<model::Executor> executor, const Model& model, const BatcherOptions& options) {
  std::shared_ptr<BatcherCore> core(new BatcherCore(model, options));
  CODEGEN_RETURN_IF_ERROR(core->Start(std::move(executor)));
  return core;
}

BatcherCore::BatcherCore(const Model& model, const BatcherOptions& options)
    : model_(model),
      options_(options),
      process_(::getpid()),
      intake_({.requests = options.queue_requests,
               .bytes = options.queue_bytes,
               .admission = options.admission}) {
  if (options_.trace) trace_ = std::make_shared<TraceOutput>(options_.trace);
}

runtime::SchedulerOptions BatcherCore::ForScheduler() const {
  const int blocks = static_cast<int>(BlocksOf(model_, options_));
  const int quota = static_cast<int>(options_.prefix_cache_quota * blocks);
  return {.max_batch = options_.max_batch,
          .step_tokens = options_.step_tokens,
          .kv_policy = options_.kv_policy,
          .policy = options_.policy,
          .ageing = options_.ageing,
          .memory = {.blocks = blocks,
                     .cache = {.block_tokens = options_.block_tokens, .quota = quota}}};
}

absl::Status BatcherCore::Start(std::unique_ptr<model::Executor> executor) {
  engine_ = std::make_unique<runtime::Engine>(ForScheduler(), std::move(executor), *this);
  CODEGEN_ASSIGN_OR_RETURN(delivery_, runtime::Delivery::Create());
  absl::Cleanup stop = [this] { delivery_->Stop(Time::max()); };
  CODEGEN_RETURN_IF_ERROR(StartWatchdog());
  CODEGEN_RETURN_IF_ERROR(StartEngine());
  std::move(stop).Cancel();
  return absl::OkStatus();
}

absl::Status BatcherCore::StartWatchdog() {
  CODEGEN_ASSIGN_OR_RETURN(watchdog_,
                           runtime::Watchdog::Create(options_.step_timeout, [this] { OnHang(); }));
  return absl::OkStatus();
}

// The thread shares the core, so that it can be left behind if its device hangs.
absl::Status BatcherCore::StartEngine() {
  try {
    engine_thread_ = std::thread([core = shared_from_this()] {
      std::fesetenv(FE_DFL_ENV);  // not that of whoever made the batcher
      core->RunEngine();
    });
  } catch (const std::exception&) {  // std::system_error or std::bad_alloc
    return base::NoMemory("the system refuses a thread for the engine");
  }
  return absl::OkStatus();
}

void BatcherCore::RunEngine() {
  engine_->Run();
  const base::MutexLock lock(mutex_);
  engine_ended_ = true;
  changed_.NotifyAll();
}

void BatcherCore::Shutdown() {
  {
    const base::MutexLock lock(mutex_);
    draining_ = true;
  }
  engine_->Stop(FinishReason::kCancelled,
                base::StatusOf(absl::StatusCode::kCancelled, "the batcher was destroyed"));
  bool ended = false;
  {
    const base::MutexLock lock(mutex_);
    while (!engine_ended_ && !hung_) changed_.Wait(mutex_);
    ended = engine_ended_;
  }
  if (engine_thread_.joinable()) ended ? engine_thread_.join() : engine_thread_.detach();
  delivery_->Stop(Clock::now() + kPatience);
}

absl::Status BatcherCore::Drain(Time deadline) try {
  std::size_t late = 0;
  {
    const base::MutexLock lock(mutex_);
    draining_ = true;
    while (!live_.empty() && Clock::now() < deadline) changed_.Wait(mutex_, deadline);
    late = live_.size();
  }
  if (late == 0) return absl::OkStatus();
  engine_->Post([](runtime::Scheduler& scheduler) {
    scheduler.EndAll(FinishReason::kCancelled,
                     absl::CancelledError("not done when the batcher had to be drained"));
  });
  const Time patience = Clock::now() + kPatience;
  const base::MutexLock lock(mutex_);
  while (!live_.empty() && Clock::now() < patience) changed_.Wait(mutex_, patience);
  return absl::DeadlineExceededError(
      fmt::format("{} requests were not done by the deadline and were cancelled", late));
} catch (const std::bad_alloc&) {
  return base::NoMemory("no memory to cancel what is late");
}

Health BatcherCore::health() const {
  const base::MutexLock lock(mutex_);
  if (!failure_.ok()) {
    return {.state = Health::State::kFailed,
            .reason = base::Unshared(failure_),
            .recreate = !hung_ && !absl::IsUnavailable(failure_)};
  }
  return {.state = draining_ ? Health::State::kDraining : Health::State::kServing};
}

// Submitting.

absl::StatusOr<std::shared_ptr<PendingRequest>> BatcherCore::Submit(Request request,
                                                                    Callbacks callbacks) try {
  CODEGEN_RETURN_IF_ERROR(CheckProcess());
  absl::StatusOr<runtime::Job> job = MakeJob(request);
  if (!job.ok()) {
    recorder_.Refused();
    return job.status();
  }
  PendingRequestOptions options{.samples = job->samples,
                                .prompt_tokens = static_cast<int>(job->prompt.size()),
                                .logprobs = request.logprobs,
                                .stop = std::move(request.stop),
                                .callbacks = std::move(callbacks),
                                .output_tokens = options_.output_tokens};
  const std::int64_t bytes =
      static_cast<std::int64_t>(job->prompt.size() * sizeof(TokenId) + request.prompt.size());
  return Admit(*std::move(job), std::move(options), bytes);
} catch (const std::bad_alloc&) {
  return base::NoMemory("no memory for the request");
}

absl::StatusOr<std::shared_ptr<PendingRequest>> BatcherCore::SubmitScore(
    std::span<const TokenId> ids, const std::string& cache_salt) try {
  CODEGEN_RETURN_IF_ERROR(CheckProcess());
  return Admit(MakeScoreJob(ids, cache_salt),
               {.prompt_tokens = static_cast<int>(ids.size()), .logprobs = true},
               static_cast<std::int64_t>(2 * ids.size_bytes()));
} catch (const std::bad_alloc&) {
  return base::NoMemory("no memory for the score");
}

absl::StatusOr<std::shared_ptr<PendingRequest>> BatcherCore::Admit(runtime::Job job,
                                                                   PendingRequestOptions options,
                                                                   std::int64_t bytes) {
  const base::MutexLock lock(mutex_);
  absl::Status status = CheckOpen();
  if (status.ok()) status = intake_.Check(job, bytes);
  if (!status.ok()) {
    recorder_.Refused();
    return status;
  }
  return Accept(std::move(job), std::move(options), bytes);
}

absl::Status BatcherCore::CheckProcess() const {
  if (::getpid() == process_) return absl::OkStatus();
  return absl::FailedPreconditionError("the batcher was made by the process that forked this");
}

absl::StatusOr<runtime::Job> BatcherCore::MakeJob(Request& request) const {
  const Model::State& state = *model_.state();
  CODEGEN_RETURN_IF_ERROR(CheckRequest(request, state.info.vocabulary));
  CODEGEN_ASSIGN_OR_RETURN(std::vector<TokenId> prompt,
                           PromptIds(request, state.tokenizer, state.info.vocabulary));
  const int length = static_cast<int>(prompt.size());
  if (length > options_.context_tokens) {
    return absl::InvalidArgumentError(
        fmt::format("prompt has {} tokens, the context holds {}", length, options_.context_tokens));
  }
  const int room = std::min(request.max_new_tokens, options_.context_tokens - length);
  if (!engine_->EverFits(length + room)) {
    return absl::InvalidArgumentError(
        fmt::format("prompt and max_new_tokens are {} tokens, more than BatcherOptions::kv_bytes "
                    "can ever hold",
                    length + room));
  }
  const Time arrival = Clock::now();
  sample::Penalties penalties(request, prompt, state.sampled_vocabulary);
  return runtime::Job{
      .prompt = std::move(prompt),
      .new_tokens = room,
      .samples = request.n,
      .sampling = {.temperature = request.temperature,
                   .top_k = request.top_k,
                   .top_p = request.top_p,
                   .min_p = request.min_p,
                   .seed = request.seed,
                   .vocabulary = state.sampled_vocabulary,
                   .logprob = request.logprobs},
      .penalties = std::move(penalties),
      .stop_tokens = request.stop.tokens,
      .end_of_text = request.stop.ignore_eos ? std::vector<TokenId>() : state.end_of_text,
      .priority = request.priority,
      .cache_salt = std::move(request.cache_salt),
      .arrival = arrival,
      .first_token_by = request.first_token_by,
      .done_by = DoneBy(request.done_by, arrival)};
}

// The last id is given, but nothing is computed of it.
runtime::Job BatcherCore::MakeScoreJob(std::span<const TokenId> ids,
                                       const std::string& cache_salt) const {
  CODEGEN_DCHECK(ids.size() >= 2);
  const Time arrival = Clock::now();
  return {.prompt = {ids.begin(), ids.end() - 1},
          .new_tokens = 0,
          .sampling = {.vocabulary = model_.info().vocabulary, .logprob = true},
          .given = {ids.begin() + 1, ids.end()},
          .cache_salt = cache_salt,
          .arrival = arrival,
          .done_by = DoneBy(Time::max(), arrival)};
}

Time BatcherCore::DoneBy(Time asked, Time arrival) const {
  const bool limited = asked == Time::max() && options_.default_timeout.count() > 0;
  return limited ? arrival + options_.default_timeout : asked;
}

absl::Status BatcherCore::CheckOpen() const {
  if (!failure_.ok()) {
    return absl::FailedPreconditionError(
        fmt::format("the engine has failed: {}", std::string(failure_.message())));
  }
  if (draining_) return absl::UnavailableError("the batcher is draining and takes no new requests");
  return absl::OkStatus();
}

// Ids and commands must come in the same order, hence under the lock.
std::shared_ptr<PendingRequest> BatcherCore::Accept(runtime::Job job, PendingRequestOptions options,
                                                    std::int64_t bytes) {
  job.id = ++last_id_;
  options.id = job.id;
  auto request =
      std::make_shared<PendingRequest>(std::move(options), model_.tokenizer(), weak_from_this());
  live_.emplace(job.id, Live{.request = request, .place = intake_.Join(job, bytes)});
  absl::Cleanup forget = [this, id = job.id]() ABSL_NO_THREAD_SAFETY_ANALYSIS { Forget(id); };
  Event end{.id = {job.id, 0}, .kind = Event::Kind::kEnd};
  end.timeline.queued = job.arrival;
  if (job.new_tokens == 0 && job.given.empty()) {
    EndAtOnce(*request, end);
  } else if (!engine_->Post(
                 [job = std::make_shared<runtime::Job>(std::move(job))](
                     runtime::Scheduler& scheduler) { scheduler.Add(std::move(*job)); })) {
    end.reason = FinishReason::kError;
    end.status = absl::UnavailableError("the engine has just ended");
    EndAtOnce(*request, end);
  }
  std::move(forget).Cancel();
  recorder_.Accepted();
  return request;
}

void BatcherCore::Forget(RequestId request) {
  const auto found = live_.find(request);
  if (found == live_.end()) return;
  intake_.Leave(found->second.place);
  live_.erase(found);
}

// Ends a request in the engine's stead.
void BatcherCore::EndAtOnce(PendingRequest& request, Event end) {
  bool schedule = false;
  for (int i = 0; i < request.samples(); ++i) {
    end.id = {request.id(), i};
    schedule |= request.Post(end);
  }
  if (schedule) delivery_->Schedule(request.shared_from_this());
}

void BatcherCore::EndAllAtOnce(const absl::Status& status) {
  for (auto& [id, live] : live_)
    EndAtOnce(*live.request,
              {.kind = Event::Kind::kEnd, .reason = FinishReason::kError, .status = status});
}

// From requests to the engine.

void BatcherCore::End(RequestId request, FinishReason reason, const absl::Status& status) noexcept {
  try {
    engine_->Post([request, reason, own = base::Unshared(status)](runtime::Scheduler& scheduler) {
      scheduler.End(request, reason, own);
    });
  } catch (const std::bad_alloc&) {  // it goes on; whoever gave it up will not hear of it
  }
}

void BatcherCore::Drop(runtime::SampleId id) {
  engine_->Post([id](runtime::Scheduler& scheduler) { scheduler.Drop(id); });
}

void BatcherCore::Resume(runtime::SampleId id) {
  engine_->Post([id](runtime::Scheduler& scheduler) { scheduler.Resume(id); });
}

void BatcherCore::OnCompleted(RequestId request, const Completion& completion) {
  recorder_.Finished({.reason = completion.finish_reason, .timeline = completion.timeline});
  if (!trace_) return;
  trace_->Post([&] { return metrics::RequestEvents(request, completion.timeline); }, *delivery_);
}

void BatcherCore::OnDelivered(RequestId request) {
  const base::MutexLock lock(mutex_);
  Forget(request);
  changed_.NotifyAll();
}

// From the engine to requests.

void BatcherCore::OnEvents(std::span<const Event> events, runtime::Scheduler& scheduler) {
  for (const Event& event : events) Measure(event);
  to_schedule_.clear();
  to_schedule_.reserve(events.size());  // none is forgotten for want of memory
  unwanted_.clear();
  {
    const base::MutexLock lock(mutex_);
    for (const Event& event : events) {
      const auto found = live_.find(event.id.request);
      if (found == live_.end()) {
        unwanted_.push_back(event.id.request);
        continue;
      }
      Note(event, found->second);
      PendingRequest& request = *found->second.request;
      if (request.Post(event)) to_schedule_.push_back(found->second.request);
      if (event.kind == Event::Kind::kToken && request.LagsBehind(event.id.sample))
        scheduler.Pause(event.id);
    }
  }
  for (auto& request : to_schedule_) delivery_->Schedule(std::move(request));
  for (const RequestId request : unwanted_)
    scheduler.End(request, FinishReason::kCancelled, absl::OkStatus());
}

// What leaves the queue, and what has its first token, no longer counts for those that come.
void BatcherCore::Note(const Event& event, Live& live) {
  if (event.kind == Event::Kind::kStart) {
    intake_.Start(live.place);
  } else {
    intake_.Leave(live.place);
  }
}

void BatcherCore::Measure(const Event& event) {
  if (event.kind != Event::Kind::kToken) return;
  if (event.since_last > Time::duration()) {
    recorder_.Token(Seconds(event.since_last));
  } else if (event.id.sample == 0) {
    recorder_.FirstToken(event.timeline);
  }
}

void BatcherCore::OnStepBegin() { watchdog_->Begin(); }

void BatcherCore::OnStepEnd(const runtime::StepReport& report,
                            const runtime::Scheduler& scheduler) {
  watchdog_->End();
  const double seconds = Seconds(report.end - report.begin);
  recorder_.Step({.seconds = seconds,
                  .rows = report.rows,
                  .samples = report.samples,
                  .load = LoadOf(scheduler),
                  .totals = TotalsOf(scheduler.counters())});
  {
    const base::MutexLock lock(mutex_);
    intake_.Observe(seconds, report.prompt_rows);
  }
  if (trace_) {
    const auto event = [&] {
      return std::vector{metrics::StepEvent(report.begin, report.end, report.rows, report.samples)};
    };
    trace_->Post(event, *delivery_);
  }
}

void BatcherCore::OnIdle(const runtime::Scheduler& scheduler) {
  recorder_.Gauges(LoadOf(scheduler));
}

void BatcherCore::OnFailure(const absl::Status& status) {
  const base::MutexLock lock(mutex_);
  failure_ = base::Unshared(status);
  EndAllAtOnce(Failed(status));
}

// The engine's thread does not come back from its step. What lives ends here in its stead.
void BatcherCore::OnHang() {
  const absl::Status hung = absl::UnavailableError(
      fmt::format("the engine failed: a step took longer than BatcherOptions::step_timeout, {} ms",
                  options_.step_timeout.count()));
  engine_->Stop(FinishReason::kError, hung);
  const base::MutexLock lock(mutex_);
  failure_ = base::Unshared(hung);
  hung_ = true;
  EndAllAtOnce(hung);
  changed_.NotifyAll();
}

}  // namespace codegen::api
