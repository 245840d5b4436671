// SPDX-License-Identifier: Apache-2.0
//
// Options of loading and running, as aggregates with defaults.
#ifndef CODEGEN_OPTIONS_H_
#define CODEGEN_OPTIONS_H_

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace codegen {

class ThreadPool;

// How weight matrices are held in memory.
enum class WeightFormat {
  kAuto,  // each matrix in the type it is stored in; on a GPU as kBf16
  kF32,
  kBf16,  // rounded to nearest even where the file holds more
  kF16,
  kInt8,  // 8 bits and a float32 scale per row (an output of the matrix)
  kInt4,  // 4 bits, and a float16 scale and minimum for each group of inputs of a row
};

// "auto", "f32", "bf16", "f16", "int8" or "int4".
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
    case WeightFormat::kInt8:
      return "int8";
    case WeightFormat::kInt4:
      return "int4";
  }
  return "";
}

// In what the products of activations and weights are computed. Between them activations are
// float32 (on a GPU bf16, but for the residual and the logits), and every sum is float32 or an
// exact integer.
enum class ComputePrecision {
  // Activations as float32, weights as the exact numbers that their format stands for.
  kExact,
  // What the CPU multiplies fastest. int8 and int4 weights meet activations rounded to int8, one
  // scale per token, on every CPU with the same result to the bit. bf16 weights meet activations
  // rounded to bf16 where the CPU has fast instructions for it (CpuFeatures::kAvx512Bf16 and kAmx),
  // and float32 ones elsewhere; likewise a cache of bf16 meets queries and weights of attention.
  // f16 and f32 weights: as kExact. On a GPU, which has only this: all activations in bf16.
  kFast,
};

// "exact" or "fast".
constexpr const char* ComputePrecisionName(ComputePrecision precision) {
  return precision == ComputePrecision::kExact ? "exact" : "fast";
}

// How the keys and values of past tokens are held.
enum class KvFormat {
  kAuto,  // bf16; on the CPU f32 where the precision is kExact
  kF32,   // on the CPU only
  kBf16,  // rounded to nearest even, half the memory
};

// "auto", "f32" or "bf16".
constexpr const char* KvFormatName(KvFormat format) {
  switch (format) {
    case KvFormat::kAuto:
      return "auto";
    case KvFormat::kF32:
      return "f32";
    case KvFormat::kBf16:
      return "bf16";
  }
  return "";
}

// Instruction sets that there are kernels for, each including those before it. On Arm there is
// kPortable alone, which is NEON.
enum class CpuFeatures {
  kAuto,      // the best that this CPU is known to run fast
  kPortable,  // what the compiler takes for granted (SSE2 on x86-64)
  kSse4,
  kAvx2,        // with FMA and F16C
  kAvx512,      // F, BW, CD, DQ, VL
  kAvx512Vnni,  // dot products of int8
  kAvx512Bf16,  // dot products of bf16; automatic on AMD, slower than float32 ones on Intel
  // Tiles of bf16, and of int8 and int4 from 5 and 10 rows on. Automatic where the CPU describes
  // its tiles (CPUID leaf 0x1D); where a hypervisor hides that, asking for kAmx is granted, but not
  // every such machine can run it.
  kAmx,
};

// "auto", "portable", "sse4", "avx2", "avx512", "avx512-vnni", "avx512-bf16" or "amx".
constexpr const char* CpuFeaturesName(CpuFeatures features) {
  constexpr const char* kNames[] = {"auto",   "portable",    "sse4",        "avx2",
                                    "avx512", "avx512-vnni", "avx512-bf16", "amx"};
  return kNames[static_cast<int>(features)];
}

// Which kinds of weight files may be opened. Both readers only ever read: neither can run code from
// a file.
struct FileFormats {
  bool safetensors = true;
  bool torch_pickle = true;  // pytorch_model.bin, the form Salesforce publishes
};

