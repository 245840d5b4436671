// SPDX-License-Identifier: Apache-2.0
//
// One thread submits: in a closed loop it waits for one of the clients' places to become free, in
// an open one for the time of the next arrival. Everything else happens in the batcher's callbacks.
#include "load_generator.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <limits>
#include <mutex>
#include <random>
#include <thread>
#include <utility>

namespace cli {
namespace {

using Clock = std::chrono::steady_clock;
using Seconds = std::chrono::duration<double>;

Clock::duration ToTicks(double seconds) {
  return std::chrono::duration_cast<Clock::duration>(Seconds(seconds));
}

// Requests between Submit and their end.
class InFlight {
 public:
  explicit InFlight(int most) : most_(most) {}

  // Waits until there are fewer than `most`.
  void Enter() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return count_ < most_; });
    ++count_;
  }

  void Leave() {
    const std::lock_guard lock(mutex_);
    --count_;
    changed_.notify_all();  // with the lock held: who waits may destroy this once there are none
  }

  void WaitForNone() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return count_ == 0; });
  }

 private:
  const int most_;
  std::mutex mutex_;
  std::condition_variable changed_;
  int count_ = 0;  // guarded by mutex_
};

// Looks at the batcher from time to time: for gauges, which have no history, and the progress.
class Monitor {
 public:
  Monitor(const codegen::Batcher& batcher, std::function<void(const codegen::Metrics&)> look)
      : thread_([&batcher, look = std::move(look)](const std::stop_token& stop) {
          constexpr std::chrono::milliseconds kInterval(10);
          for (; !stop.stop_requested(); std::this_thread::sleep_for(kInterval))
            look(batcher.metrics());
        }) {}

 private:
  std::jthread thread_;
};

void RecordChunk(const codegen::Chunk& chunk, ClientRecord& record) {
  if (chunk.token_ids.empty()) return;
  const codegen::Time now = Clock::now();
  if (record.tokens == 0) {
    record.first_token = now;
  } else {
    record.gaps_s.push_back(Seconds(now - record.last_token).count());
  }
  record.gaps_s.resize(record.gaps_s.size() + chunk.token_ids.size() - 1);
  record.tokens += static_cast<int>(chunk.token_ids.size());
  record.last_token = now;
}

bool IsOverload(const absl::Status& status) {
  return absl::IsResourceExhausted(status) || absl::IsDeadlineExceeded(status);
}

class Generator {
 public:
  Generator(codegen::Batcher& batcher, const Workload& workload, const Flags& flags,
            const LoadPoint& point)
      : batcher_(batcher),
        workload_(workload),
        flags_(flags),
        point_(point),
        in_flight_(point.clients > 0 ? point.clients : std::numeric_limits<int>::max()) {}

  // Returns the records once all requests have ended.
  absl::StatusOr<std::vector<std::unique_ptr<ClientRecord>>> Run() {
    point_.clients > 0 ? RunClosedLoop() : RunOpenLoop();
    in_flight_.WaitForNone();
    const std::lock_guard lock(mutex_);
    if (!failure_.ok()) return failure_;
    return std::move(records_);
  }

  // The share of the work that is done after `finished` requests. May be called beside Run.
  double Progress(std::uint64_t finished) const {
    const LoadTest& test = flags_.load_test;
    return test.requests > 0 ? static_cast<double>(finished) / test.requests
                             : Seconds(Clock::now() - start_).count() / test.seconds;
  }

 private:
  void RunClosedLoop() {
    for (std::uint64_t i = 0; true; ++i) {
      in_flight_.Enter();
      if (IsOver(i, Clock::now())) return in_flight_.Leave();
      Submit(i, Clock::now());
    }
  }

  void RunOpenLoop() {
    std::mt19937_64 random(flags_.load_test.seed);
    std::exponential_distribution<double> pause(point_.rate);
    codegen::Time arrival = start_;
    for (std::uint64_t i = 0; !IsOver(i, arrival); ++i) {
      std::this_thread::sleep_until(arrival);
      in_flight_.Enter();
      Submit(i, arrival);
      arrival += ToTicks(pause(random));
    }
  }

  // Whether the i-th request, asked at `time`, is not to be made any more.
  bool IsOver(std::uint64_t i, codegen::Time time) {
    const LoadTest& test = flags_.load_test;
    const std::lock_guard lock(mutex_);
    if (!failure_.ok()) return true;
    return test.requests > 0 ? std::cmp_greater_equal(i, test.requests)
                             : time >= start_ + ToTicks(test.seconds);
  }

  void Submit(std::uint64_t i, codegen::Time asked) {
    ClientRecord& record = *records_.emplace_back(std::make_unique<ClientRecord>());
    record.asked = asked;
    codegen::Request request = workload_.At(i);
    request.done_by = Deadline(asked);
    absl::StatusOr<codegen::Handle> handle =
        batcher_.Submit(std::move(request), CallbacksFor(record));
    if (handle.ok()) return handle->Detach();
    if (!IsOverload(handle.status())) Fail(handle.status());
    in_flight_.Leave();
  }

