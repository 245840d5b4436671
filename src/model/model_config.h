// SPDX-License-Identifier: Apache-2.0
//
// config.json of the three generations, read into one description: what the architecture templates
// need, with every number checked. Facts about the published files (wrong eos ids, the group count
// that no file states) are applied here and nowhere else.
#ifndef CODEGEN_MODEL_MODEL_CONFIG_H_
#define CODEGEN_MODEL_MODEL_CONFIG_H_

#include <absl/status/statusor.h>

#include <string>
#include <vector>

#include "backend/backend.h"
#include "codegen/request.h"

namespace codegen::base {
class JsonDocument;
}  // namespace codegen::base

namespace codegen::model {

enum class Architecture {
  kCodeGen,  // CodeGen1 and 2: parallel residual, one LayerNorm per block, interleaved rotary pairs
  kLlama,    // CodeGen2.5: RMSNorm, SwiGLU, rotary pairs in halves
};

struct ModelConfig {
  Architecture architecture = Architecture::kCodeGen;
  int layers = 0;
  int width = 0;
  int inner = 0;
  int vocabulary = 0;
  int context = 0;
  int qkv_groups = 0;  // kCodeGen only
  float norm_epsilon = 0;
  backend::Heads heads = {};
  // Ids that end a text by config.json, after the corrections; empty if it names none that the
  // embedding has.
  std::vector<TokenId> end_of_text = {};
  std::vector<std::string> warnings = {};

  // Of queries, keys and values each: `width` where the heads are all there (shard.h).
  int attention_width() const { return heads.count * heads.dim; }
};

// `qkv_groups` overrides the detection; 0 detects.
// Errors: INVALID_ARGUMENT (a key is missing, of the wrong type, out of range, or contradicts
// another), UNIMPLEMENTED (model_type, activation or attention variant unknown here).
absl::StatusOr<ModelConfig> ParseModelConfig(const base::JsonDocument& json, int qkv_groups);

// Reads `path`, a config.json. Errors: as ReadFile, JsonDocument::Parse and ParseModelConfig.
absl::StatusOr<ModelConfig> ReadModelConfig(const std::string& path, int qkv_groups);

// Whether a model has the architecture and the vocabulary of CodeGen2.5.
bool IsCodeGen25(const ModelConfig& config);

// "codegen1", "codegen2", "codegen2.5" or "llama", from the shape and what the tokenizer turned out
// to be.
std::string FamilyName(const ModelConfig& config, const std::string& tokenizer_kind);

}  // namespace codegen::model

#endif  // CODEGEN_MODEL_MODEL_CONFIG_H_
