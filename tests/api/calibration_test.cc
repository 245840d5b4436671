// SPDX-License-Identifier: Apache-2.0
//
// Loading in int4 with a text: what it is worth on the model that the repository ships, with texts
// that the repository holds.
#include "model/calibration.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <initializer_list>
#include <span>
#include <string>
#include <vector>

#include "api/model_state.h"
#include "base/file.h"
#include "codegen/model.h"
#include "support/sanitizers.h"
#include "support/shared_files.h"
#include "support/sine_folder.h"
#include "support/status_is.h"

namespace codegen {
namespace {

using testing::IsOk;
using testing::ShippedModel;
using testing::StatusIs;
using testing::TempFolder;
using enum absl::StatusCode;

std::string TextOf(std::initializer_list<const char*> files) {
  std::string text;
  for (const char* file : files)
    text += *base::ReadFile(std::string(CODEGEN_SOURCE_DIR "/") + file, 1 << 20);
  return text;
}

// Little, for the sake of the sanitizers: some 1,200 tokens.
std::string CalibrationText() { return TextOf({"bench/peers/compare.py"}).substr(0, 3500); }

LoadOptions Calibrated() {
  return {.weights = WeightFormat::kInt4,
          .precision = ComputePrecision::kExact,
          .threads = 2,
          .calibration = CalibrationText()};
}

// Log-probabilities [tokens, vocabulary] of what comes after each token.
std::vector<float> Predictions(const Model& model, std::span<const TokenId> tokens) {
  const model::WindowRows window(tokens);
  backend::Rows rows = window.rows();
  rows.logit_rows = rows.positions;
  const auto executor = model.state()->on_device.model->MakeExecutor(
      {.pages = std::ssize(rows.pages), .rows = rows.size(), .logit_rows = rows.size()});
  const auto vocabulary = static_cast<std::size_t>(model.info().vocabulary);
  std::vector<float> logits(tokens.size() * vocabulary);
  EXPECT_THAT((*executor)->Step(rows, {.logits = logits}), IsOk());
  for (std::size_t first = 0; first < logits.size(); first += vocabulary) {
    const std::span<float> row = std::span(logits).subspan(first, vocabulary);
    double sum = 0;
    for (const float logit : row) sum += std::exp(double{logit});
    for (float& logit : row) logit -= static_cast<float>(std::log(sum));
  }
  return logits;
}

// A text that is in none of those above.
std::vector<TokenId> OtherText(const Model& model) {
  std::vector<TokenId> tokens = *model.tokenizer()->Encode(
      TextOf({"src/tokenizer/generate_unicode_classes.py", "examples/models/evaluate.py"}));
  tokens.resize(std::min<std::size_t>(tokens.size(), 512));
  return tokens;
}

double Divergence(std::span<const float> right, std::span<const float> ours) {
  double sum = 0;
  for (std::size_t i = 0; i < right.size(); ++i)
    sum += std::exp(double{right[i]}) * (double{right[i]} - double{ours[i]});
  return sum;
}

TEST(Calibration, TakesAThirdOffTheDivergenceAtLeast) {
  LoadOptions plain = Calibrated();
  plain.calibration.clear();
  const auto exact = Model::Load(ShippedModel(), {.weights = WeightFormat::kF32,
                                                  .head_weights = WeightFormat::kInt8,
                                                  .precision = ComputePrecision::kExact});
  const auto uncalibrated = Model::Load(ShippedModel(), plain);
  const std::vector<TokenId> tokens = OtherText(*exact);
  const std::vector<float> right = Predictions(*exact, tokens);

  const auto calibrated = Model::Load(ShippedModel(), Calibrated());

  ASSERT_THAT(calibrated, IsOk());
  EXPECT_EQ(calibrated->info().weights, WeightFormat::kInt4);
  EXPECT_EQ(calibrated->info().fingerprint, uncalibrated->info().fingerprint);
  const double share = Divergence(right, Predictions(*calibrated, tokens)) /
                       Divergence(right, Predictions(*uncalibrated, tokens));
  RecordProperty("share", std::to_string(share));
  EXPECT_LT(share, 0.67);
}

// Writes a model of random weights.
void WriteRandomFolder(const TempFolder& folder, const model::ModelConfig& config) {
  testing::StoredTensors tensors;
  for (const model::ExpectedTensor& tensor : model::ExpectedTensors(config)) {
    std::vector<float> values(static_cast<std::size_t>(tensor.elements()));
    const auto source = model::RandomSource().Open(tensor);
    for (std::int64_t row = 0; row < tensor.rows(); ++row) {
      const std::int64_t first = row * tensor.columns();
      ASSERT_THAT(
          source->read(row, 1,
                       std::span(values).subspan(static_cast<std::size_t>(first),
                                                 static_cast<std::size_t>(tensor.columns()))),
          IsOk());
    }
    tensors[tensor.name] = {.shape = tensor.shape, .values = std::move(values)};
  }
  folder.Write("config.json", testing::ConfigJson(config, 0));
  folder.Write("model.safetensors", testing::SafetensorsFile(tensors));
}

// With the tokenizer of the shipped model.
TEST(Calibration, LessensTheDivergenceOfALlama) {
  const TempFolder folder;
  model::ModelConfig config = testing::TinyLlama();
  config.vocabulary = Model::Load(ShippedModel())->info().vocabulary;
  config.context = 512;
  WriteRandomFolder(folder, config);
  const auto load = [&](LoadOptions options) {
    options.precision = ComputePrecision::kExact;
    options.tokenizer_folder = ShippedModel();
    return Model::Load(folder.path(), options);
  };
  const auto exact = load({.weights = WeightFormat::kF32, .head_weights = WeightFormat::kInt8});
  ASSERT_THAT(exact, IsOk());
  const std::vector<TokenId> tokens = OtherText(*exact);
  const std::vector<float> right = Predictions(*exact, tokens);
  const auto uncalibrated = load({.weights = WeightFormat::kInt4});

  const auto calibrated = load(Calibrated());

  ASSERT_THAT(calibrated, IsOk());
  const double share = Divergence(right, Predictions(*calibrated, tokens)) /
                       Divergence(right, Predictions(*uncalibrated, tokens));
  RecordProperty("share", std::to_string(share));
  EXPECT_LT(share, 0.75);
}

TEST(Calibration, IsSavedAndLoadedAgainToTheBit) {
  const TempFolder saved;
  const auto before = Model::Load(ShippedModel(), Calibrated());
  ASSERT_THAT(before, IsOk());
  ASSERT_THAT(before->Save(saved.path()), IsOk());

  const auto after =
      Model::Load(saved.path(), {.precision = ComputePrecision::kExact, .threads = 1});

  ASSERT_THAT(after, IsOk());
  const std::vector<TokenId> tokens = OtherText(*before);
  EXPECT_EQ(Predictions(*before, tokens), Predictions(*after, tokens));
}

TEST(Calibration, IsTheSameOnAnyNumberOfThreads) {
  LoadOptions options = Calibrated();
  const auto two = Model::Load(ShippedModel(), options);
  options.threads = 5;

  const auto five = Model::Load(ShippedModel(), options);

  const std::vector<TokenId> tokens = OtherText(*two);
  EXPECT_EQ(Predictions(*two, tokens), Predictions(*five, tokens));
}

// The text is read in float32 whatever the model will compute in.
TEST(Calibration, IsTheSameForEveryPrecision) {
  LoadOptions options = Calibrated();
  const TempFolder exact, fast;
  ASSERT_THAT(Model::Load(ShippedModel(), options)->Save(exact.path()), IsOk());
  options.precision = ComputePrecision::kFast;

  ASSERT_THAT(Model::Load(ShippedModel(), options)->Save(fast.path()), IsOk());

  EXPECT_TRUE(*base::ReadFile(exact.Path("model.safetensors"), 1 << 30) ==
              *base::ReadFile(fast.Path("model.safetensors"), 1 << 30));
}

TEST(Calibration, TakesTheBeginningOfALongText) {
  if (sanitizers::kAny) GTEST_SKIP() << "two texts of 16,384 tokens take minutes under a sanitizer";
  LoadOptions options = Calibrated();
  std::string text;
  while (text.size() < 400'000) text += CalibrationText();
  options.calibration = text;
  const auto longer = Model::Load(ShippedModel(), options);
  const auto& tokenizer = *longer->tokenizer();
  std::vector<TokenId> tokens = *tokenizer.Encode(text);
  ASSERT_GT(tokens.size(), model::kMostCalibrationTokens);
  tokens.resize(model::kMostCalibrationTokens);
  options.calibration = tokenizer.Decode(tokens);
  ASSERT_EQ(*tokenizer.Encode(options.calibration), tokens);

  const auto cut = Model::Load(ShippedModel(), options);

  const std::vector<TokenId> other = OtherText(*cut);
  EXPECT_EQ(Predictions(*longer, other), Predictions(*cut, other));
}

TEST(Calibration, RefusesFormatsOtherThanInt4) {
  LoadOptions options = Calibrated();
  for (const WeightFormat format : {WeightFormat::kAuto, WeightFormat::kF32, WeightFormat::kInt8}) {
    options.weights = format;
    EXPECT_THAT(Model::Load(ShippedModel(), options),
                StatusIs(kInvalidArgument, "LoadOptions::calibration"));
  }
}

TEST(Calibration, RefusesTextThatIsTooShort) {
  LoadOptions options = Calibrated();
  options.calibration = "x = 1\n";
  const auto status = Model::Load(ShippedModel(), options).status();
  EXPECT_THAT(status, StatusIs(kInvalidArgument, "LoadOptions::calibration has "));
  EXPECT_THAT(status, StatusIs(kInvalidArgument, "at least 512"));
}

TEST(Calibration, RefusesTextThatIsNotUtf8) {
  LoadOptions options = Calibrated();
  options.calibration[1000] = '\xFF';
  EXPECT_THAT(Model::Load(ShippedModel(), options),
              StatusIs(kInvalidArgument, "LoadOptions::calibration: "));
}

TEST(Calibration, RefusesModelsWithoutATokenizer) {
  const TempFolder folder;
  testing::WriteSineFolder(folder, testing::TinyCodeGen(4));
  EXPECT_THAT(Model::Load(folder.path(), Calibrated()), StatusIs(kInvalidArgument, "tokenizer"));
  EXPECT_THAT(Model::Random(ShippedModel() + "/config.json", Calibrated()),
              StatusIs(kInvalidArgument, "tokenizer"));
}

TEST(Calibration, RefusesWhatWasSaved) {
  const TempFolder saved;
  const auto model = Model::Load(ShippedModel(), {.weights = WeightFormat::kInt4});
  ASSERT_THAT(model->Save(saved.path()), IsOk());

  EXPECT_THAT(Model::Load(saved.path(), Calibrated()),
              StatusIs(kInvalidArgument, "LoadOptions::calibration"));
}

}  // namespace
}  // namespace codegen
