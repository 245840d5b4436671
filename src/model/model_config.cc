// SPDX-License-Identifier: Apache-2.0
#include "model/model_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "base/json.h"
#include "codegen/options.h"

namespace codegen::model {
namespace {

using simdjson::dom::element;

// `<|endoftext|>` of the GPT-2 vocabulary, which every published model extends.
constexpr TokenId kGpt2EndOfText = 50256;
// What CodeGen1's first and CodeGen2's config.json give instead: the token `#`.
constexpr TokenId kWrongEndOfText = 2;

// Reads typed values out of one object; a null counts as absent.
class Reader {
 public:
  explicit Reader(const base::JsonDocument& json) : json_(json) {}

  bool Has(const char* key) const {
    element value;
    return json_.root().at_key(key).get(value) == simdjson::SUCCESS && !value.is_null();
  }

  absl::StatusOr<int> Int(const char* key, std::int64_t low, std::int64_t high) const {
    CODEGEN_ASSIGN_OR_RETURN(const element value, Find(key));
    std::int64_t number = 0;
    if (value.type() == simdjson::dom::element_type::UINT64)
      return OutOfRange(key, "2^63 or more", low, high);
    if (value.get_int64().get(number) != simdjson::SUCCESS)
      return WrongType(key, "an integer", value);
    if (number < low || number > high) return OutOfRange(key, std::to_string(number), low, high);
    return static_cast<int>(number);
  }

  absl::StatusOr<float> Float(const char* key, double low, double high) const {
    CODEGEN_ASSIGN_OR_RETURN(const element value, Find(key));
    double number = 0;
    if (value.get_double().get(number) != simdjson::SUCCESS)
      return WrongType(key, "a number", value);
    if (!(number >= low && number <= high)) {
      return absl::InvalidArgumentError(
          fmt::format("{}: \"{}\" is {}, allowed {} to {}", json_.name(), key, number, low, high));
    }
    return static_cast<float>(number);
  }

  absl::StatusOr<std::string> String(const char* key) const {
    CODEGEN_ASSIGN_OR_RETURN(const element value, Find(key));
    std::string_view text;
    if (value.get_string().get(text) != simdjson::SUCCESS) return WrongType(key, "a string", value);
    return std::string(text);
  }

  absl::StatusOr<bool> Bool(const char* key) const {
    CODEGEN_ASSIGN_OR_RETURN(const element value, Find(key));
    bool flag = false;
    if (value.get_bool().get(flag) != simdjson::SUCCESS) return WrongType(key, "a boolean", value);
    return flag;
  }

  // An integer or a list of integers; empty if the key is absent.
  absl::StatusOr<std::vector<std::int64_t>> Ints(const char* key) const {
    std::vector<std::int64_t> numbers;
    if (!Has(key)) return numbers;
    CODEGEN_ASSIGN_OR_RETURN(const element value, Find(key));
    std::int64_t number = 0;
    if (value.get_int64().get(number) == simdjson::SUCCESS)
      return std::vector<std::int64_t>{number};
    simdjson::dom::array array;
    if (value.get_array().get(array) != simdjson::SUCCESS)
      return WrongType(key, "an integer or a list", value);
    for (const element item : array) {
      if (item.get_int64().get(number) != simdjson::SUCCESS)
        return WrongType(key, "a list of integers", item);
      numbers.push_back(number);
    }
    return numbers;
  }

  const std::string& file() const { return json_.name(); }

 private:
  absl::StatusOr<element> Find(const char* key) const {
    element value;
    if (json_.root().at_key(key).get(value) != simdjson::SUCCESS) {
      return absl::InvalidArgumentError(fmt::format("{}: \"{}\" is missing", json_.name(), key));
    }
    return value;
  }

  absl::Status WrongType(const char* key, const char* expected, element found) const {
    return absl::InvalidArgumentError(fmt::format("{}: \"{}\" must be {}, found {}", json_.name(),
                                                  key, expected, base::JsonTypeName(found)));
  }