// Where a model runs. A GPU needs a build of codegen with the CUDA backend; without it Load answers
// FAILED_PRECONDITION.
struct Device {
  enum class Kind { kCpu, kCuda };
  Kind kind = Kind::kCpu;
  int index = 0;  // which of the GPUs that CUDA shows to this process, from 0; 0 for the CPU

  static constexpr Device Cpu() { return {}; }
  static constexpr Device Cuda(int index = 0) { return {.kind = Kind::kCuda, .index = index}; }
  friend constexpr bool operator==(const Device&, const Device&) = default;
};

// "cpu", or "cuda:" and the index.
inline std::string DeviceName(Device device) {
  return device.kind == Device::Kind::kCpu ? "cpu" : "cuda:" + std::to_string(device.index);
}

// How one model is split into parts that are computed side by side in this process.
struct ParallelOptions {
  // Parts (tensor parallelism: Shoeybi et al., "Megatron-LM", 2019), at least 1. Each has its share
  // of the heads and the inner features of every block and of the output matrix, and threads of its
  // own; the number must divide heads and inner features. Sums over the parts are added in one
  // order, so that a result depends on the number of parts, but on nothing else.
  int tensor = 1;
};

// How products of more than 64 rows, those of prompts and large batches, find their algorithm on a
// GPU. cuBLASLt offers some for each product, and a guess at the fastest; Load can measure them
// instead. It does not unless asked to, because that takes time, and two loads may choose
// differently, and then differ in the last digits of what they compute; `file` prevents the latter.
struct TuningOptions {
  // Measure for steps of up to so many rows: BatcherOptions::step_tokens, say. In [0, 8192]; 0
  // measures nothing. Must be 0 on the CPU, and where LoadOptions::deterministic is set, as then no
  // algorithm of cuBLASLt is used. Takes memory of the GPU meanwhile, for rows of inputs and
  // outputs of the largest matrix. If that, or a product, fails, the guesses stay, and
  // ModelInfo::gpu_library says so.
  int rows = 0;
  // Keep what was measured in this file, for every model that names it: Load measures only what it
  // does not find there, and then writes the file anew. What another kind of GPU or another version
  // of cuBLASLt has measured does not count and is replaced. Empty: keep nothing. Errors: those of
  // reading and writing files; DATA_LOSS if it is not a file of that kind, which then stays as it
  // is; RESOURCE_EXHAUSTED beyond Limits::tuning_bytes. INVALID_ARGUMENT without `rows`.
  std::string file = {};
};

// What a callback wants next.
enum class Next { kContinue, kCancel };

struct LoadProgress {
  std::int64_t bytes_done = 0;
  std::int64_t bytes_total = 0;
};

