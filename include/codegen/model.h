// SPDX-License-Identifier: Apache-2.0
//
// A model in memory.
//
//   auto model = codegen::Model::Load("path/to/hf-folder", {.weights =
//   codegen::WeightFormat::kBf16}); if (!model.ok()) std::cerr << model.status() << '\n';
#ifndef CODEGEN_MODEL_H_
#define CODEGEN_MODEL_H_

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "codegen/export.h"
#include "codegen/options.h"
#include "codegen/tokenizer.h"

namespace codegen {

// What a model is. Sizes count elements unless they say bytes.
struct ModelInfo {
  std::string family = {};  // "codegen1", "codegen2", "codegen2.5" or "llama" (a LLaMA-type model
                            // of another vocabulary)
  int layers = 0;
  int width = 0;  // of the residual stream: n_embd, hidden_size
  int heads = 0;
  int head_dim = 0;
  int rotary_dim = 0;
  int inner = 0;       // of the feed-forward layer: n_inner, intermediate_size
  int vocabulary = 0;  // rows of the embedding
  int context = 0;     // tokens, prompt and completion together
  int qkv_groups = 0;  // of CodeGen1's and 2's fused matrix; 0 for LLaMA-type models
  std::int64_t parameters = 0;
  WeightFormat weights = WeightFormat::kAuto;       // of the blocks; kAuto where they differ
  WeightFormat head_weights = WeightFormat::kAuto;  // of the output matrix
  ComputePrecision precision = ComputePrecision::kFast;
  KvFormat kv_cache = KvFormat::kBf16;                // never kAuto
  Device device = Device::Cpu();                      // where it runs
  CpuFeatures cpu_features = CpuFeatures::kPortable;  // never kAuto; on a GPU kPortable
  // What computes products of many rows on a GPU, empty on the CPU: "cuBLASLt 13.1.0",
  // with LoadOptions::tuning ", 112 products tuned" or ", not tuned: " and why; or "none: " and
  // why, where kernels of our own do it that are slower with prompts: the library is not there or
  // does not work, or LoadOptions::deterministic.
  std::string gpu_library = {};
  std::int64_t weight_bytes = 0;        // held in memory
  std::int64_t kv_bytes_per_token = 0;  // of a session or batch
  TokenId end_of_text = -1;             // ends a completion; -1 if there is none
  std::string tokenizer = {};           // Tokenizer::kind(), empty without one
  std::string fingerprint = {};  // 16 hexadecimal digits over shape and weights' values; same
                                 // values, same digits
  std::vector<std::string> warnings =
      {};  // what the folder says that was overruled, one sentence each
};

// Memory of a model before it is loaded, in bytes: what its weights take in each format and a
// session's cache.
struct MemoryEstimate {
  std::int64_t parameters = 0;
  std::int64_t f32_bytes = 0;
  std::int64_t bf16_bytes = 0;
  std::int64_t f16_bytes = 0;
  std::int64_t int8_bytes = 0;
  std::int64_t int4_bytes = 0;  // embedding and output matrix in int8
  std::int64_t kv_bytes_per_token = 0;
};

// An immutable model: weights, tokenizer and the compute threads of its sessions. Copies share it;
// safe to use from any number of threads; lives as long as any copy or session of it.
class CODEGEN_EXPORT Model {
 public:
  // Reads a Hugging Face folder: config.json; model.safetensors, model.safetensors.index.json,
  // pytorch_model.bin or pytorch_model.bin.index.json, whichever is there first; and tokenizer
  // files if there are any (a folder without them works with token ids). Blocks until the weights
  // are in memory. No code of the folder is run and nothing is fetched. Errors: NOT_FOUND /
  // PERMISSION_DENIED (a file), DATA_LOSS (its bytes are not what its format says, or weights are
  // not finite), INVALID_ARGUMENT (config, tensors or options contradict each other or Limits),
  // FAILED_PRECONDITION (a device or cpu_features that are not there), UNIMPLEMENTED (an
  // architecture, dtype or tokenizer this library does not know, or what it cannot do on that
  // device), RESOURCE_EXHAUSTED (memory, threads, Limits), CANCELLED and UNKNOWN
  // (LoadOptions::progress said so, or threw), UNAVAILABLE and INTERNAL (the GPU was lost, or
  // failed).
  static absl::StatusOr<Model> Load(const std::string& folder, const LoadOptions& options = {});

  // Makes a model of the shape that a config.json describes, with small random weights and no
  // tokenizer: for measuring speed without weights. WeightFormat::kAuto means bf16 here. Errors: as
  // Load.
  static absl::StatusOr<Model> Random(const std::string& config_file,
                                      const LoadOptions& options = {});

  // Writes the model into `folder`, which is made if it is not there: config.json, the tokenizer
  // files that the model was loaded with, and its weights as they lie in memory, in one
  // model.safetensors. Load reads such a folder without quantising or rearranging anything, and the
  // results are the same to the bit; LoadOptions::weights and head_weights must then be kAuto or
  // what was saved. Nothing is written over: a folder that holds a model.safetensors is refused.
  // Errors: FAILED_PRECONDITION (a Random model; the folder holds a model, or another config.json
  // or tokenizer; or it is no folder), NOT_FOUND / PERMISSION_DENIED (the folder cannot be made, or
  // the files of the tokenizer are gone), INVALID_ARGUMENT (not a possible path),
  // RESOURCE_EXHAUSTED (the disk is full), UNIMPLEMENTED (a model on a GPU). A failed Save leaves
  // no model.safetensors behind, and may be tried again.
  absl::Status Save(const std::string& folder) const;

  // Reads config.json alone. Errors: as Load.
  static absl::StatusOr<MemoryEstimate> EstimateMemory(const std::string& folder,
                                                       const LoadOptions& options = {});

  const ModelInfo& info() const;
  // Empty if the folder has no tokenizer files.
  const std::optional<Tokenizer>& tokenizer() const;

  // What the weights would take in each format.
  MemoryEstimate memory() const;

  struct State;
  const std::shared_ptr<const State>& state() const { return state_; }  // for the library itself

 private:
  explicit Model(std::shared_ptr<const State> state);
  std::shared_ptr<const State> state_;
};

}  // namespace codegen

#endif  // CODEGEN_MODEL_H_