  absl::Status OutOfRange(const char* key, const std::string& found, std::int64_t low,
                          std::int64_t high) const {
    return absl::InvalidArgumentError(
        fmt::format("{}: \"{}\" is {}, allowed {} to {}", json_.name(), key, found, low, high));
  }

  const base::JsonDocument& json_;
};

absl::Status Unsupported(const Reader& reader, const char* key, const std::string& value) {
  return absl::UnimplementedError(fmt::format(
      "{}: \"{}\" is {}, which this version does not support", reader.file(), key, value));
}

absl::Status RequireString(const Reader& reader, const char* key, std::string_view supported) {
  if (!reader.Has(key)) return absl::OkStatus();
  CODEGEN_ASSIGN_OR_RETURN(const std::string value, reader.String(key));
  if (value != supported) return Unsupported(reader, key, fmt::format("\"{}\"", value));
  return absl::OkStatus();
}

absl::Status RequireFalse(const Reader& reader, const char* key) {
  if (!reader.Has(key)) return absl::OkStatus();
  CODEGEN_ASSIGN_OR_RETURN(const bool value, reader.Bool(key));
  return value ? Unsupported(reader, key, "true") : absl::OkStatus();
}

// Splits the width into heads.
absl::Status SetHeads(const Reader& reader, const char* heads_key, const char* width_key,
                      ModelConfig& config) {
  if (config.width % config.heads.count != 0) {
    return absl::InvalidArgumentError(fmt::format("{}: \"{}\" {} is not a multiple of \"{}\" {}",
                                                  reader.file(), width_key, config.width, heads_key,
                                                  config.heads.count));
  }
  config.heads.dim = config.width / config.heads.count;
  if (config.heads.dim % 8 != 0) {
    return Unsupported(reader, heads_key,
                       fmt::format("{}: head size {} is not a multiple of 8", config.heads.count,
                                   config.heads.dim));
  }
  if (!reader.Has("head_dim")) return absl::OkStatus();
  CODEGEN_ASSIGN_OR_RETURN(const int head_dim, reader.Int("head_dim", 1, Limits::width));
  if (head_dim == config.heads.dim) return absl::OkStatus();
  return absl::InvalidArgumentError(fmt::format("{}: \"head_dim\" is {}, but \"{}\" / \"{}\" is {}",
                                                reader.file(), head_dim, width_key, heads_key,
                                                config.heads.dim));
}

// Only CodeGen2-1B and 3.7B have 16 layers, and only they were trained with 8 groups (jaxformer's
// TPU-v3 layout).
absl::Status SetQkvGroups(const Reader& reader, int override_groups, ModelConfig& config) {
  config.qkv_groups = override_groups != 0 ? override_groups : (config.layers == 16 ? 8 : 4);
  if (config.qkv_groups >= 1 && config.heads.count % config.qkv_groups == 0)
    return absl::OkStatus();
  return absl::InvalidArgumentError(fmt::format(
      "{}: \"n_head\" {} does not divide into {} q,v,k groups; set LoadOptions::qkv_groups",
      reader.file(), config.heads.count, config.qkv_groups));
}

// The published configs are not to be trusted: CodeGen2's says eos 2, the token `#`, on which
// generation would stop, while every published model ends its texts with 50256.
absl::Status SetEndOfText(const Reader& reader, ModelConfig& config) {
  CODEGEN_ASSIGN_OR_RETURN(std::vector<std::int64_t> ids, reader.Ints("eos_token_id"));
  if (config.vocabulary > kGpt2EndOfText && ids != std::vector<std::int64_t>{kGpt2EndOfText}) {
    config.warnings.push_back(fmt::format(
        "eos_token_id overruled: texts of this vocabulary end with {}", kGpt2EndOfText));
    ids = {kGpt2EndOfText};
  } else if (config.architecture == Architecture::kCodeGen &&
             ids == std::vector<std::int64_t>{kWrongEndOfText}) {
    config.warnings.push_back(
        "eos_token_id 2 ignored: it is a leftover of CodeGen's published configs");
    ids.clear();
  }
  for (const std::int64_t id : ids) {
    if (id < 0)
      return absl::InvalidArgumentError(
          fmt::format("{}: \"eos_token_id\" is {}, expected >= 0", reader.file(), id));
    if (id < config.vocabulary) {
      config.end_of_text.push_back(static_cast<TokenId>(id));
    } else {
      config.warnings.push_back(fmt::format("eos_token_id {} ignored: the vocabulary has {} rows",
                                            id, config.vocabulary));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckCodeGenVariant(const Reader& reader) {
  CODEGEN_RETURN_IF_ERROR(RequireString(reader, "activation_function", "gelu_new"));
  return RequireFalse(reader, "tie_word_embeddings");
}

absl::Status ParseCodeGen(const Reader& reader, int qkv_groups, ModelConfig& config) {
  CODEGEN_RETURN_IF_ERROR(CheckCodeGenVariant(reader));
  CODEGEN_ASSIGN_OR_RETURN(config.layers, reader.Int("n_layer", 1, Limits::layers));
  CODEGEN_ASSIGN_OR_RETURN(config.width, reader.Int("n_embd", 8, Limits::width));
  CODEGEN_ASSIGN_OR_RETURN(config.heads.count, reader.Int("n_head", 1, Limits::width));
  CODEGEN_ASSIGN_OR_RETURN(config.vocabulary, reader.Int("vocab_size", 1, Limits::vocabulary));
  CODEGEN_ASSIGN_OR_RETURN(config.context, reader.Int("n_positions", 1, Limits::context));
  CODEGEN_RETURN_IF_ERROR(SetHeads(reader, "n_head", "n_embd", config));
  CODEGEN_ASSIGN_OR_RETURN(config.heads.rotary_dim, reader.Int("rotary_dim", 2, config.heads.dim));
  if (config.heads.rotary_dim % 2 != 0) {
    return absl::InvalidArgumentError(
        fmt::format("{}: \"rotary_dim\" {} is odd", reader.file(), config.heads.rotary_dim));
  }
  config.inner = 4 * config.width;
  if (reader.Has("n_inner")) {
    CODEGEN_ASSIGN_OR_RETURN(config.inner,
                             reader.Int("n_inner", 1, std::int64_t{16} * Limits::width));
  }
  config.norm_epsilon = 1e-5F;
  if (reader.Has("layer_norm_epsilon")) {
    CODEGEN_ASSIGN_OR_RETURN(config.norm_epsilon, reader.Float("layer_norm_epsilon", 0, 1));
  }
  config.heads.rotary_pairs = backend::RotaryPairs::kInterleaved;
  return SetQkvGroups(reader, qkv_groups, config);
}

absl::Status CheckLlamaVariant(const Reader& reader, int qkv_groups) {
  if (qkv_groups != 0) {
    return absl::InvalidArgumentError("qkv_groups: only CodeGen1 and 2 have a fused q,v,k matrix");
  }
  CODEGEN_RETURN_IF_ERROR(RequireString(reader, "hidden_act", "silu"));
  CODEGEN_RETURN_IF_ERROR(RequireFalse(reader, "tie_word_embeddings"));
  CODEGEN_RETURN_IF_ERROR(RequireFalse(reader, "attention_bias"));
  CODEGEN_RETURN_IF_ERROR(RequireFalse(reader, "mlp_bias"));
  if (reader.Has("rope_scaling")) return Unsupported(reader, "rope_scaling", "set");
  return absl::OkStatus();
}

absl::Status ParseLlama(const Reader& reader, int qkv_groups, ModelConfig& config) {
  CODEGEN_RETURN_IF_ERROR(CheckLlamaVariant(reader, qkv_groups));
  CODEGEN_ASSIGN_OR_RETURN(config.layers, reader.Int("num_hidden_layers", 1, Limits::layers));
  CODEGEN_ASSIGN_OR_RETURN(config.width, reader.Int("hidden_size", 8, Limits::width));
  CODEGEN_ASSIGN_OR_RETURN(config.inner,
                           reader.Int("intermediate_size", 1, std::int64_t{16} * Limits::width));
  CODEGEN_ASSIGN_OR_RETURN(config.heads.count, reader.Int("num_attention_heads", 1, Limits::width));
  CODEGEN_ASSIGN_OR_RETURN(config.vocabulary, reader.Int("vocab_size", 1, Limits::vocabulary));
  CODEGEN_ASSIGN_OR_RETURN(config.context,
                           reader.Int("max_position_embeddings", 1, Limits::context));
  CODEGEN_ASSIGN_OR_RETURN(config.norm_epsilon, reader.Float("rms_norm_eps", 0, 1));
  CODEGEN_RETURN_IF_ERROR(SetHeads(reader, "num_attention_heads", "hidden_size", config));
  if (reader.Has("num_key_value_heads")) {
    CODEGEN_ASSIGN_OR_RETURN(const int kv_heads,
                             reader.Int("num_key_value_heads", 1, Limits::width));
    if (kv_heads != config.heads.count)
      return Unsupported(reader, "num_key_value_heads", std::to_string(kv_heads));
  }
  if (reader.Has("rope_theta")) {
    CODEGEN_ASSIGN_OR_RETURN(config.heads.rotary_base, reader.Float("rope_theta", 1, 1e12));
  }
  config.heads.rotary_dim = config.heads.dim;
  config.heads.rotary_pairs = backend::RotaryPairs::kHalves;
  return absl::OkStatus();
}

void WarnOfCode(const Reader& reader, ModelConfig& config) {
  for (const char* key : {"auto_map", "custom_code", "trust_remote_code"}) {
    if (reader.Has(key))
      config.warnings.push_back(
          fmt::format("{} ignored: no code of a model folder is ever run", key));
  }
}

}  // namespace

absl::StatusOr<ModelConfig> ParseModelConfig(const base::JsonDocument& json, int qkv_groups) {
  const Reader reader(json);
  CODEGEN_ASSIGN_OR_RETURN(const std::string type, reader.String("model_type"));
  ModelConfig config;
  if (type == "codegen") {
    config.architecture = Architecture::kCodeGen;
    CODEGEN_RETURN_IF_ERROR(ParseCodeGen(reader, qkv_groups, config));
  } else if (type == "llama") {
    config.architecture = Architecture::kLlama;
    CODEGEN_RETURN_IF_ERROR(ParseLlama(reader, qkv_groups, config));
  } else {
    return Unsupported(reader, "model_type", fmt::format("\"{}\"", type.substr(0, 100)));
  }
  CODEGEN_RETURN_IF_ERROR(SetEndOfText(reader, config));
  WarnOfCode(reader, config);
  return config;
}

absl::StatusOr<ModelConfig> ReadModelConfig(const std::string& path, int qkv_groups) {
  CODEGEN_ASSIGN_OR_RETURN(const base::JsonDocument json,
                           base::JsonDocument::Read(path, Limits::config_bytes));
  return ParseModelConfig(json, qkv_groups);
}

bool IsCodeGen25(const ModelConfig& config) {
  constexpr int kRows = 51200;
  return config.architecture == Architecture::kLlama && config.vocabulary == kRows;
}

std::string FamilyName(const ModelConfig& config, const std::string& tokenizer_kind) {
  if (config.architecture == Architecture::kLlama) {
    return IsCodeGen25(config) ? "codegen2.5" : "llama";
  }
  // Without a tokenizer only the shape of 1B and 3.7B gives CodeGen2 away.
  return tokenizer_kind == "codegen2" || config.qkv_groups == 8 ? "codegen2" : "codegen1";
}

}  // namespace codegen::model
