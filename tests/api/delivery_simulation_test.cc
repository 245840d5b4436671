// SPDX-License-Identifier: Apache-2.0
//
// Requests between a scheduler and their hosts, through simulated days: everything is what is
// shipped but the device, whose tokens are a function of sample and place, and the threads, whose
// turns a seed decides: when the engine steps, when a request receives, and what its callback does
// (reads, is slow, cancels itself or another, throws). Whatever happens,
//
//   - every request completes once, after its last chunk;
//   - its chunks are the tokens of its completion, in order, none twice and none lost;
//   - its tokens are the first of its own, whatever others do;
//   - no callback lags further behind than it may, and what lags comes to an end all the same.
//
// A day again: CODEGEN_SIMULATION_SEEDS=first:count.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "api/pending_request.h"
#include "runtime/delivery.h"
#include "runtime/scheduler.h"
#include "support/sanitizers.h"

namespace codegen::api {
namespace {

using runtime::Event;
using runtime::RequestId;
using runtime::SampleId;

TokenId TokenOf(SampleId id, int place) {
  return static_cast<TokenId>((id.request * 7919 + static_cast<RequestId>(id.sample) * 104'729 +
                               static_cast<RequestId>(place) * 31) %
                              1000);
}

// What a host got of one request.
struct Host {
  std::shared_ptr<PendingRequest> request;
  int samples = 1;
  int new_tokens = 0;
  int misbehaves_at = -1;  // the chunk at which its callback does what `how` says
  enum class How { kCancels, kThrows, kThrowsNoException, kCancelsAnother } how = How::kCancels;
  bool streams = false;
  std::map<int, int> posted;  // tokens of each sample
  std::map<int, std::vector<TokenId>> chunks;
  int called = 0;
  bool misbehaved = false;
  int done = 0;
  Completion completion;
};

// Then requests have to end by themselves.
constexpr int kMeddlesUntil = 300;

class Day final : public RequestOwner {
 public:
  Day(std::uint64_t seed, runtime::Delivery& delivery)
      : random_(seed),
        output_tokens_(Between(1, 8)),
        scheduler_({.max_batch = Between(1, 6),
                    .step_tokens = Between(8, 40),
                    .kv_policy = Between(0, 1) == 0 ? KvPolicy::kPreempt : KvPolicy::kReserve,
                    .memory = {.blocks = Between(2, 10), .cache = {.block_tokens = 16}}}),
        delivery_(delivery) {}

