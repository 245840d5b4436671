// SPDX-License-Identifier: Apache-2.0
//
// Options of loading and running, as aggregates with defaults.
#ifndef CODEGEN_OPTIONS_H_
#define CODEGEN_OPTIONS_H_

#include <cstdint>
#include <functional>
#include <string>

namespace codegen {

// How weight matrices are held in memory. Activations are always float32.
enum class WeightFormat {
  kAuto,  // each matrix in the type it is stored in
  kF32,
  kBf16,  // rounded to nearest even where the file holds more
  kF16,
};

// "auto", "f32", "bf16" or "f16".
constexpr const char* WeightFormatName(WeightFormat format) {
  switch (format) {
    case WeightFormat::kAuto:
      return "auto";
    case WeightFormat::kF32:
      return "f32";
    case WeightFormat::kBf16:
      return "bf16";
    case WeightFormat::kF16:
      return "f16";
  }
  return "";
}

// Which kinds of weight files may be opened. Both readers only ever read: neither can run code from
// a file.
struct FileFormats {
  bool safetensors = true;
  bool torch_pickle = true;  // pytorch_model.bin, the form Salesforce publishes
};

// Where a model runs. The CPU is the only device of this version.
struct Device {
  enum class Kind { kCpu };
  Kind kind = Kind::kCpu;
  static constexpr Device Cpu() { return {}; }
};

struct LoadProgress {
  std::int64_t bytes_done = 0;
  std::int64_t bytes_total = 0;
};

struct LoadOptions {
  Device device = Device::Cpu();
  WeightFormat weights = WeightFormat::kAuto;
  // Threads of the model's compute pool, the calling thread included; 0 takes one per CPU that the
  // process may use (affinity and cgroup quota). At most Limits::threads.
  int threads = 0;
  // A folder to read the tokenizer from instead of the model's own. CodeGen2.5 publishes its tokenizer
  // as Python code only, so give it any CodeGen1, CodeGen2 or GPT-2 folder (tokenizer.json, vocab.json
  // + merges.txt, vocab.bpe or gpt2.tiktoken), from which its vocabulary is built.
  std::string tokenizer_folder = {};
  // Groups of the fused q,v,k matrix of CodeGen1 and 2; 0 detects (8 for 16 layers, else 4).
  // Neither config.json nor the weights say it, and a wrong number gives nonsense without an error.
  int qkv_groups = 0;
  FileFormats formats = {};
  // Refuse weights that hold NaN or infinity (DATA_LOSS naming the tensor).
  bool check_finite = true;
  // Called on the loading thread after each tensor. Must not throw.
  std::function<void(const LoadProgress&)> progress = {};
};

struct SessionOptions {
  // Tokens that the session can hold, prompt and completion together; 0 takes the model's context
  // length.
  int context_tokens = 0;
  // Prompt tokens computed in one step: bounds scratch memory and the time until Cancel takes
  // effect. In [1, 4096].
  int prefill_chunk = 256;
};

// Every bound that the library enforces on what it is given. Exceeding one is INVALID_ARGUMENT or
// RESOURCE_EXHAUSTED, naming the field and the limit.
struct Limits {
  static constexpr int threads = 256;
  static constexpr int stop_strings = 64;
  static constexpr int stop_string_bytes = 1024;
  static constexpr int stop_tokens = 1024;
  static constexpr std::int64_t prompt_bytes = std::int64_t{64} << 20;
  static constexpr std::int64_t config_bytes = std::int64_t{1} << 20;
  static constexpr std::int64_t tokenizer_bytes = std::int64_t{64} << 20;
  static constexpr std::int64_t shard_index_bytes = std::int64_t{64} << 20;
  static constexpr std::int64_t safetensors_header_bytes = std::int64_t{100} << 20;
  static constexpr std::int64_t pickle_bytes = std::int64_t{64} << 20;
  static constexpr int shards = 4096;
  static constexpr int tensors = 100'000;
  static constexpr int tensor_rank = 8;
  static constexpr int json_depth = 64;
  static constexpr int token_bytes = 4096;
  static constexpr int vocabulary = 1 << 20;
  static constexpr int layers = 1024;
  static constexpr int width = 1 << 20;
  static constexpr int context = 1 << 20;
};

}  // namespace codegen

#endif  // CODEGEN_OPTIONS_H_