struct LoadOptions {
  // FAILED_PRECONDITION where this build or this machine has no such device, or a GPU of another
  // compute capability than 8.0 and 9.0. INVALID_ARGUMENT on a GPU for heads wider than 256, and
  // for matrices whose inputs are no multiple of 8. UNIMPLEMENTED on a GPU: precision = kExact,
  // kv_cache = kF32, `calibration`, and a folder that Save wrote, whose weights lie as the CPU
  // reads them.
  Device device = Device::Cpu();
  // Bytes of the GPU's memory that the model, its sessions and its batchers may take together, at
  // least 0 and at most what the GPU has (else INVALID_ARGUMENT). 0 is what is free when the model
  // is loaded, less what CUDA takes on top: 512 MiB or a 32nd, whichever is more (of less than 2
  // GiB a quarter). For a GPU that others need too. Must be 0 on the CPU.
  std::int64_t device_memory = 0;
  // On a GPU: gives a sequence the same bits whatever shares its batch, at the price of slower
  // large batches. On the CPU that is always so, and this changes nothing.
  bool deterministic = false;
  TuningOptions tuning = {};                   // on a GPU only
  WeightFormat weights = WeightFormat::kAuto;  // of the matrices of the blocks
  // Of the embedding and the output matrix (lm_head). kAuto: as `weights`, but int8 where that is
  // int4: their rows are what the model says in the end. An embedding is never less than int8.
  WeightFormat head_weights = WeightFormat::kAuto;
  ComputePrecision precision = ComputePrecision::kFast;
  KvFormat kv_cache = KvFormat::kAuto;
  // Instructions to use. Anything but kAuto must be among what this CPU and system run, else
  // FAILED_PRECONDITION naming the best that is: for tests, comparisons, and machines of different
  // ages that are to give the same bits. Must be kAuto on a GPU.
  CpuFeatures cpu_features = CpuFeatures::kAuto;
  // Threads of the model's compute pool, the calling thread included; 0 takes one per physical core
  // that the process may use (affinity and cgroup quota). At most Limits::threads. With `parallel`
  // each part gets an equal share of them, at least one.
  int threads = 0;
  // UNIMPLEMENTED on a GPU, with `calibration`, and for a folder that Save wrote; such a model
  // cannot be saved. INVALID_ARGUMENT with `thread_pool`.
  ParallelOptions parallel = {};
  // Compute on the threads of this pool instead (thread_pool.h); `threads` must then be 0. Models
  // of one process that share a pool take turns instead of crowding each other out.
  std::shared_ptr<ThreadPool> thread_pool = {};
  // A folder to read the tokenizer from instead of the model's own. CodeGen2.5 publishes its
  // tokenizer as Python code only, so give it any CodeGen1, CodeGen2 or GPT-2 folder
  // (tokenizer.json, vocab.json
  // + merges.txt, vocab.bpe or gpt2.tiktoken), from which its vocabulary is built.
  std::string tokenizer_folder = {};
  // A text like what the model will complete, in UTF-8: with `weights` = kInt4 the matrices of the
  // blocks are rounded so that their products with what this text puts into them change little
  // (GPTQ), which on the shipped model takes more than half off the divergence that int4 costs.
  // Empty: each matrix is rounded by itself. Needs a tokenizer and Limits::least_calibration_tokens
  // of text; of more than 16,384 tokens the first are used. Loading takes 6 s of one core more for
  // the shipped model and that text, and memory for one block in float32 and 8 bytes per pair of
  // inputs of each of its matrices. Save keeps the result; a folder that Save wrote takes no text.
  // The result depends on the text and, in its last digits, on cpu_features; not on `threads`. On
  // the CPU only.
  std::string calibration = {};
  // Groups of the fused q,v,k matrix of CodeGen1 and 2; 0 detects (8 for 16 layers, else 4).
  // Neither config.json nor the weights say it, and a wrong number gives nonsense without an error.
  int qkv_groups = 0;
  FileFormats formats = {};
  // Refuse weights that hold NaN or infinity (DATA_LOSS naming the tensor).
  bool check_finite = true;
  // Called on the loading thread after each matrix. kCancel ends the load with CANCELLED, an
  // exception with UNKNOWN, and either frees everything.
  std::function<Next(const LoadProgress&)> progress = {};
};

struct SessionOptions {
  // Tokens that the session can hold, prompt and completion together; 0 takes the model's context
  // length.
  int context_tokens = 0;
  // Prompt tokens computed in one step: bounds scratch memory and the time until Cancel takes
  // effect. In [1, 4096].
  int prefill_chunk = 256;
};

// What becomes of memory that runs short.
enum class KvPolicy {
  // Requests start with the memory for their prompt; when it runs out, the least urgent, newest one
  // gives its memory back and is computed again later, to the same bytes. Fills the memory best.
  kPreempt,
  // Requests start when there is memory for all they may ever need. Nothing is computed twice, but
  // for a sample whose callback lags behind when others wait.
  kReserve,
};

// When waiting requests join the batch.
enum class BatchMode {
  kContinuous,  // at every step, as soon as there is room
  kStatic,      // when the batch before has ended, all together
};