  void Run() {
    const int requests = Between(1, 12);
    while (static_cast<int>(hosts_.size()) < requests || !scheduler_.empty() ||
           !scheduled_.empty()) {
      if (::testing::Test::HasFailure()) return;
      ASSERT_LT(++turns_, 20'000) << "it does not come to an end";
      switch (Between(0, 4)) {
        case 0:
          if (static_cast<int>(hosts_.size()) < requests) Submit();
          break;
        case 1:
          if (turns_ < kMeddlesUntil && Between(0, 20) == 0) Meddle();
          break;
        case 2:
          Step();
          break;
        default:
          Receive();
      }
    }
    for (const auto& host : hosts_) ExpectWhole(*host);
  }

  // RequestOwner. What comes from a callback reaches the scheduler before its next step.
  void End(RequestId request, FinishReason reason, const absl::Status& status) noexcept override {
    posted_.push_back(
        [=](runtime::Scheduler& scheduler) { scheduler.End(request, reason, status); });
  }
  void Drop(SampleId id) override {
    posted_.push_back([=](runtime::Scheduler& scheduler) { scheduler.Drop(id); });
  }
  void Resume(SampleId id) override {
    posted_.push_back([=](runtime::Scheduler& scheduler) { scheduler.Resume(id); });
  }
  void OnCompleted(RequestId, const Completion&) override {}
  void OnDelivered(RequestId request) override { ++delivered_[request]; }

 private:
  int Between(int least, int most) {
    return std::uniform_int_distribution<int>(least, most)(random_);
  }

  void Submit() {
    auto host = std::make_unique<Host>();
    host->samples = Between(0, 3) == 0 ? Between(2, 3) : 1;
    host->new_tokens = Between(1, 20);
    if (Between(0, 2) == 0) {
      host->misbehaves_at = Between(0, 6);
      host->how = static_cast<Host::How>(Between(0, 3));
    }
    const RequestId id = hosts_.size() + 1;
    Host* const raw = host.get();
    PendingRequestOptions options{
        .id = id, .samples = host->samples, .prompt_tokens = 5, .output_tokens = output_tokens_};
    raw->streams = Between(0, 3) > 0;  // else it is fetched in the end
    if (raw->streams)
      options.callbacks.on_chunk = [this, raw](const Chunk& chunk) { return OnChunk(*raw, chunk); };
    options.callbacks.on_done = [raw](const Completion& completion) {
      ++raw->done;
      raw->completion = completion;
    };
    host->request = std::make_shared<PendingRequest>(std::move(options), std::nullopt, AsOwner());
    hosts_.push_back(std::move(host));
    scheduler_.Add({.id = id,
                    .prompt = std::vector<TokenId>(5, static_cast<TokenId>(id)),
                    .new_tokens = raw->new_tokens,
                    .samples = raw->samples,
                    .arrival = now_,
                    .done_by = Between(0, 5) == 0 ? now_ + std::chrono::milliseconds(Between(1, 60))
                                                  : Time::max()});
    PassOn();
  }

  // The day is on the stack and outlives its requests.
  std::shared_ptr<RequestOwner> AsOwner() { return self_; }

  Next OnChunk(Host& host, const Chunk& chunk) {
    EXPECT_EQ(host.done, 0) << "a chunk after the completion";
    auto& tokens = host.chunks[chunk.sample];
    tokens.insert(tokens.end(), chunk.token_ids.begin(), chunk.token_ids.end());
    if (host.called++ != host.misbehaves_at) return Next::kContinue;
    host.misbehaved = host.how != Host::How::kCancelsAnother;
    switch (host.how) {
      case Host::How::kCancels:
        return Next::kCancel;
      case Host::How::kThrows:
        throw std::runtime_error("as planned");
      case Host::How::kThrowsNoException:
        throw 42;
      case Host::How::kCancelsAnother:
        hosts_[static_cast<std::size_t>(Between(0, static_cast<int>(hosts_.size()) - 1))]
            ->request->Cancel();
    }
    return Next::kContinue;
  }

  void Meddle() {
    if (hosts_.empty()) return;
    Host& host = *hosts_[static_cast<std::size_t>(Between(0, static_cast<int>(hosts_.size()) - 1))];
    host.request->Cancel();
  }

  void Step() {
    for (const auto& command : std::exchange(posted_, {})) command(scheduler_);
    PassOn();
    now_ += std::chrono::milliseconds(1);
    const runtime::StepPlan& plan = scheduler_.Plan(now_);
    PassOn();
    std::vector<backend::SampledToken> drawn;
    for (const runtime::StepPlan::Entry& entry : plan.entries()) {
      if (entry.draws && entry.sequence != nullptr)
        drawn.push_back({.id = TokenOf(entry.sequence->id, entry.sequence->drawn())});
      else if (entry.draws)
        drawn.push_back({.id = 0});
    }
    scheduler_.Apply(drawn, now_);
    PassOn();
  }

  // As BatcherCore does.
  void PassOn() {
    const std::vector<Event> events = scheduler_.events();
    scheduler_.ClearEvents();
    for (const Event& event : events) {
      PendingRequest& request = *hosts_[event.id.request - 1]->request;
      if (request.Post(event)) scheduled_.push_back(event.id.request);
      if (event.kind != Event::Kind::kToken) continue;
      ++hosts_[event.id.request - 1]->posted[event.id.sample];
      if (request.LagsBehind(event.id.sample)) scheduler_.Pause(event.id);
      ExpectNoLag(*hosts_[event.id.request - 1], event.id.sample);
    }
  }

  void Receive() {
    if (scheduled_.empty()) return;
    const auto turn = scheduled_.begin() + Between(0, static_cast<int>(scheduled_.size()) - 1);
    const RequestId id = *turn;
    scheduled_.erase(turn);
    hosts_[id - 1]->request->Receive(delivery_);
  }

  void ExpectNoLag(Host& host, int sample) {
    if (!host.streams || host.misbehaved || host.done > 0) return;
    ASSERT_LE(host.posted[sample] - static_cast<int>(host.chunks[sample].size()), output_tokens_);
  }

  void ExpectWhole(Host& host) {
    const RequestId id = host.request->id();
    ASSERT_EQ(host.done, 1) << "request " << id;
    ASSERT_EQ(delivered_[id], 1) << "request " << id;
    while (const std::optional<Chunk> chunk = host.request->NextChunk(Time())) {
      auto& tokens = host.chunks[chunk->sample];
      tokens.insert(tokens.end(), chunk->token_ids.begin(), chunk->token_ids.end());
    }
    ASSERT_EQ(host.completion.more.size() + 1, static_cast<std::size_t>(host.samples));
    for (int i = 0; i < host.samples; ++i) {
      const Sample& sample =
          i == 0 ? host.completion : host.completion.more[static_cast<std::size_t>(i) - 1];
      ExpectOwnTokens({id, i}, sample.token_ids);
      ExpectEnd(host, sample);
      const auto& chunks = host.chunks[i];
      if (host.misbehaved) {
        ASSERT_LE(chunks.size(), sample.token_ids.size());
        ASSERT_TRUE(std::equal(chunks.begin(), chunks.end(), sample.token_ids.begin()));
      } else {
        ASSERT_EQ(chunks, sample.token_ids) << "request " << id << " sample " << i;
      }
    }
  }

  void ExpectOwnTokens(SampleId id, const std::vector<TokenId>& tokens) {
    for (std::size_t i = 0; i < tokens.size(); ++i)
      ASSERT_EQ(tokens[i], TokenOf(id, static_cast<int>(i))) << "request " << id.request;
  }

  void ExpectEnd(const Host& host, const Sample& sample) {
    const bool throws = host.misbehaved && host.how != Host::How::kCancels;
    if (throws) {
      ASSERT_EQ(sample.finish_reason, FinishReason::kError);
      ASSERT_TRUE(absl::IsUnknown(host.completion.status)) << host.completion.status;
    } else if (sample.finish_reason == FinishReason::kLength) {
      ASSERT_EQ(static_cast<int>(sample.token_ids.size()), host.new_tokens);
    } else {
      ASSERT_TRUE(sample.finish_reason == FinishReason::kCancelled ||
                  sample.finish_reason == FinishReason::kDeadline)
          << FinishReasonName(sample.finish_reason);
      ASSERT_FALSE(host.completion.status.ok());
    }
  }

  std::mt19937_64 random_;
  const int output_tokens_;
  runtime::Scheduler scheduler_;
  runtime::Delivery& delivery_;  // of which only calls into the host are used
  std::shared_ptr<RequestOwner> self_{this, [](RequestOwner*) {}};
  Time now_{std::chrono::hours(1)};
  std::vector<std::unique_ptr<Host>> hosts_;
  std::vector<RequestId> scheduled_;
  std::vector<std::function<void(runtime::Scheduler&)>> posted_;
  std::map<RequestId, int> delivered_;
  int turns_ = 0;
};

TEST(DeliverySimulation, HoldsItsInvariantsOverSeeds) {
  std::uint64_t first = 1, count = sanitizers::kAny ? 300 : 20'000;
  if (const char* const asked = std::getenv("CODEGEN_SIMULATION_SEEDS")) {
    char colon = ' ';
    std::istringstream(asked) >> first >> colon >> count;
  }
  const std::shared_ptr<runtime::Delivery> delivery = *runtime::Delivery::Create();
  for (std::uint64_t seed = first; seed < first + count; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Day(seed, *delivery).Run();
    if (HasFailure()) break;
  }
  delivery->Stop(Time::max());
}

}  // namespace
}  // namespace codegen::api
