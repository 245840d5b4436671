// SPDX-License-Identifier: Apache-2.0
#ifndef CODEGEN_TESTS_API_BATCHER_TESTING_H_
#define CODEGEN_TESTS_API_BATCHER_TESTING_H_

#include <gtest/gtest.h>

#include <chrono>
#include <future>
#include <memory>
#include <utility>
#include <vector>

#include "api/tiny_models.h"
#include "codegen/batcher.h"
#include "codegen/session.h"

namespace codegen::testing {

inline std::unique_ptr<Batcher> NewBatcher(const Model& model, const BatcherOptions& options = {}) {
  absl::StatusOr<std::unique_ptr<Batcher>> batcher = Batcher::Create(model, options);
  EXPECT_TRUE(batcher.ok()) << batcher.status();
  return *std::move(batcher);
}

// As many tokens as asked for, whatever the model says.
inline Request Endless(int new_tokens, std::vector<TokenId> prompt = {3, 1, 4, 1, 5}) {
  return {
      .prompt_ids = std::move(prompt), .max_new_tokens = new_tokens, .stop = {.ignore_eos = true}};
}

inline std::vector<TokenId> Alone(const Model& model, const Request& request) {
  absl::StatusOr<Session> session = Session::Create(model);
  return session->Complete(request)->token_ids;
}

// Blocks callbacks until it is opened.
class Gate {
 public:
  void Open() { opened_.set_value(); }
  void Wait() const { open_.wait(); }

 private:
  std::promise<void> opened_;
  std::shared_future<void> open_ = opened_.get_future().share();
};

}  // namespace codegen::testing

#endif  // CODEGEN_TESTS_API_BATCHER_TESTING_H_