// Dynamic batching, after Triton's: waiting requests start when as many wait as one of the
// preferred sizes or the greatest batch, or when the oldest has waited for the window. In a
// continuous batch this holds only while nothing runs: a running batch takes in what comes.
struct BatchPolicy {
  BatchMode mode = BatchMode::kContinuous;
  // Since the arrival of the oldest. 0 starts whatever waits. At most a minute.
  std::chrono::microseconds window = {};
  // Each in [1, max_batch]; the largest that is reached is started, exactly.
  std::vector<int> preferred = {};
};

// What Submit does with a deadline.
enum class Admission {
  kAll,       // accepts every request that is not late yet
  kFeasible,  // refuses what the engine, by its own measurements, would not finish in time
};

struct BatcherOptions {
  // Samples computed in one step at most, in [1, 1024].
  int max_batch = 64;
  // Tokens computed in one step at most, prompts and continuations together: what a long prompt can
  // delay the others by. In [max_batch, 8192].
  int step_tokens = 512;
  // Memory for keys and values, all of it taken by Create. At least one context of the model (or
  // what `context_tokens` says); 0 takes 16 contexts, but at most a quarter of the machine's
  // memory, or on a GPU of what the model has left of its share.
  std::int64_t kv_bytes = 0;
  // Longest prompt and completion together; 0 is the model's context.
  int context_tokens = 0;
  // Tokens of one block of that memory, the unit of sharing: 16, 32, 64 or 128.
  int block_tokens = 16;
  KvPolicy kv_policy = KvPolicy::kPreempt;
  // Share of the blocks that finished requests of one cache_salt may leave behind for their
  // prefixes, in [0, 1]; 0 keeps none. Kept blocks give way to running requests.
  double prefix_cache_quota = 0.5;
  BatchPolicy policy = {};

  // Requests that may wait, in [1, 2^20], and bytes of their prompts, in [1, 2^40]; beyond, Submit
  // refuses.
  int queue_requests = 1024;
  std::int64_t queue_bytes = std::int64_t{64} << 20;
  // A request that has waited so long goes before all priorities. This and the next at most 18
  // minutes.
  std::chrono::milliseconds ageing = std::chrono::seconds(2);
  // `done_by` of requests that give none, from their arrival; 0 is never.
  std::chrono::milliseconds default_timeout = {};
  Admission admission = Admission::kAll;

  // Tokens that a callback may lag behind before its request pauses, in [1, 2^20].
  int output_tokens = 1024;
  // A step of the device that takes longer has failed, and the engine with it. Large models on few
  // cores do take half a minute for a step full of prompts. At least 1 ms, at most 18 minutes.
  std::chrono::milliseconds step_timeout = std::chrono::minutes(5);
  // Gets events in Chrome's trace format, one JSON object a call: steps, and the phases of
  // requests. Called on threads of the batcher, one call at a time; must not throw.
  std::function<void(std::string_view event)> trace = {};
};

// Bounds on what the library is given, beside the ranges that the fields of options and requests
// state. Exceeding one is INVALID_ARGUMENT or RESOURCE_EXHAUSTED (json_depth: DATA_LOSS), naming
// the field and the limit.
struct Limits {
  static constexpr int threads = 256;
  static constexpr int stop_strings = 64;
  static constexpr int stop_string_bytes = 1024;
  static constexpr int stop_tokens = 1024;
  static constexpr int logit_biases = 512;
  static constexpr int samples = 16;
  static constexpr int priority = 100;
  static constexpr int cache_salt_bytes = 256;
  static constexpr std::int64_t prompt_bytes = std::int64_t{64} << 20;
  static constexpr int least_calibration_tokens = 512;
  static constexpr std::int64_t config_bytes = std::int64_t{1} << 20;
  static constexpr std::int64_t tokenizer_bytes = std::int64_t{64} << 20;
  static constexpr std::int64_t shard_index_bytes = std::int64_t{64} << 20;
  static constexpr std::int64_t safetensors_header_bytes = std::int64_t{100} << 20;
  static constexpr std::int64_t pickle_bytes = std::int64_t{64} << 20;
  static constexpr std::int64_t tuning_bytes = std::int64_t{1} << 20;
  static constexpr int tuning_rows = 8192;
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