  codegen::Callbacks CallbacksFor(ClientRecord& record) {
    return {.on_chunk =
                [&record](const codegen::Chunk& chunk) {
                  RecordChunk(chunk, record);
                  return codegen::Next::kContinue;
                },
            .on_done =
                [this, &record](const codegen::Completion& completion) {
                  record.done = Clock::now();
                  record.in_time = completion.status.ok() && record.done <= Deadline(record.asked);
                  if (!completion.status.ok() && !IsOverload(completion.status))
                    Fail(completion.status);
                  in_flight_.Leave();
                }};
  }

  codegen::Time Deadline(codegen::Time asked) const {
    const int limit_ms = flags_.deadline_ms;
    return limit_ms > 0 ? asked + std::chrono::milliseconds(limit_ms) : codegen::Time::max();
  }

  void Fail(const absl::Status& status) {
    const std::lock_guard lock(mutex_);
    failure_.Update(status);
  }

  codegen::Batcher& batcher_;
  const Workload& workload_;
  const Flags& flags_;
  const LoadPoint point_;
  InFlight in_flight_;
  const codegen::Time start_ = Clock::now();
  std::vector<std::unique_ptr<ClientRecord>> records_;

  std::mutex mutex_;
  absl::Status failure_;  // of the first request that failed; guarded by mutex_
};

// The first step of a batcher touches its memory for the first time; nobody is to wait for that.
// What this leaves in the cache is for nobody else.
absl::Status WarmUp(codegen::Batcher& batcher, const Workload& workload) {
  codegen::Request request = workload.At(0);
  request.max_new_tokens = std::min(request.max_new_tokens, 2);
  request.cache_salt = "warm-up";
  absl::StatusOr<codegen::Handle> handle = batcher.Submit(std::move(request));
  return handle.ok() ? handle->Wait().status : handle.status();
}

codegen::BatcherOptions OptionsFor(const Flags& flags, const LoadPoint& point) {
  codegen::BatcherOptions options = flags.load_test.batcher;
  options.step_tokens = std::max(options.step_tokens, options.max_batch);
  options.queue_requests = std::max(options.queue_requests, point.clients);
  return options;
}

double Ratio(double part, double whole) { return whole > 0 ? part / whole : 0; }

// Adds what the batcher counted between two moments.
void AddCounters(const codegen::Metrics& before, const codegen::Metrics& after,
                 LoadResult& result) {
  const codegen::Histogram& batch = after.batch_size;
  result.batch_size = Ratio(batch.sum - before.batch_size.sum,
                            static_cast<double>(batch.count - before.batch_size.count));
  result.preemptions = after.preemptions - before.preemptions;
  result.prefix_hit_rate =
      Ratio(static_cast<double>(after.prefix_cache_hits - before.prefix_cache_hits),
            static_cast<double>(after.prefix_cache_queries - before.prefix_cache_queries));
}

double SecondsOf(const std::vector<std::unique_ptr<ClientRecord>>& records) {
  if (records.empty()) return 0;
  codegen::Time last = records.front()->asked;
  for (const auto& record : records) last = std::max({last, record->asked, record->done});
  return Seconds(last - records.front()->asked).count();
}

std::uint64_t Finished(const codegen::Metrics& metrics) {
  std::uint64_t sum = 0;
  for (const std::uint64_t count : metrics.requests_finished) sum += count;
  return sum;
}

}  // namespace

absl::StatusOr<LoadResult> RunLoad(const codegen::Model& model, const Workload& workload,
                                   const Flags& flags, const LoadPoint& point,
                                   const LoadProgress& progress) {
  const absl::StatusOr<std::unique_ptr<codegen::Batcher>> batcher =
      codegen::Batcher::Create(model, OptionsFor(flags, point));
  if (!batcher.ok()) return batcher.status();
  if (const absl::Status status = WarmUp(**batcher, workload); !status.ok()) return status;

  LoadResult result{.point = point};
  const codegen::Metrics before = (*batcher)->metrics();
  Generator generator(**batcher, workload, flags, point);
  absl::StatusOr<std::vector<std::unique_ptr<ClientRecord>>> records;
  {
    const Monitor monitor(**batcher, [&](const codegen::Metrics& now) {
      result.kv_usage = std::max(result.kv_usage, now.kv_usage);
      const std::uint64_t finished = Finished(now) - Finished(before);
      progress(generator.Progress(finished),
               fmt::format("{} running, {} waiting, {} done", now.requests_running,
                           now.requests_waiting, finished));
    });
    records = generator.Run();
  }
  if (!records.ok()) return records.status();
  result.records = *std::move(records);
  result.seconds = SecondsOf(result.records);
  AddCounters(before, (*batcher)->metrics(), result);
  return result;
}

}  // namespace cli
