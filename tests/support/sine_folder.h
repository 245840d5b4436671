// SPDX-License-Identifier: Apache-2.0
//
// A sine model (sine_model.h) as a folder that Model::Load reads.
#ifndef CODEGEN_TESTS_SUPPORT_SINE_FOLDER_H_
#define CODEGEN_TESTS_SUPPORT_SINE_FOLDER_H_

#include <fmt/format.h>

#include <string>
#include <vector>

#include "support/checkpoint_writer.h"
#include "support/sine_model.h"
#include "support/temp_folder.h"

namespace codegen::testing {

// config.json of a model of that shape.
inline std::string ConfigJson(const model::ModelConfig& config, int eos) {
  if (config.architecture == model::Architecture::kLlama) {
    return fmt::format(
        R"({{"model_type": "llama", "vocab_size": {}, "max_position_embeddings": {}, "hidden_size": {},)"
        R"( "num_hidden_layers": {}, "num_attention_heads": {}, "intermediate_size": {}, "rms_norm_eps": {},)"
        R"( "eos_token_id": {}}})",
        config.vocabulary, config.context, config.width, config.layers, config.heads.count,
        config.inner, config.norm_epsilon, eos);
  }
  return fmt::format(
      R"({{"model_type": "codegen", "vocab_size": {}, "n_positions": {}, "n_embd": {}, "n_layer": {}, "n_head": {},)"
      R"( "rotary_dim": {}, "n_inner": {}, "layer_norm_epsilon": {}, "eos_token_id": {}}})",
      config.vocabulary, config.context, config.width, config.layers, config.heads.count,
      config.heads.rotary_dim, config.inner, config.norm_epsilon, eos);
}

// The tensors of the model, by name.
inline StoredTensors SineTensors(const model::ModelConfig& config) {
  const SineSource source(config);
  StoredTensors tensors;
  for (const model::ExpectedTensor& tensor : model::ExpectedTensors(config)) {
    std::vector<float> values(static_cast<std::size_t>(tensor.elements()));
    (void)source.Open(tensor)->read(0, tensor.rows(), values);
    tensors[tensor.name] = {.shape = tensor.shape, .values = std::move(values)};
  }
  return tensors;
}

// Writes config.json and model.safetensors of a model.
inline void WriteSineFolder(const TempFolder& folder, const model::ModelConfig& config,
                            int eos = 12) {
  folder.Write("config.json", ConfigJson(config, eos));
  folder.Write("model.safetensors", SafetensorsFile(SineTensors(config)));
}

// The same of the tiny CodeGen model with four groups.
inline void WriteSineFolder(const TempFolder& folder, int eos = 12) {
  WriteSineFolder(folder, TinyCodeGen(4), eos);
}

}  // namespace codegen::testing

#endif  // CODEGEN_TESTS_SUPPORT_SINE_FOLDER_H_
