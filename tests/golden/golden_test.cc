// SPDX-License-Identifier: Apache-2.0
//
// The same numbers as the reference implementation: logits, log-probabilities and greedy tokens of
// small random models of every family, computed by Hugging Face transformers in float32. The files
// lie outside the repository, in
// ../shared/golden, whose README tells how they were made; without them the tests say so and are
// skipped.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <numeric>
#include <string>
#include <vector>

#include "api/model_state.h"
#include "base/file.h"
#include "base/json.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/safetensors.h"
#include "codegen/codegen.h"
#include "support/cpu_levels.h"
#include "support/shared_files.h"

namespace codegen {
namespace {

struct Case {
  std::vector<TokenId> prompt_ids = {};
  std::vector<TokenId> greedy = {};
  std::vector<double> prompt_logprobs = {};
  std::vector<float> logits = {};  // [logit_rows, V], of the last tokens of the prompt
  std::int64_t logit_rows = 0;
  std::string prompt = {};
  std::string text = {};
};

template <class T>
std::vector<T> Numbers(simdjson::dom::element list) {
  std::vector<T> numbers;
  const simdjson::dom::array items = list.get_array().value();
  for (const simdjson::dom::element item : items) {
    numbers.push_back(static_cast<T>(item.get_double().value()));
  }
  return numbers;
}

std::string Text(simdjson::dom::element object, const char* key) {
  std::string_view text;
  return object[key].get(text) == simdjson::SUCCESS ? std::string(text) : std::string();
}

class Golden : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    folder_ = testing::SharedPath("golden/" + GetParam());
    if (folder_.empty())
      GTEST_SKIP() << "no ../shared/golden/" << GetParam() << " beside the repository";
    ReadCases();
  }

  // The reference computes in float32: so do we, for the comparison.
  Model Load(LoadOptions options = {}) const {
    options.precision = ComputePrecision::kExact;
    absl::StatusOr<Model> model = Model::Load(folder_, options);
    EXPECT_TRUE(model.ok()) << model.status();
    return *std::move(model);
  }

  void ExpectLogits(const Model& model, const std::string& name);

  // The mean distance of two models' log-probabilities of the prompts.
  double Distance(const Model& a, const Model& b) {
    absl::StatusOr<Session> x = Session::Create(a);
    absl::StatusOr<Session> y = Session::Create(b);
    double sum = 0;
    std::size_t count = 0;
    for (const Case& one : cases_) {
      const auto p = x->ScoreTokens(one.prompt_ids);
      const auto q = y->ScoreTokens(one.prompt_ids);
      for (std::size_t i = 0; i < p->logprobs.size(); ++i, ++count)
        sum += std::abs(p->logprobs[i] - q->logprobs[i]);
    }
    return sum / static_cast<double>(count);
  }

  std::string folder_;
  double logit_scale_ = 0;
  std::vector<Case> cases_;

 private:
  void ReadCases() {
    const auto json = base::JsonDocument::Read(folder_ + "/expected/cases.json", 1 << 24);
    ASSERT_TRUE(json.ok()) << json.status();
    const auto tensors =
        checkpoint::ListSafetensors(*base::File::Open(folder_ + "/expected/logits.safetensors"));
    ASSERT_TRUE(tensors.ok()) << tensors.status();
    std::map<std::string, checkpoint::TensorEntry> logits;
    for (const checkpoint::TensorEntry& tensor : *tensors) logits[tensor.name] = tensor;
    logit_scale_ = json->root()["logit_scale"].get_double().value();
    const simdjson::dom::array items = json->root()["cases"].get_array().value();
    for (const simdjson::dom::element item : items) {
      Case one{.prompt_ids = Numbers<TokenId>(item["prompt_ids"]),
               .greedy = Numbers<TokenId>(item["greedy"]),
               .prompt_logprobs = Numbers<double>(item["prompt_logprobs"]),
               .logit_rows = item["logit_rows"].get_int64().value(),
               .prompt = Text(item, "prompt"),
               .text = Text(item, "text")};
      const auto rows = checkpoint::Checkpoint::OpenRows(logits.at(Text(item, "logits")));
      ASSERT_TRUE(rows.ok()) << rows.status();
      one.logits.resize(static_cast<std::size_t>((*rows)->rows() * (*rows)->columns()));
      ASSERT_TRUE((*rows)->Read(0, (*rows)->rows(), one.logits).ok());
      cases_.push_back(std::move(one));
    }
  }
};

// All cases of a folder in one ragged step, in pages dealt out in turn, with every instruction set.
TEST_P(Golden, LogitsOfARaggedBatchMatch) {
  for (const CpuFeatures level : testing::TestedLevels())
    ExpectLogits(Load({.cpu_features = level}), CpuFeaturesName(level));
}

