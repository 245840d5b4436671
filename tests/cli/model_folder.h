// SPDX-License-Identifier: Apache-2.0
//
// A model small enough to be written by each test that runs it.
#ifndef CODEGEN_TESTS_CLI_MODEL_FOLDER_H_
#define CODEGEN_TESTS_CLI_MODEL_FOLDER_H_

#include <string>
#include <string_view>

namespace codegen::testing {

// A folder that is removed with everything in it.
class ScratchFolder {
 public:
  ScratchFolder();
  ~ScratchFolder();
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;

  const std::string& path() const { return path_; }
  std::string Write(const std::string& name, std::string_view bytes) const;  // returns the path

 private:
  std::string path_;
};

// The shape of ModelFolder: CodeGen1 with 2 layers, width 32, 4 heads, 300 tokens, context 64.
inline constexpr std::string_view kTinyConfig = R"({
  "model_type": "codegen", "architectures": ["CodeGenForCausalLM"], "activation_function": "gelu_new",
  "n_embd": 32, "n_inner": null, "n_layer": 2, "n_head": 4, "rotary_dim": 8, "n_ctx": 64, "n_positions": 64,
  "vocab_size": 300, "layer_norm_epsilon": 1e-05, "eos_token_id": 258, "bos_token_id": 258,
  "tie_word_embeddings": false, "torch_dtype": "float32"
})";

// The end of the text in TokenizerFolder and ModelFolder.
inline constexpr int kEndOfText = 258;

// tokenizer.json: the 256 bytes (each its own id), "de" 256, "def" 257 and <|endoftext|> 258.
class TokenizerFolder : public ScratchFolder {
 public:
  TokenizerFolder();
};

// config.json and model.safetensors with random weights; no tokenizer.
class IdsModelFolder : public ScratchFolder {
 public:
  IdsModelFolder();
};

// The same with the tokenizer.
class ModelFolder : public IdsModelFolder {
 public:
  ModelFolder();
};

}  // namespace codegen::testing

#endif  // CODEGEN_TESTS_CLI_MODEL_FOLDER_H_
