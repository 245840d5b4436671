// SPDX-License-Identifier: Apache-2.0
//
// What a request gets depends on the request alone. Twenty thousand requests run on the real
// engine, a few dozen at a time, in an order, with lengths, salts, priorities, cancellations and a
// shortage of memory that come from a seeded random source; each must get, byte for byte, what a
// session alone gives for it, or a beginning of that if it was cancelled.
#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "api/tiny_models.h"
#include "codegen/batcher.h"
#include "codegen/session.h"
#include "support/sanitizers.h"

namespace codegen {
namespace {

constexpr bool kSanitized = sanitizers::kAny;
#ifdef CODEGEN_EMULATED
constexpr bool kEmulated = true;
#else
constexpr bool kEmulated = false;
#endif

// Of each format.
constexpr int kRequests = kEmulated ? (kSanitized ? 40 : 150) : (kSanitized ? 400 : 5000);

std::vector<WeightFormat> Formats() {
  using enum WeightFormat;
  if (kEmulated && kSanitized) return {kBf16, kInt4};
  return {kF32, kBf16, kF16, kInt8, kInt4};
}

constexpr int kKinds = 60;  // different requests
constexpr std::size_t kInFlight = 48;

struct Kind {
  Request request;
  std::vector<TokenId> expected;
};

Request RandomRequest(std::mt19937& random) {
  const auto below = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
  // Prompts share beginnings, so that they find each other in the cache.
  std::vector<TokenId> prompt(static_cast<std::size_t>(1 + below(45)), below(3));
  for (int i = below(6); i > 0; --i) prompt.push_back(below(13));
  return {.prompt_ids = std::move(prompt),
          .max_new_tokens = 1 + below(14),
          .temperature = below(2) == 0 ? 0.0F : 1.3F,
          .top_k = below(2) * 5,
          .repetition_penalty = below(3) == 0 ? 1.5F : 1.0F,
          .frequency_penalty = below(3) == 0 ? 0.5F : 0.0F,
          .seed = random(),
          .stop = {.tokens = {below(13)}, .ignore_eos = below(2) == 0},
          .priority = below(3) - 1,
          .cache_salt = below(4) == 0 ? "other" : ""};
}

std::vector<Kind> MakeKinds(const Model& model, std::mt19937& random) {
  absl::StatusOr<Session> session = Session::Create(model);
  std::vector<Kind> kinds(kKinds);
  for (Kind& kind : kinds) {
    kind.request = RandomRequest(random);
    const absl::StatusOr<Completion> completion = session->Complete(kind.request);
    EXPECT_TRUE(completion.ok()) << completion.status();
    kind.expected = completion->token_ids;
  }
  return kinds;
}

struct Running {
  Handle handle;
  const Kind* kind;
};

// Whether the request got what is its own.
bool GotItsOwn(Running& running) {
  const Completion& completion = running.handle.Wait();
  const std::vector<TokenId>& expected = running.kind->expected;
  if (completion.finish_reason != FinishReason::kCancelled)
    return completion.status.ok() && completion.token_ids == expected;
  return completion.token_ids.size() <= expected.size() &&
         std::equal(completion.token_ids.begin(), completion.token_ids.end(), expected.begin());
}

class Neighbours : public ::testing::TestWithParam<WeightFormat> {};

TEST_P(Neighbours, ChangeNothing) {
  testing::TempFolder folder;
  testing::WriteSineFolder(folder, 12);
  LoadOptions options;  // GCC 12 warns of a temporary's
  options.weights = GetParam();
  options.threads = 2;
  const absl::StatusOr<Model> model =
      Model::Load(folder.path(), testing::OnTestDevice(std::move(options)));
  ASSERT_TRUE(model.ok()) << model.status();
  std::mt19937 random(20261123);
  const std::vector<Kind> kinds = MakeKinds(*model, random);
  const std::int64_t context_bytes = 64 * model->info().kv_bytes_per_token;
  const absl::StatusOr<std::unique_ptr<Batcher>> batcher =
      Batcher::Create(*model, {.max_batch = 24, .step_tokens = 100, .kv_bytes = 8 * context_bytes});
  ASSERT_TRUE(batcher.ok()) << batcher.status();

  int wrong = 0;
  std::deque<Running> running;
  for (int i = 0; i < kRequests; ++i) {
    const Kind& kind = kinds[random() % kinds.size()];
    absl::StatusOr<Handle> handle = (*batcher)->Submit(kind.request);
    ASSERT_TRUE(handle.ok()) << handle.status();
    running.push_back({*std::move(handle), &kind});
    if (random() % 10 == 0) running[random() % running.size()].handle.Cancel();
    if (running.size() < kInFlight) continue;
    wrong += GotItsOwn(running.front()) ? 0 : 1;
    running.pop_front();
  }
  for (Running& left : running) wrong += GotItsOwn(left) ? 0 : 1;

  EXPECT_EQ(wrong, 0);
  // Nothing of this would mean much if they had run one by one.
  const Metrics metrics = (*batcher)->metrics();
  // Of the few requests of an emulated GPU under a sanitizer none need lose its memory.
  if (kRequests >= 100) {
    EXPECT_GT(metrics.preemptions, 0U);
  }
  EXPECT_GT(metrics.prefix_cache_hits, kRequests / 50U);
  EXPECT_GT(metrics.requests_finished[static_cast<std::size_t>(FinishReason::kCancelled)], 0U);
  EXPECT_GT(metrics.batch_size.sum / static_cast<double>(metrics.batch_size.count), 4.0);
}

INSTANTIATE_TEST_SUITE_P(Formats, Neighbours, ::testing::ValuesIn(Formats()),
                         [](const auto& format) {
                           return std::string(WeightFormatName(format.param));
                         });

}  // namespace
}  // namespace codegen
