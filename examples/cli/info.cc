// SPDX-License-Identifier: Apache-2.0
//
// codegen info: what a folder holds.

#include <fmt/format.h>

#include <filesystem>
#include <optional>

#include "command.h"
#include "input.h"
#include "load.h"
#include "output.h"

namespace cli {
namespace {

Json BytesPerFormat(const codegen::MemoryEstimate& memory) {
  return {{"f32", memory.f32_bytes},
          {"bf16", memory.bf16_bytes},
          {"f16", memory.f16_bytes},
          {"int8", memory.int8_bytes},
          {"int4", memory.int4_bytes}};
}

Json ToJson(const codegen::ModelInfo& info, const codegen::MemoryEstimate& memory) {
  return {{"family", info.family},
          {"shape",
           {{"layers", info.layers},
            {"width", info.width},
            {"heads", info.heads},
            {"head_dim", info.head_dim},
            {"rotary_dim", info.rotary_dim},
            {"inner", info.inner},
            {"vocabulary", info.vocabulary},
            {"context", info.context},
            {"qkv_groups", info.qkv_groups}}},
          {"parameters", info.parameters},
          {"weights", codegen::WeightFormatName(info.weights)},
          {"head_weights", codegen::WeightFormatName(info.head_weights)},
          {"weight_bytes", info.weight_bytes},
          {"bytes_per_format", BytesPerFormat(memory)},
          {"kv_cache", codegen::KvFormatName(info.kv_cache)},
          {"kv_bytes_per_token", info.kv_bytes_per_token},
          {"precision", codegen::ComputePrecisionName(info.precision)},
          {"device", codegen::DeviceName(info.device)},
          {"cpu_features", codegen::CpuFeaturesName(info.cpu_features)},
          {"gpu_library", OrNull(info.gpu_library)},
          {"end_of_text", info.end_of_text < 0 ? Json() : Json(info.end_of_text)},
          {"tokenizer", OrNull(info.tokenizer)},
          {"fingerprint", info.fingerprint},
          {"warnings", info.warnings}};
}

// The same keys for a folder without weights.
Json ToJson(const codegen::Tokenizer& tokenizer,
            const std::optional<codegen::MemoryEstimate>& memory) {
  const std::optional<codegen::TokenId> end_of_text = tokenizer.end_of_text();
  return {{"family", nullptr},
          {"shape", nullptr},
          {"parameters", memory ? Json(memory->parameters) : Json()},
          {"weights", nullptr},
          {"head_weights", nullptr},
          {"weight_bytes", nullptr},
          {"bytes_per_format", memory ? BytesPerFormat(*memory) : Json()},
          {"kv_cache", nullptr},
          {"kv_bytes_per_token", memory ? Json(memory->kv_bytes_per_token) : Json()},
          {"precision", nullptr},
          {"device", nullptr},
          {"cpu_features", nullptr},
          {"gpu_library", nullptr},
          {"end_of_text", end_of_text ? Json(*end_of_text) : Json()},
          {"tokenizer", tokenizer.kind()},
          {"fingerprint", nullptr},
          {"warnings", Json::array()}};
}

std::string Plain(const Json& value) {
  return value.is_string() ? value.get<std::string>() : value.dump();
}

// One line for each value that is known.
std::string ToTable(const Json& info) {
  std::string table;
  for (const auto& [key, value] : info.items()) {
    if (value.is_object()) {
      for (const auto& [part, number] : value.items()) {
        table += fmt::format("{:21} {}\n", fmt::format("{}.{}", key, part), number.dump());
      }
    } else if (value.is_array()) {
      for (const Json& line : value) table += fmt::format("{:21} {}\n", key, Plain(line));
    } else if (!value.is_null()) {
      table += fmt::format("{:21} {}\n", key, Plain(value));
    }
  }
  return table;
}

bool HasWeights(const std::string& folder) {
  for (const char* name : {"model.safetensors", "model.safetensors.index.json", "pytorch_model.bin",
                           "pytorch_model.bin.index.json"}) {
    std::error_code ignored;
    if (std::filesystem::exists(folder + "/" + name, ignored)) return true;
  }
  return false;
}

// A folder without weights is described by its tokenizer and, if it has one, its config.json.
absl::StatusOr<Json> Describe(const Flags& flags) {
  if (!HasWeights(flags.model)) {
    const absl::StatusOr<codegen::Tokenizer> tokenizer = LoadTokenizer(flags);
    const absl::StatusOr<codegen::MemoryEstimate> memory =
        codegen::Model::EstimateMemory(flags.model, flags.load);
    if (tokenizer.ok())
      return ToJson(*tokenizer, memory.ok() ? std::optional(*memory) : std::nullopt);
    if (flags.model.empty() || !absl::IsNotFound(tokenizer.status())) return tokenizer.status();
  }
  const absl::StatusOr<LoadedModel> loaded = LoadModel(flags);
  if (!loaded.ok()) return loaded.status();
  return ToJson(loaded->model.info(), loaded->model.memory());
}

absl::Status Run(const Flags& flags) {
  const absl::StatusOr<Json> info = Describe(flags);
  if (!info.ok()) return info.status();
  return flags.json ? WriteLine(*info) : Write(ToTable(*info));
}

absl::Status Check(const Flags& flags) {
  return flags.load.tokenizer_folder.empty() ? CheckModel(flags) : absl::OkStatus();
}

}  // namespace

Command InfoCommand() {
  return {
      .name = "info",
      .summary = "describe a model: family, shape, memory, tokenizer",
      .details = R"(Loads the weights, for the fingerprint is made of their values. A folder without
weights is described as far as it goes.
--json prints {"family", "shape": {"layers", "width", "heads", "head_dim",
  "rotary_dim", "inner", "vocabulary", "context", "qkv_groups"},
  "parameters", "weights", "head_weights", "weight_bytes",
  "bytes_per_format": {"f32", "bf16", "f16", "int8", "int4"},
  "kv_cache", "kv_bytes_per_token", "precision", "device", "cpu_features",
  "gpu_library", "end_of_text", "tokenizer", "fingerprint", "warnings": []}; null where unknown.
)",
      .example = "codegen info --model examples/models/codegen-tiny-python",
      .flags = {CommonFlags()},
      .check = Check,
      .run = Run};
}

}  // namespace cli
