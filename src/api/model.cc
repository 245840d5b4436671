// SPDX-License-Identifier: Apache-2.0
#include "codegen/model.h"

#include <fmt/format.h>
#include <unistd.h>

#include <utility>

#include "api/model_state.h"
#include "base/check.h"
#include "base/file.h"
#include "checkpoint/checkpoint.h"
#include "model/tensor_source.h"
#include "tokenizer/load_tokenizer.h"

namespace codegen {
namespace {

absl::Status CheckOptions(const LoadOptions& options) {
  if (options.threads < 0 || options.threads > Limits::threads) {
    return absl::InvalidArgumentError(fmt::format("LoadOptions::threads is {}, allowed 0 to {}",
                                                  options.threads, Limits::threads));
  }
  if (options.qkv_groups < 0 || options.qkv_groups > Limits::width) {
    return absl::InvalidArgumentError(fmt::format("LoadOptions::qkv_groups is {}, allowed 0 to {}",
                                                  options.qkv_groups, Limits::width));
  }
  return absl::OkStatus();
}

absl::StatusOr<model::ModelConfig> ReadConfig(const std::string& folder,
                                              const LoadOptions& options) {
  if (!base::Exists(folder)) return absl::NotFoundError("the model folder does not exist");
  return model::ReadModelConfig(base::JoinPath(folder, "config.json"), options.qkv_groups);
}

// A config can ask for more memory than there is; better said before the first allocation than by
// the kernel later.
absl::Status CheckFitsMemory(std::int64_t bytes) {
  const std::int64_t physical = std::int64_t{::sysconf(_SC_PHYS_PAGES)} * ::sysconf(_SC_PAGESIZE);
  if (bytes <= physical) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      fmt::format("weights take {} bytes; this machine has {} bytes of memory", bytes, physical));
}

// The model's own tokenizer, or that of the folder in the options. CodeGen2.5 publishes only code:
// its vocabulary is built from GPT-2's files. A model without any is driven by token ids.
absl::StatusOr<std::optional<Tokenizer>> LoadTokenizer(const std::string& folder,
                                                       const LoadOptions& options,
                                                       const model::ModelConfig& config) {
  std::optional<Tokenizer> none;
  const bool own = options.tokenizer_folder.empty();
  if (own && !tokenizer::HasTokenizerFiles(folder)) return none;
  const std::string& source = own ? folder : options.tokenizer_folder;
  const bool codegen25 = !own && model::IsCodeGen25(config);
  absl::StatusOr<Tokenizer> loaded =
      codegen25 ? Tokenizer::LoadCodeGen25(source) : Tokenizer::Load(source);
  if (!loaded.ok()) return loaded.status();
  if (loaded->size() > config.vocabulary) {
    return absl::InvalidArgumentError(
        fmt::format("tokenizer has {} tokens, the model's embedding {} rows", loaded->size(),
                    config.vocabulary));
  }
  return std::optional<Tokenizer>(*std::move(loaded));
}

void DescribeShape(const model::ModelConfig& config, ModelInfo& info) {
  info.layers = config.layers;
  info.width = config.width;
  info.heads = config.heads.count;
  info.head_dim = config.heads.dim;
  info.rotary_dim = config.heads.rotary_dim;
  info.inner = config.inner;
  info.vocabulary = config.vocabulary;
  info.context = config.context;
  info.qkv_groups = config.qkv_groups;
  info.warnings = config.warnings;
}

std::int64_t HeldBytes(const model::TensorSource& source, const model::ExpectedTensor& tensor,
                       WeightFormat wanted) {
  return tensor.elements() *
         (model::HeldFormat(source, tensor, wanted) == WeightFormat::kF32 ? 4 : 2);
}

// Sums the memory of all weights and finds the one format of the matrices, if there is one.
void DescribeWeights(const model::TensorSource& source, WeightFormat wanted, Model::State& state) {
  const model::OuterNames outer = model::Outer(state.config);
  state.head_bytes = HeldBytes(source, outer.head, wanted);
  state.embedding_bytes = HeldBytes(source, outer.embedding, wanted);
  state.info.weights = model::HeldFormat(source, outer.embedding, wanted);
  for (const model::ExpectedTensor& tensor : model::ExpectedTensors(state.config)) {
    state.info.weight_bytes += HeldBytes(source, tensor, wanted);
    const WeightFormat held = model::HeldFormat(source, tensor, wanted);
    if (tensor.is_matrix() && held != state.info.weights) state.info.weights = WeightFormat::kAuto;
  }
}

// Which ids can be sampled, and which of them end a text.
void DescribeVocabulary(Model::State& state) {
  const std::optional<Tokenizer>& tokenizer = state.tokenizer;
  state.sampled_vocabulary = tokenizer ? tokenizer->size() : state.config.vocabulary;
  state.end_of_text = state.config.end_of_text;
  if (tokenizer && tokenizer->end_of_text()) state.end_of_text = {*tokenizer->end_of_text()};
  if (!state.end_of_text.empty()) state.info.end_of_text = state.end_of_text.front();
  if (tokenizer) state.info.tokenizer = std::string(tokenizer->kind());
  state.info.family = model::FamilyName(state.config, state.info.tokenizer);
}

std::function<void(std::int64_t)> ProgressOf(const LoadOptions& options,
                                             const model::MemoryPlan& memory,
                                             std::int64_t bytes_total) {
  if (!options.progress) return {};
  return [&options, elements = memory.matrix_elements, bytes_total,
          done = std::int64_t{0}](std::int64_t more) mutable {
    done += more;
    const double share = static_cast<double>(done) / static_cast<double>(elements);
    options.progress(
        {.bytes_done = static_cast<std::int64_t>(share * static_cast<double>(bytes_total)),
         .bytes_total = bytes_total});
  };
}

// Fills in what depends on the weights and moves them onto the device.
absl::Status LoadWeights(const model::TensorSource& source, const LoadOptions& options,
                         Model::State& state) {
  state.memory = model::PlanMemory(state.config);
  DescribeShape(state.config, state.info);
  DescribeVocabulary(state);
  DescribeWeights(source, options.weights, state);
  state.info.parameters = state.memory.parameters;
  state.info.kv_bytes_per_token = state.memory.kv_bytes_per_token;
  CODEGEN_RETURN_IF_ERROR(CheckFitsMemory(state.info.weight_bytes));
  using Finite = model::RowInspector::Finite;
  model::RowInspector inspector(options.check_finite ? Finite::kRequire : Finite::kIgnore);
  const model::LoadPlan plan{
      .config = state.config,
      .format = options.weights,
      .on_tensor = ProgressOf(options, state.memory, state.info.weight_bytes)};
  CODEGEN_ASSIGN_OR_RETURN(state.on_device,
                           api::LoadOnCpu(options, source, inspector, plan));
  state.info.fingerprint = inspector.Fingerprint();
  return absl::OkStatus();
}

MemoryEstimate Estimate(const model::MemoryPlan& memory) {
  return {.parameters = memory.parameters,
          .f32_bytes = memory.WeightBytes(WeightFormat::kF32),
          .bf16_bytes = memory.WeightBytes(WeightFormat::kBf16),
          .f16_bytes = memory.WeightBytes(WeightFormat::kF16),
          .kv_bytes_per_token = memory.kv_bytes_per_token};
}

}  // namespace

