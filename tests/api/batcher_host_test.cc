// SPDX-License-Identifier: Apache-2.0
//
// A batcher inside processes that do as they please: fork, exit, signals, small stacks. Row ids are
// those of the catalogue of hostile inputs.
#include <gtest/gtest.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdlib>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "api/batcher_testing.h"
#include "codegen/batcher.h"
#include "support/sanitizers.h"

namespace codegen {
namespace {

using testing::Alone;
using testing::Endless;
using testing::NewBatcher;

// Exits with requests running, and a batcher that only static destruction destroys.
[[noreturn]] void ExitInTheMiddle() {
  static const std::unique_ptr<Batcher> batcher = NewBatcher(testing::TinyModel());
  static std::vector<Handle> handles;
  for (int i = 0; i < 50; ++i) handles.push_back(*batcher->Submit(Endless(50)));
  std::exit(0);
}

TEST(BatcherInAHost, L14ExitWithALiveEngineIsHarmless) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(ExitInTheMiddle(), ::testing::ExitedWithCode(0), "");
}

TEST(BatcherInAHost, L15AForkedChildIsRefusedAndItsEndIsHarmless) {
  const Model model = testing::TinyModel();
  const auto batcher = NewBatcher(model);
  absl::StatusOr<Handle> handle = batcher->Submit(Endless(50));

  const pid_t child = ::fork();
  if (child == 0) {
    const absl::Status status = batcher->Submit(Endless(3)).status();
    ::_exit(absl::IsFailedPrecondition(status) ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);

  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  EXPECT_EQ(handle->Wait().token_ids, Alone(model, Endless(50)));
}

TEST(BatcherInAHost, L16SignalsDoNotDisturb) {
  struct sigaction action = {};
  struct sigaction before = {};
  action.sa_handler = [](int) {};  // without SA_RESTART: system calls are interrupted
  ASSERT_EQ(::sigaction(SIGUSR1, &action, &before), 0);
  const Model model = testing::TinyModel();
  const auto batcher = NewBatcher(model);
  std::atomic<bool> stop = false;
  std::thread storm([&] {
    while (!stop) ::kill(::getpid(), SIGUSR1);
  });

  for (int i = 0; i < 20; ++i)
    EXPECT_EQ(batcher->Submit(Endless(30))->Wait().token_ids, Alone(model, Endless(30)));

  stop = true;
  storm.join();
  ::sigaction(SIGUSR1, &before, nullptr);
}

// Whatever becomes of what callbacks hand on, the request is done for whoever asks the handle.
TEST(BatcherInAHost, L19ACompletionIsMarkedThoughTheHostDropsItsTasks) {
  const Model model = testing::TinyModel();
  const auto batcher = NewBatcher(model);
  std::vector<std::function<void()>> tasks;  // of an executor that is shut down
  const auto drop = [&tasks](auto task) {
    tasks.emplace_back(std::move(task));
    tasks.clear();
  };
  std::atomic<int> ran = 0;
  absl::StatusOr<Handle> handle = batcher->Submit(
      Endless(20), {.on_chunk =
                        [&](const Chunk&) {
                          drop([&ran] { ++ran; });
                          return Next::kContinue;
                        },
                    .on_done = [&](const Completion&) { drop([&ran] { ++ran; }); }});

  EXPECT_EQ(handle->Wait().token_ids, Alone(model, Endless(20)));
  EXPECT_EQ(batcher->Drain(Time::max()), absl::OkStatus());
  EXPECT_EQ(ran, 0);
}

TEST(BatcherInAHost, L19WaitingForACallbackThatNeverReturnsEndsAtItsDeadline) {
  testing::Gate gate;
  const auto batcher = NewBatcher(testing::TinyModel());
  absl::StatusOr<Handle> handle = batcher->Submit(Endless(20), {.on_chunk = [&](const Chunk&) {
                                                    gate.Wait();
                                                    return Next::kContinue;
                                                  }});

  const Time deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(20);
  EXPECT_EQ(handle->Wait(deadline), nullptr);
  EXPECT_TRUE(absl::IsDeadlineExceeded(batcher->Drain(deadline)));
  gate.Open();
}

TEST(BatcherInAHost, L18AThreadWithASmallStackIsEnough) {
#if defined(CODEGEN_ASAN) || defined(CODEGEN_TSAN)
  GTEST_SKIP() << "sanitizers make stack frames larger";
#else
  const auto batcher = NewBatcher(testing::ShippedTinyModel());
  std::function<void()> host = [&] {
    EXPECT_TRUE(
        batcher->Submit({.prompt = "def fib(n):\n", .max_new_tokens = 8})->Wait().status.ok());
  };
  pthread_attr_t attributes;
  ASSERT_EQ(::pthread_attr_init(&attributes), 0);
  ASSERT_EQ(::pthread_attr_setstacksize(&attributes, 64 << 10), 0);
  pthread_t thread = {};
  const auto run = [](void* work) -> void* {
    (*static_cast<std::function<void()>*>(work))();
    return nullptr;
  };
  ASSERT_EQ(::pthread_create(&thread, &attributes, run, &host), 0);
  EXPECT_EQ(::pthread_join(thread, nullptr), 0);
  ::pthread_attr_destroy(&attributes);
#endif
}

}  // namespace
}  // namespace codegen