void Golden::ExpectLogits(const Model& model, const std::string& name) {
  std::vector<TokenId> tokens;
  std::vector<std::int32_t> positions, first_row = {0}, first_page = {0}, pages, logit_rows;
  const int sequences = static_cast<int>(cases_.size());
  for (int s = 0; s < sequences; ++s) {
    const Case& one = cases_[static_cast<std::size_t>(s)];
    const int length = static_cast<int>(one.prompt_ids.size());
    for (int i = 0; i < length; ++i) {
      if (i >= length - one.logit_rows)
        logit_rows.push_back(static_cast<std::int32_t>(tokens.size()));
      tokens.push_back(one.prompt_ids[static_cast<std::size_t>(i)]);
      positions.push_back(i);
    }
    for (int page = 0; page * backend::kPageTokens < length; ++page)
      pages.push_back(page * sequences + s);
    first_row.push_back(static_cast<std::int32_t>(tokens.size()));
    first_page.push_back(static_cast<std::int32_t>(pages.size()));
  }
  const std::int64_t page_count = *std::ranges::max_element(pages) + 1;
  auto executor = model.state()->on_device.model->MakeExecutor(
      {.pages = page_count,
       .rows = static_cast<std::int64_t>(tokens.size()),
       .logit_rows = static_cast<std::int64_t>(logit_rows.size())});
  ASSERT_TRUE(executor.ok()) << executor.status();
  std::vector<float> logits(logit_rows.size() * static_cast<std::size_t>(model.info().vocabulary));

  ASSERT_TRUE(
      (*executor)
          ->Step({tokens, positions, first_row, first_page, pages, logit_rows}, {.logits = logits})
          .ok());

  double worst = 0;
  std::size_t at = 0;
  for (const Case& one : cases_) {
    for (const float expected : one.logits)
      worst = std::max(worst, std::abs(double{logits[at++]} - expected));
  }
  EXPECT_EQ(at, logits.size());
  EXPECT_LE(worst, 1e-5 * logit_scale_) << name;
  RecordProperty("worst_over_scale_" + name, std::to_string(worst / logit_scale_));
}

TEST_P(Golden, LogProbabilitiesMatch) {
  const Model model = Load();
  absl::StatusOr<Session> session = Session::Create(model);
  for (const Case& one : cases_) {
    const absl::StatusOr<Score> score = session->ScoreTokens(one.prompt_ids);
    ASSERT_TRUE(score.ok()) << score.status();
    ASSERT_EQ(score->logprobs.size(), one.prompt_logprobs.size());
    for (std::size_t i = 0; i < score->logprobs.size(); ++i) {
      EXPECT_NEAR(score->logprobs[i], one.prompt_logprobs[i], 5e-5) << "token " << i + 1;
    }
  }
}

// One session for all cases, so that prefixes are reused and forgotten between them.
TEST_P(Golden, GreedyTokensMatch) {
  for (const CpuFeatures level : testing::TestedLevels()) {
    const Model model = Load({.cpu_features = level});
    absl::StatusOr<Session> session = Session::Create(model, {.prefill_chunk = 48});
    for (const Case& one : cases_) {
      const absl::StatusOr<Completion> completion =
          session->Complete({.prompt_ids = one.prompt_ids,
                             .max_new_tokens = static_cast<int>(one.greedy.size()),
                             .stop = {.ignore_eos = true}});
      ASSERT_TRUE(completion.ok()) << completion.status();
      EXPECT_THAT(completion->token_ids, ::testing::ElementsAreArray(one.greedy))
          << CpuFeaturesName(level);
    }
  }
}

// The folder that has a tokenizer, driven by text.
class GoldenText : public Golden {};

TEST_P(GoldenText, TextMatches) {
  const Model model = Load();
  absl::StatusOr<Session> session = Session::Create(model);
  for (const Case& one : cases_) {
    std::string streamed;
    const absl::StatusOr<Completion> completion =
        session->Complete({.prompt = one.prompt,
                           .max_new_tokens = static_cast<int>(one.greedy.size()),
                           .stop = {.ignore_eos = true}},
                          [&](std::string_view piece) {
                            streamed += piece;
                            return Next::kContinue;
                          });
    ASSERT_TRUE(completion.ok()) << completion.status();
    EXPECT_EQ(completion->text, one.text);
    EXPECT_EQ(streamed, one.text);
  }
}

// Rounding changes the result a little; by how much on real text bench/quality tells. Here bounds
// by the size of a rounding step, for mistakes in a layout or a scale change everything.
TEST_P(Golden, RoundedWeightsAndActivationsStayClose) {
  const Model exact = Load();
  const std::map<WeightFormat, double> bounds = {
      {WeightFormat::kBf16, 0.05}, {WeightFormat::kInt8, 0.1}, {WeightFormat::kInt4, 1.0}};
  for (const auto& [format, bound] : bounds) {
    EXPECT_LE(Distance(exact, Load({.weights = format})), bound) << WeightFormatName(format);
    for (const CpuFeatures level : testing::TestedLevels()) {
      const auto fast = Model::Load(folder_, {.weights = format, .cpu_features = level});
      ASSERT_TRUE(fast.ok()) << fast.status();
      EXPECT_LE(Distance(exact, *fast), bound)
          << WeightFormatName(format) << ", " << CpuFeaturesName(level);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(WithTokenizer, GoldenText, ::testing::Values("codegen1-text-bin-f16"),
                         [](const auto&) { return "codegen1_text_bin_f16"; });
INSTANTIATE_TEST_SUITE_P(Folders, Golden,
                         ::testing::Values("codegen1-bin-f32", "codegen1-st-f16",
                                           "codegen1-bin-transposed-f16",
                                           "codegen1-d80-st-sharded-bf16",
                                           "codegen2-bin-sharded-f32", "llama-st-f32",
                                           "llama-bin-sharded-f16", "codegen1-text-bin-f16"),
                         [](const auto& name) {
                           std::string identifier = name.param;
                           std::ranges::replace(identifier, '-', '_');
                           return identifier;
                         });

}  // namespace
}  // namespace codegen
