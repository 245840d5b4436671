// SPDX-License-Identifier: Apache-2.0
//
// What quantisation costs: perplexity on text that a model has not seen, and how far its
// predictions move from those of the same weights in float32.
//
//   quality_bench [--calibration FILE] MODEL_FOLDER FILE...
//
// Prints one row per format and precision: perplexity and its change, the mean and largest
// Kullback-Leibler divergence KL(f32 || format) of a prediction, and how often both find the same
// token most likely. With a text for calibration, which must be another one, there are rows of int4
// rounded by it. Rows named "int4 ..." after those are int4 with other groups and roundings,
// weights only, in float32 arithmetic: what the choice in quant/format.h was made from.
// Exits with 1 if a gate is broken: bf16 +0.1 %, int8 +0.5 %, int4 +4 % of perplexity.
#include <absl/status/status.h>
#include <absl/status/statusor.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <numeric>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "api/executors.h"
#include "base/check.h"
#include "base/file.h"
#include "checkpoint/checkpoint.h"
#include "codegen/codegen.h"
#include "model/calibration.h"
#include "model/tensor_source.h"
#include "quality_rounding.h"

namespace codegen {
namespace {

constexpr std::int64_t kMostTextBytes = std::int64_t{64} << 20;
constexpr int kMostTokens = 100'000;

// What is compared: a way to hold and compute a model.
struct Variant {
  std::string name;
  LoadOptions options;
  std::vector<TokenId> calibration = {};
  quality::Rounding rounding = {};  // of the matrices before they are loaded
  double gate = 1e9;                // the change of perplexity that is accepted, as a share
};

std::vector<Variant> Variants(const std::vector<TokenId>& calibration) {
  using enum WeightFormat;
  const auto held = [](WeightFormat format, ComputePrecision precision, double gate) {
    return Variant{
        .name = fmt::format("{}, {}", WeightFormatName(format), ComputePrecisionName(precision)),
        .options = {.weights = format, .precision = precision},
        .gate = gate};
  };
  std::vector<Variant> variants;
  for (const auto& [format, gate] :
       {std::pair(kF16, 0.001), {kBf16, 0.001}, {kInt8, 0.005}, {kInt4, 0.04}}) {
    variants.push_back(held(format, ComputePrecision::kExact, gate));
    variants.push_back(held(format, ComputePrecision::kFast, gate));
  }
  if (!calibration.empty()) {
    for (const auto precision : {ComputePrecision::kExact, ComputePrecision::kFast}) {
      Variant variant = held(kInt4, precision, 0.02);
      variant.name += ", calibrated";
      variant.calibration = calibration;
      variants.push_back(std::move(variant));
    }
  }
  for (const quality::Rounding& rounding : quality::Alternatives()) {
    variants.push_back(
        {.name = rounding.Name(),
         .options = {.weights = kF32, .head_weights = kInt8, .precision = ComputePrecision::kExact},
         .rounding = rounding});
  }
  return variants;
}

// A checkpoint whose block matrices are rounded as they are read.
class RoundedSource : public model::TensorSource {
 public:
  RoundedSource(const model::TensorSource& source, const quality::Rounding& rounding)
      : source_(source), rounding_(rounding) {}

  absl::StatusOr<backend::MatrixSource> Open(const model::ExpectedTensor& tensor) const override {
    CODEGEN_ASSIGN_OR_RETURN(backend::MatrixSource matrix, source_.Open(tensor));
    if (!tensor.is_matrix() || tensor.place != model::Place::kBlock || rounding_.group == 0)
      return matrix;
    auto read = [rounding = rounding_, columns = matrix.columns, inner = matrix.read](
                    std::int64_t first, std::int64_t count, std::span<float> out) -> absl::Status {
      CODEGEN_RETURN_IF_ERROR(inner(first, count, out));
      for (std::int64_t row = 0; row < count; ++row)
        rounding.Apply(out.subspan(static_cast<std::size_t>(row * columns),
                                   static_cast<std::size_t>(columns)));
      return absl::OkStatus();
    };
    return backend::MatrixSource{
        .rows = matrix.rows, .columns = matrix.columns, .read = std::move(read)};
  }
  WeightFormat StoredFormat(const model::ExpectedTensor& tensor) const override {
    return source_.StoredFormat(tensor);
  }

