// SPDX-License-Identifier: Apache-2.0
//
// How long things will take, from how long they took.
//
// A step costs about the same however many samples go on in it by a token, for it reads all weights
// once, and each row of a prompt costs about the same on top. Both are measured as means in which
// what is older counts for less, by half every few dozen steps, so that they follow the machine.
#ifndef CODEGEN_RUNTIME_COST_MODEL_H_
#define CODEGEN_RUNTIME_COST_MODEL_H_

#include <algorithm>

namespace codegen::runtime {

// Not safe for concurrent use.
class CostModel {
 public:
  // A step took so long, with so many rows of prompts in it.
  void Observe(double seconds, int prompt_rows) {
    if (prompt_rows == 0) {
      Mix(seconds, step_s_);
    } else {
      Mix(std::max(seconds - step_s_, 0.0) / prompt_rows, prompt_row_s_);
    }
  }

  // Seconds until the last of `rows` rows of prompts is computed; 0 as long as nothing is known.
  double PromptSeconds(double rows) const { return rows * prompt_row_s_ + step_s_; }
  // Seconds for `tokens` more tokens of one sample.
  double TokenSeconds(double tokens) const { return tokens * step_s_; }

 private:
  static constexpr double kWeight = 1.0 / 32;

  static void Mix(double value, double& mean) {
    mean = mean == 0 ? value : mean + kWeight * (value - mean);
  }

  double step_s_ = 0;
  double prompt_row_s_ = 0;
};

}  // namespace codegen::runtime

#endif  // CODEGEN_RUNTIME_COST_MODEL_H_
