// SPDX-License-Identifier: Apache-2.0
#include "api/lockstep.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "api/model_state.h"
#include "base/check.h"

namespace codegen::api {

absl::StatusOr<Lockstep> Lockstep::Create(const Model& model, int batch, int context) {
  const std::int64_t pages = (context + backend::kPageTokens - 1) / backend::kPageTokens;
  CODEGEN_ASSIGN_OR_RETURN(std::unique_ptr<model::Executor> executor,
                           model.state()->on_device.model->MakeExecutor(
                               {.pages = pages * batch,
                                .rows = std::max(batch, std::min(context, kLargestStep)),
                                .logit_rows = batch}));
  return Lockstep(model.info().vocabulary, batch, static_cast<int>(pages), std::move(executor));
}

absl::Status Lockstep::Prefill(int tokens) {
  for (int s = 0; s < batch_; ++s) {
    for (int done = 0; done < tokens; done += kLargestStep) {
      const int count = std::min(kLargestStep, tokens - done);
      CODEGEN_RETURN_IF_ERROR(Step(s, 1, length_ + done, count));
    }
  }
  length_ += tokens;
  return absl::OkStatus();
}

absl::Status Lockstep::Decode() {
  CODEGEN_RETURN_IF_ERROR(Step(0, batch_, length_, 1));
  ++length_;
  return absl::OkStatus();
}

// One step of `sequences` sequences from the `first_sequence`-th, `count` tokens each from position
// `position`; the last token of each is sampled.
absl::Status Lockstep::Step(int first_sequence, int sequences, int position, int count) {
  std::vector<TokenId> tokens;
  std::vector<std::int32_t> positions, first_row = {0}, first_page = {0}, logit_rows;
  for (int s = 0; s < sequences; ++s) {
    for (int i = 0; i < count; ++i) {
      tokens.push_back((7919 * (position + i) + s) % vocabulary_);
      positions.push_back(position + i);
    }
    first_row.push_back(count * (s + 1));
    first_page.push_back(pages_ * (s + 1));
    logit_rows.push_back(count * (s + 1) - 1);
  }
  std::vector<std::int32_t> pages(static_cast<std::size_t>(pages_ * sequences));
  std::iota(pages.begin(), pages.end(), pages_ * first_sequence);
  const std::vector<backend::Sampling> sampling(static_cast<std::size_t>(sequences),
                                                {.vocabulary = vocabulary_});
  std::vector<backend::SampledToken> sampled(static_cast<std::size_t>(sequences));
  return executor_->Step({tokens, positions, first_row, first_page, pages, logit_rows},
                         {.sampling = sampling, .tokens = sampled});
}

}  // namespace codegen::api
