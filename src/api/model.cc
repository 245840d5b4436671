// SPDX-License-Identifier: Apache-2.0
#include "codegen/model.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <new>
#include <set>
#include <utility>
#include <vector>

#include "api/model_state.h"
#include "base/check.h"
#include "base/file.h"
#include "base/json.h"
#include "base/no_memory.h"
#include "checkpoint/checkpoint.h"
#include "model/calibration.h"
#include "model/saved_model.h"
#include "model/shard.h"
#include "model/tensor_source.h"
#include "quant/format.h"

namespace codegen {
namespace {

bool OnCpu(const LoadOptions& options) { return options.device.kind == Device::Kind::kCpu; }

absl::Status CheckTuning(const LoadOptions& options) {
  const int rows = options.tuning.rows;
  if (rows < 0 || rows > Limits::tuning_rows) {
    return absl::InvalidArgumentError(
        fmt::format("LoadOptions::tuning.rows is {}, allowed 0 to {}", rows, Limits::tuning_rows));
  }
  if (rows > 0 && (OnCpu(options) || options.deterministic)) {
    return absl::InvalidArgumentError(
        fmt::format("LoadOptions::tuning.rows is {}, must be 0 {}", rows,
                    OnCpu(options) ? "on the CPU" : "where LoadOptions::deterministic is set"));
  }
  if (rows == 0 && !options.tuning.file.empty()) {
    return absl::InvalidArgumentError(
        "LoadOptions::tuning.file is given, but tuning.rows is 0: nothing would be tuned");
  }
  return absl::OkStatus();
}

absl::Status CheckOnCpu(const LoadOptions& options) {
  if (options.device.index != 0) {
    return absl::InvalidArgumentError(
        fmt::format("LoadOptions::device.index is {}, must be 0 on the CPU", options.device.index));
  }
  if (options.device_memory != 0) {
    return absl::InvalidArgumentError(fmt::format(
        "LoadOptions::device_memory is {}, must be 0 on the CPU", options.device_memory));
  }
  return absl::OkStatus();
}

// What no GPU can do is said whether or not there is one.
absl::Status CheckOnCuda(const LoadOptions& options) {
  if (options.device.index < 0) {
    return absl::InvalidArgumentError(
        fmt::format("LoadOptions::device.index is {}, must be at least 0", options.device.index));
  }
  if (options.device_memory < 0) {
    return absl::InvalidArgumentError(
        fmt::format("LoadOptions::device_memory is {}, must be at least 0", options.device_memory));
  }
  const std::string device = DeviceName(options.device);
  if (options.cpu_features != CpuFeatures::kAuto) {
    return absl::InvalidArgumentError(
        fmt::format("LoadOptions::cpu_features is {}, must be auto on {}",
                    CpuFeaturesName(options.cpu_features), device));
  }
  if (options.precision == ComputePrecision::kExact) {
    return absl::UnimplementedError(fmt::format(
        "LoadOptions::precision is exact, but {} multiplies activations in bf16", device));
  }
  if (options.kv_cache == KvFormat::kF32) {
    return absl::UnimplementedError(fmt::format(
        "LoadOptions::kv_cache is f32, but {} holds keys and values in bf16 only", device));
  }
  if (!options.calibration.empty()) {
    return absl::UnimplementedError(
        fmt::format("LoadOptions::calibration is for the CPU only, not {}", device));
  }
  return absl::OkStatus();
}

absl::Status CheckParallel(const LoadOptions& options) {
  const int parts = options.parallel.tensor;
  if (parts < 1 || parts > Limits::threads) {
    return absl::InvalidArgumentError(
        fmt::format("LoadOptions::parallel.tensor is {}, allowed 1 to {}", parts, Limits::threads));
  }
  if (parts == 1) return absl::OkStatus();
  if (!OnCpu(options)) {
    return absl::UnimplementedError(fmt::format(
        "LoadOptions::parallel.tensor is {}, must be 1 on {}", parts, DeviceName(options.device)));
  }
  if (!options.calibration.empty()) {
    return absl::UnimplementedError(fmt::format(
        "LoadOptions::parallel.tensor is {}, must be 1 where there is a calibration", parts));
  }
  if (options.thread_pool != nullptr) {
    return absl::InvalidArgumentError(
        fmt::format("LoadOptions::parallel.tensor is {}, must be 1 where there is a thread_pool, "
                    "as each part has threads of its own",
                    parts));
  }
  return absl::OkStatus();
}

absl::Status CheckOptions(const LoadOptions& options) {
  if (options.threads < 0 || options.threads > Limits::threads) {
    return absl::InvalidArgumentError(fmt::format("LoadOptions::threads is {}, allowed 0 to {}",
                                                  options.threads, Limits::threads));
  }
  if (options.qkv_groups < 0 || options.qkv_groups > Limits::width) {
    return absl::InvalidArgumentError(fmt::format("LoadOptions::qkv_groups is {}, allowed 0 to {}",
                                                  options.qkv_groups, Limits::width));
  }
  if (!options.calibration.empty() && options.weights != WeightFormat::kInt4) {
    return absl::InvalidArgumentError(
        fmt::format("LoadOptions::calibration is for weights in int4, not {}",
                    WeightFormatName(options.weights)));
  }
  CODEGEN_RETURN_IF_ERROR(CheckParallel(options));
  CODEGEN_RETURN_IF_ERROR(CheckTuning(options));
  return OnCpu(options) ? CheckOnCpu(options) : CheckOnCuda(options);
}

absl::StatusOr<std::string> ReadConfigJson(const std::string& folder) {
  if (!base::Exists(folder)) return absl::NotFoundError("the model folder does not exist");
  return base::ReadFile(base::JoinPath(folder, "config.json"), Limits::config_bytes);
}

absl::StatusOr<model::ModelConfig> ParseConfig(const std::string& config_json,
                                               const LoadOptions& options) {
  CODEGEN_ASSIGN_OR_RETURN(const base::JsonDocument json,
                           base::JsonDocument::Parse(config_json, "config.json"));
  return model::ParseModelConfig(json, options.qkv_groups);
}

// A config can ask for more memory than there is; better said before the first allocation than by
// the kernel later.
absl::Status CheckFitsMemory(std::int64_t bytes) {
  const std::int64_t physical = std::int64_t{::sysconf(_SC_PHYS_PAGES)} * ::sysconf(_SC_PAGESIZE);
  if (bytes <= physical) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      fmt::format("weights take {} bytes; this machine has {} bytes of memory", bytes, physical));
}

// A model without a tokenizer is driven by token ids.
absl::StatusOr<std::optional<Tokenizer>> LoadTokenizer(const api::Origin& origin,
                                                       const model::ModelConfig& config) {
  if (origin.tokenizer == model::SavedTokenizer::kNone) return std::optional<Tokenizer>();
  absl::StatusOr<Tokenizer> loaded = origin.tokenizer == model::SavedTokenizer::kCodeGen25
                                         ? Tokenizer::LoadCodeGen25(origin.tokenizer_folder)
                                         : Tokenizer::Load(origin.tokenizer_folder);
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

std::int64_t HeldBytes(const model::StoredFormats& source, const model::ExpectedTensor& tensor,
                       const model::WantedFormats& wanted) {
  return quant::MatrixBytes(model::HeldFormat(source, tensor, wanted), tensor.rows(),
                            tensor.columns());
}

// The one format of the matrices of the blocks, or kAuto.
WeightFormat BlockFormat(const model::StoredFormats& source, const model::ModelConfig& config,
                         const model::WantedFormats& wanted) {
  std::set<WeightFormat> formats;
  for (const model::ExpectedTensor& tensor : model::ExpectedTensors(config)) {
    if (tensor.is_matrix() && tensor.place == model::Place::kBlock)
      formats.insert(model::HeldFormat(source, tensor, wanted));
  }
  return formats.size() == 1 ? *formats.begin() : WeightFormat::kAuto;
}

// Formats, and the memory of all weights.
void DescribeWeights(const model::StoredFormats& source, const model::WantedFormats& wanted,
                     Model::State& state) {
  const model::OuterNames outer = model::Outer(state.config);
  state.head_bytes = HeldBytes(source, outer.head, wanted);
  state.embedding_bytes = HeldBytes(source, outer.embedding, wanted);
  state.info.weights = BlockFormat(source, state.config, wanted);
  state.info.head_weights = model::HeldFormat(source, outer.head, wanted);
  for (const model::ExpectedTensor& tensor : model::ExpectedTensors(state.config))
    state.info.weight_bytes += HeldBytes(source, tensor, wanted);
}

// Weights that no one has chosen are on a GPU what its products of many rows are made for.
LoadOptions ForDevice(LoadOptions options) {
  if (!OnCpu(options) && options.weights == WeightFormat::kAuto)
    options.weights = WeightFormat::kBf16;
  return options;
}

// What the options leave to the library: the cache follows the precision.
KvFormat HeldKv(const LoadOptions& options) {
  if (options.kv_cache != KvFormat::kAuto) return options.kv_cache;
  return options.precision == ComputePrecision::kExact ? KvFormat::kF32 : KvFormat::kBf16;
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

// Tells the host how far the load is, and hears whether it is to go on.
absl::Status Report(const LoadOptions& options, const LoadProgress& progress) {
  try {
    if (options.progress(progress) == Next::kContinue) return absl::OkStatus();
  } catch (const std::exception& error) {
    return absl::UnknownError(fmt::format("LoadOptions::progress threw: {}", error.what()));
  } catch (...) {
    return absl::UnknownError("LoadOptions::progress threw");
  }
  return absl::CancelledError("LoadOptions::progress returned kCancel");
}

std::function<absl::Status(std::int64_t)> ProgressOf(const LoadOptions& options,
                                                     const model::MemoryPlan& memory,
                                                     std::int64_t bytes_total) {
  if (!options.progress) return {};
  return [&options, elements = memory.matrix_elements, bytes_total,
          done = std::int64_t{0}](std::int64_t more) mutable {
    done = std::min(done + more, elements);  // shards of the output matrix end with padding
    const double share = static_cast<double>(done) / static_cast<double>(elements);
    return Report(
        options, {.bytes_done = static_cast<std::int64_t>(share * static_cast<double>(bytes_total)),
                  .bytes_total = bytes_total});
  };
}

LoadOptions Resolved(LoadOptions options) {
  options.kv_cache = HeldKv(options);
  return options;
}

// Fills in all that is known before the weights are read.
absl::Status Describe(const model::StoredFormats& source, const model::WantedFormats& wanted,
                      const LoadOptions& options, Model::State& state) {
  CODEGEN_RETURN_IF_ERROR(model::CheckShards(state.config, options.parallel.tensor));
  state.memory = model::PlanMemory(state.config);
  DescribeShape(state.config, state.info);
  DescribeVocabulary(state);
  DescribeWeights(source, wanted, state);
  state.info.parameters = state.memory.parameters;
  state.info.precision = options.precision;
  state.info.device = options.device;
  state.info.kv_cache = HeldKv(options);
  state.info.kv_bytes_per_token = model::KvBytesPerToken(state.config, state.info.kv_cache);
  return OnCpu(options) ? CheckFitsMemory(state.info.weight_bytes) : absl::OkStatus();
}

model::RowInspector::Finite FiniteOf(const LoadOptions& options) {
  using Finite = model::RowInspector::Finite;
  return options.check_finite ? Finite::kRequire : Finite::kIgnore;
}

// The tokens of LoadOptions::calibration; none without a text.
absl::StatusOr<std::vector<TokenId>> CalibrationOf(const LoadOptions& options,
                                                   const std::optional<Tokenizer>& tokenizer) {
  if (options.calibration.empty()) return std::vector<TokenId>();
  if (!tokenizer)
    return absl::InvalidArgumentError("LoadOptions::calibration needs a model with a tokenizer");
  absl::StatusOr<std::vector<TokenId>> tokens = tokenizer->Encode(options.calibration);
  if (!tokens.ok()) {
    return absl::InvalidArgumentError(
        fmt::format("LoadOptions::calibration: {}", std::string(tokens.status().message())));
  }
  if (std::ssize(*tokens) < Limits::least_calibration_tokens) {
    return absl::InvalidArgumentError(
        fmt::format("LoadOptions::calibration has {} tokens, expected at least {}", tokens->size(),
                    Limits::least_calibration_tokens));
  }
  tokens->resize(std::min(tokens->size(), model::kMostCalibrationTokens));
  return tokens;
}

// Moves the weights onto the device.
absl::Status LoadWeights(const model::TensorSource& source, const LoadOptions& options,
                         Model::State& state) {
  const auto wanted = model::WantedFormats::From(options);
  CODEGEN_RETURN_IF_ERROR(Describe(source, wanted, options, state));
  model::RowInspector inspector(FiniteOf(options));
  model::LoadPlan plan{.config = state.config,
                       .formats = wanted,
                       .on_tensor = ProgressOf(options, state.memory, state.info.weight_bytes)};
  CODEGEN_ASSIGN_OR_RETURN(plan.calibration, CalibrationOf(options, state.tokenizer));
  const auto load = OnCpu(options) ? api::LoadOnCpu : api::LoadOnCuda;
  CODEGEN_ASSIGN_OR_RETURN(state.on_device, load(Resolved(options), source, inspector, plan));
  state.info.gpu_library = state.on_device.gpu_library;
  state.info.cpu_features = state.on_device.cpu_features;
  state.info.fingerprint = inspector.Fingerprint();
  return absl::OkStatus();
}

// The same for what Save wrote.
absl::Status LoadSaved(checkpoint::Checkpoint checkpoint, const LoadOptions& options,
                       Model::State& state) {
  CODEGEN_ASSIGN_OR_RETURN(const model::SavedModel saved,
                           model::SavedModel::Create(state.config, std::move(checkpoint)));
  CODEGEN_RETURN_IF_ERROR(Describe(saved, {}, options, state));
  CODEGEN_RETURN_IF_ERROR(api::CheckSavedFormats(saved.header(), state.info));
  const model::SavedPlan plan{
      .config = state.config,
      .finite = FiniteOf(options),
      .on_tensor = ProgressOf(options, state.memory, state.info.weight_bytes)};
  CODEGEN_ASSIGN_OR_RETURN(state.on_device, api::LoadSavedOnCpu(Resolved(options), saved, plan));
  state.info.cpu_features = state.on_device.cpu_features;
  state.info.fingerprint = saved.header().fingerprint;
  return absl::OkStatus();
}

absl::Status LoadPublished(checkpoint::Checkpoint checkpoint, const LoadOptions& options,
                           Model::State& state) {
  CODEGEN_ASSIGN_OR_RETURN(const model::CheckpointSource source,
                           model::CheckpointSource::Create(state.config, std::move(checkpoint)));
  return LoadWeights(source, options, state);
}

MemoryEstimate Estimate(const model::ModelConfig& config, const LoadOptions& options) {
  const auto bytes = [&config](WeightFormat format) {
    return model::WeightBytes(config, model::WantedFormats::From({.weights = format}));
  };
  return {.parameters = model::PlanMemory(config).parameters,
          .f32_bytes = bytes(WeightFormat::kF32),
          .bf16_bytes = bytes(WeightFormat::kBf16),
          .f16_bytes = bytes(WeightFormat::kF16),
          .int8_bytes = bytes(WeightFormat::kInt8),
          .int4_bytes = bytes(WeightFormat::kInt4),
          .kv_bytes_per_token = model::KvBytesPerToken(config, HeldKv(options))};
}

}  // namespace

absl::StatusOr<Model> Model::Load(const std::string& folder, const LoadOptions& given) try {
  CODEGEN_RETURN_IF_ERROR(CheckOptions(given));
  auto state = std::make_shared<State>();
  // Opened first, for a saved model says how to read the rest; if that fails, config and tokenizer
  // may have more to say about it.
  absl::StatusOr<checkpoint::Checkpoint> checkpoint =
      checkpoint::Checkpoint::Open(folder, given.formats);
  const bool saved = checkpoint.ok() && model::SavedHeader::IsIn(checkpoint->metadata());
  model::SavedHeader header;
  LoadOptions options = ForDevice(given);
  if (saved) {
    if (given.parallel.tensor != 1) {
      return absl::UnimplementedError(
          fmt::format("LoadOptions::parallel.tensor is {}, must be 1 for a saved model",
                      given.parallel.tensor));
    }
    CODEGEN_ASSIGN_OR_RETURN(header, model::SavedHeader::Parse(checkpoint->metadata()));
    CODEGEN_ASSIGN_OR_RETURN(options, api::OptionsOfSaved(header, given));
  }
  api::Origin origin;
  CODEGEN_ASSIGN_OR_RETURN(origin.config_json, ReadConfigJson(folder));
  CODEGEN_ASSIGN_OR_RETURN(state->config, ParseConfig(origin.config_json, options));
  api::FindTokenizer(folder, options, state->config, header.tokenizer, origin);
  CODEGEN_ASSIGN_OR_RETURN(state->tokenizer, LoadTokenizer(origin, state->config));
  if (!checkpoint.ok()) return checkpoint.status();
  CODEGEN_RETURN_IF_ERROR(saved ? LoadSaved(*std::move(checkpoint), options, *state)
                                : LoadPublished(*std::move(checkpoint), options, *state));
  state->origin = std::move(origin);
  return Model(std::move(state));
} catch (const std::bad_alloc&) {
  return base::NoMemory("no memory to load the model");
}

absl::StatusOr<Model> Model::Random(const std::string& config_file, const LoadOptions& given) try {
  CODEGEN_RETURN_IF_ERROR(CheckOptions(given));
  const LoadOptions options = ForDevice(given);
  auto state = std::make_shared<State>();
  CODEGEN_ASSIGN_OR_RETURN(state->config, model::ReadModelConfig(config_file, options.qkv_groups));
  CODEGEN_RETURN_IF_ERROR(LoadWeights(model::RandomSource(), options, *state));
  return Model(std::move(state));
} catch (const std::bad_alloc&) {
  return base::NoMemory("no memory to load the model");
}

absl::StatusOr<MemoryEstimate> Model::EstimateMemory(const std::string& folder,
                                                     const LoadOptions& options) try {
  CODEGEN_RETURN_IF_ERROR(CheckOptions(options));
  CODEGEN_ASSIGN_OR_RETURN(const std::string config_json, ReadConfigJson(folder));
  CODEGEN_ASSIGN_OR_RETURN(const model::ModelConfig config, ParseConfig(config_json, options));
  return Estimate(config, options);
} catch (const std::bad_alloc&) {
  return base::NoMemory("no memory to read the config");
}

Model::Model(std::shared_ptr<const State> state) : state_(std::move(state)) {}

const ModelInfo& Model::info() const { return state_->info; }

const std::optional<Tokenizer>& Model::tokenizer() const { return state_->tokenizer; }

MemoryEstimate Model::memory() const {
  return Estimate(state_->config, {.kv_cache = state_->info.kv_cache});
}

}  // namespace codegen