 private:
  const model::TensorSource& source_;
  quality::Rounding rounding_;
};

// A variant with a cache for one window of text.
class Predictor {
 public:
  static absl::StatusOr<Predictor> Create(const model::TensorSource& source,
                                          const model::ModelConfig& config,
                                          const Variant& variant) {
    LoadOptions options = variant.options;
    const bool exact = options.precision == ComputePrecision::kExact;
    options.kv_cache = exact ? KvFormat::kF32 : KvFormat::kBf16;
    const model::LoadPlan plan{.config = config,
                               .formats = model::WantedFormats::From(options),
                               .calibration = variant.calibration};
    model::RowInspector inspector(model::RowInspector::Finite::kRequire);
    const RoundedSource rounded(source, variant.rounding);
    CODEGEN_ASSIGN_OR_RETURN(const api::OnDevice loaded,
                             api::LoadOnCpu(options, rounded, inspector, plan));
    const std::int64_t rows = config.context;
    const std::int64_t pages = (rows + backend::kPageTokens - 1) / backend::kPageTokens;
    CODEGEN_ASSIGN_OR_RETURN(
        auto executor,
        loaded.model->MakeExecutor({.pages = pages, .rows = rows, .logit_rows = rows}));
    return Predictor(loaded, std::move(executor), config.vocabulary);
  }

  // Logits [tokens, vocabulary] after each token of a window.
  absl::StatusOr<std::vector<float>> Logits(std::span<const TokenId> tokens) {
    const auto count = static_cast<std::int32_t>(tokens.size());
    std::vector<std::int32_t> positions(tokens.size());
    std::iota(positions.begin(), positions.end(), 0);
    std::vector<std::int32_t> pages((tokens.size() + backend::kPageTokens - 1) /
                                    backend::kPageTokens);
    std::iota(pages.begin(), pages.end(), 0);
    const std::vector<std::int32_t> first_row = {0, count};
    const std::vector<std::int32_t> first_page = {0, static_cast<std::int32_t>(pages.size())};
    std::vector<float> logits(tokens.size() * static_cast<std::size_t>(vocabulary_));
    CODEGEN_RETURN_IF_ERROR(executor_->Step(
        {tokens, positions, first_row, first_page, pages, positions}, {.logits = logits}));
    return logits;
  }

 private:
  Predictor(api::OnDevice loaded, std::unique_ptr<model::Executor> executor, int vocabulary)
      : loaded_(std::move(loaded)), executor_(std::move(executor)), vocabulary_(vocabulary) {}