absl::StatusOr<Model> Model::Load(const std::string& folder, const LoadOptions& options) {
  CODEGEN_RETURN_IF_ERROR(CheckOptions(options));
  auto state = std::make_shared<State>();
  CODEGEN_ASSIGN_OR_RETURN(state->config, ReadConfig(folder, options));
  CODEGEN_ASSIGN_OR_RETURN(state->tokenizer, LoadTokenizer(folder, options, state->config));
  CODEGEN_ASSIGN_OR_RETURN(checkpoint::Checkpoint checkpoint,
                           checkpoint::Checkpoint::Open(folder, options.formats));
  CODEGEN_ASSIGN_OR_RETURN(const model::CheckpointSource source,
                           model::CheckpointSource::Create(state->config, std::move(checkpoint)));
  CODEGEN_RETURN_IF_ERROR(LoadWeights(source, options, *state));
  return Model(std::move(state));
}

absl::StatusOr<Model> Model::Random(const std::string& config_file, const LoadOptions& options) {
  CODEGEN_RETURN_IF_ERROR(CheckOptions(options));
  auto state = std::make_shared<State>();
  CODEGEN_ASSIGN_OR_RETURN(state->config, model::ReadModelConfig(config_file, options.qkv_groups));
  CODEGEN_RETURN_IF_ERROR(LoadWeights(model::RandomSource(), options, *state));
  return Model(std::move(state));
}

absl::StatusOr<MemoryEstimate> Model::EstimateMemory(const std::string& folder,
                                                     const LoadOptions& options) {
  CODEGEN_RETURN_IF_ERROR(CheckOptions(options));
  CODEGEN_ASSIGN_OR_RETURN(const model::ModelConfig config, ReadConfig(folder, options));
  return Estimate(model::PlanMemory(config));
}

Model::Model(std::shared_ptr<const State> state) : state_(std::move(state)) {}

const ModelInfo& Model::info() const { return state_->info; }

const std::optional<Tokenizer>& Model::tokenizer() const { return state_->tokenizer; }

MemoryEstimate Model::memory() const { return Estimate(state_->memory); }

}  // namespace codegen