  api::OnDevice loaded_;
  std::unique_ptr<model::Executor> executor_;
  int vocabulary_;
};

// Logits become log-probabilities.
void Normalise(std::span<float> row) {
  const float most = std::ranges::max(row);
  double sum = 0;
  for (const float logit : row) sum += std::exp(static_cast<double>(logit - most));
  const auto shift = most + static_cast<float>(std::log(sum));
  for (float& logit : row) logit -= shift;
}

struct Quality {
  double loss = 0;  // nats, summed as the others
  double divergence = 0;
  double worst_divergence = 0;
  std::int64_t agreements = 0;
  std::int64_t tokens = 0;
};

// Takes in the prediction of one token: `right` in f32, `ours` in the variant.
void Compare(std::span<const float> right, std::span<const float> ours, TokenId next,
             Quality& quality) {
  double divergence = 0;
  for (std::size_t v = 0; v < right.size(); ++v)
    divergence += std::exp(static_cast<double>(right[v])) * (right[v] - ours[v]);
  quality.loss -= ours[static_cast<std::size_t>(next)];
  quality.divergence += divergence;
  quality.worst_divergence = std::max(quality.worst_divergence, divergence);
  const auto likeliest = [](std::span<const float> row) {
    return std::ranges::max_element(row) - row.begin();
  };
  quality.agreements += likeliest(right) == likeliest(ours) ? 1 : 0;
  ++quality.tokens;
}

absl::StatusOr<Quality> Measure(Predictor& right, Predictor& ours, std::span<const TokenId> tokens,
                                std::size_t window, std::size_t vocabulary) {
  Quality quality;
  for (std::size_t first = 0; first + window < tokens.size(); first += window) {
    CODEGEN_ASSIGN_OR_RETURN(std::vector<float> a, right.Logits(tokens.subspan(first, window)));
    CODEGEN_ASSIGN_OR_RETURN(std::vector<float> b, ours.Logits(tokens.subspan(first, window)));
    for (std::size_t t = 0; t < window; ++t) {
      const std::span<float> x = std::span(a).subspan(t * vocabulary, vocabulary);
      const std::span<float> y = std::span(b).subspan(t * vocabulary, vocabulary);
      Normalise(x);
      Normalise(y);
      Compare(x, y, tokens[first + t + 1], quality);
    }
  }
  return quality;
}

absl::StatusOr<std::vector<TokenId>> ReadTokens(const std::string& folder,
                                                std::span<char* const> files) {
  CODEGEN_ASSIGN_OR_RETURN(const Tokenizer tokenizer, Tokenizer::Load(folder));
  std::vector<TokenId> tokens;
  for (const char* file : files) {
    CODEGEN_ASSIGN_OR_RETURN(const std::string text, base::ReadFile(file, kMostTextBytes));
    const auto ids = tokenizer.Encode(text);
    if (!ids.ok()) return ids.status();
    tokens.insert(tokens.end(), ids->begin(), ids->end());
  }
  tokens.resize(std::min<std::size_t>(tokens.size(), kMostTokens));
  return tokens;
}

// One row of the table. Returns whether the gate holds.
bool Print(const Variant& variant, const Quality& quality, double right_perplexity) {
  const auto tokens = static_cast<double>(quality.tokens);
  const double perplexity = std::exp(quality.loss / tokens);
  const double change = perplexity / right_perplexity - 1;
  const bool holds = change <= variant.gate;
  fmt::print("| {} | {:.4f} | {:+.3f} % | {:.2e} | {:.2e} | {:.2f} % |{}\n", variant.name,
             perplexity, 100 * change, quality.divergence / tokens, quality.worst_divergence,
             100 * static_cast<double>(quality.agreements) / tokens,
             holds ? "" : " above its gate");
  std::fflush(stdout);
  return holds;
}

absl::StatusOr<bool> Run(const std::string& folder, std::span<char* const> files,
                         std::span<char* const> calibration_files) {
  CODEGEN_ASSIGN_OR_RETURN(const model::ModelConfig config,
                           model::ReadModelConfig(base::JoinPath(folder, "config.json"), 0));
  CODEGEN_ASSIGN_OR_RETURN(checkpoint::Checkpoint checkpoint,
                           checkpoint::Checkpoint::Open(folder, {}));
  CODEGEN_ASSIGN_OR_RETURN(const model::CheckpointSource source,
                           model::CheckpointSource::Create(config, std::move(checkpoint)));
  CODEGEN_ASSIGN_OR_RETURN(const std::vector<TokenId> tokens, ReadTokens(folder, files));
  CODEGEN_ASSIGN_OR_RETURN(std::vector<TokenId> calibration, ReadTokens(folder, calibration_files));
  calibration.resize(std::min(calibration.size(), model::kMostCalibrationTokens));
  const Variant f32{
      .name = "f32",
      .options = {.weights = WeightFormat::kF32, .precision = ComputePrecision::kExact}};
  CODEGEN_ASSIGN_OR_RETURN(Predictor right, Predictor::Create(source, config, f32));
  const auto window = static_cast<std::size_t>(config.context);
  const auto vocabulary = static_cast<std::size_t>(config.vocabulary);
  const auto measure = [&](Predictor& ours) {
    return Measure(right, ours, tokens, window, vocabulary);
  };
  CODEGEN_ASSIGN_OR_RETURN(const Quality base, measure(right));
  if (base.tokens == 0) return absl::InvalidArgumentError("the text is shorter than a context");
  const double perplexity = std::exp(base.loss / static_cast<double>(base.tokens));
  fmt::print(
      "{} tokens\n\n| weights | perplexity | change | mean KL | largest KL | same token |\n"
      "|---|---|---|---|---|---|\n",
      base.tokens);
  bool holds = Print(f32, base, perplexity);
  for (const Variant& variant : Variants(calibration)) {
    CODEGEN_ASSIGN_OR_RETURN(Predictor ours, Predictor::Create(source, config, variant));
    CODEGEN_ASSIGN_OR_RETURN(const Quality quality, measure(ours));
    holds = Print(variant, quality, perplexity) && holds;
  }
  return holds;
}

}  // namespace
}  // namespace codegen

int main(int argc, char** argv) {
  std::span<char* const> arguments(argv + 1, static_cast<std::size_t>(argc - 1));
  std::span<char* const> calibration;
  if (arguments.size() > 1 && arguments[0] == std::string_view("--calibration")) {
    calibration = arguments.subspan(1, 1);
    arguments = arguments.subspan(2);
  }
  if (arguments.size() < 2) {
    std::fputs("usage: quality_bench [--calibration FILE] MODEL_FOLDER FILE...\n", stderr);
    return 2;
  }
  const absl::StatusOr<bool> holds = codegen::Run(arguments[0], arguments.subspan(1), calibration);
  if (!holds.ok()) fmt::print(stderr, "quality_bench: {}\n", holds.status().ToString());
  return holds.ok() && *holds ? 0 : 1;
}
