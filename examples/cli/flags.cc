// SPDX-License-Identifier: Apache-2.0
#include "flags.h"

#include <absl/status/status.h>
#include <fmt/format.h>
#include <getopt.h>

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <utility>

#include "flag_values.h"

namespace cli {
namespace {

bool SetTokenIds(std::string_view value, Flags& flags) {
  flags.token_ids = ParseTokenIds(value);
  return flags.token_ids && !flags.token_ids->empty();
}

// "ID:BIAS,ID:BIAS,..."
bool SetBiases(std::string_view value, Flags& flags) {
  std::vector<codegen::TokenBias>& biases = flags.request.logit_bias;
  for (bool more = true; more;) {
    const std::size_t end = std::min(value.find(','), value.size());
    const std::string_view one = value.substr(0, end);
    const std::size_t colon = std::min(one.find(':'), one.size());
    auto& [token, bias] = biases.emplace_back();
    if (!ParseNumber(one.substr(0, colon), 0, kMaxInt, token)) return false;
    if (!one.substr(colon).starts_with(':')) return false;
    if (!ParseNumber(one.substr(colon + 1), -100.0F, 100.0F, bias)) return false;
    more = end < value.size();
    if (more) value.remove_prefix(end + 1);
  }
  return true;
}

bool SetText(std::string_view value, Flags& flags) {
  flags.text = value;
  return true;
}

bool SetTextFile(std::string_view value, Flags& flags) {
  flags.text_file = value;
  return !value.empty();
}

// Sets `choice` to the one of `choices` that is called `value`; `name` tells a choice's name.
template <class Choice>
bool Choose(std::string_view value, std::initializer_list<Choice> choices,
            const char* (*name)(Choice), Choice& choice) {
  for (const Choice candidate : choices) {
    if (value != name(candidate)) continue;
    choice = candidate;
    return true;
  }
  return false;
}

bool SetWeights(std::string_view value, codegen::WeightFormat& format) {
  using enum codegen::WeightFormat;
  return Choose(value, {kAuto, kF32, kBf16, kF16, kInt8, kInt4}, &codegen::WeightFormatName,
                format);
}

bool SetPrecision(std::string_view value, Flags& flags) {
  using enum codegen::ComputePrecision;
  return Choose(value, {kExact, kFast}, &codegen::ComputePrecisionName, flags.load.precision);
}

bool SetKvCache(std::string_view value, Flags& flags) {
  using enum codegen::KvFormat;
  return Choose(value, {kAuto, kF32, kBf16}, &codegen::KvFormatName, flags.load.kv_cache);
}

bool SetCpuFeatures(std::string_view value, Flags& flags) {
  using enum codegen::CpuFeatures;
  return Choose(value, {kAuto, kPortable, kSse4, kAvx2, kAvx512, kAvx512Vnni, kAvx512Bf16, kAmx},
                &codegen::CpuFeaturesName, flags.load.cpu_features);
}

bool SetDevice(std::string_view value, Flags& flags) {
  constexpr std::string_view kNumbered = "cuda:";
  int index = 0;
  if (value.starts_with(kNumbered)) {
    if (!ParseNumber(value.substr(kNumbered.size()), 0, kMaxInt, index)) return false;
  } else if (value != "cpu" && value != "cuda") {
    return false;
  }
  flags.load.device = value == "cpu" ? codegen::Device::Cpu() : codegen::Device::Cuda(index);
  return true;
}

bool SetDeadline(std::string_view value, Flags& flags) {
  return ParseNumber(value, 0, kMaxInt, flags.deadline_ms);
}

constexpr char kFormats[] = "auto, f32, bf16, f16, int8 or int4";
constexpr char kTokenIds[] = "token ids, e.g. 1,2,3";

constexpr Flag kModelFlags[] = {
    {"help", nullptr, "", "print this and exit",
     [](std::string_view, Flags& flags) { return flags.help = true; }},
    {"model", "DIR", "a folder", "Hugging Face folder of the model",
     [](std::string_view value, Flags& flags) {
       flags.model = value;
       return !value.empty();
     }},
    {"device", "D", "cpu, cuda or cuda:N, e.g. cuda:1",
     "cpu, or cuda[:N], a GPU, where the build has CUDA; cpu", SetDevice},
    {"device-memory", "BYTES", "a whole number of at least 0",
     "memory of the GPU to use at most; 0, nearly all that is free",
     [](std::string_view value, Flags& flags) {
       return ParseNumber(value, std::int64_t{0}, std::numeric_limits<std::int64_t>::max(),
                          flags.load.device_memory);
     }},
    {"deterministic", nullptr, "", "on a GPU: the same bits whatever shares the batch",
     [](std::string_view, Flags& flags) { return flags.load.deterministic = true; }},
    {"tune-rows", "N", "a whole number in [0, 8192]",
     "on a GPU: time algorithms for steps of up to N rows; 0, none",
     [](std::string_view value, Flags& flags) {
       return ParseNumber(value, 0, codegen::Limits::tuning_rows, flags.load.tuning.rows);
     }},
    {"tuning-file", "FILE", "a file", "read and keep what --tune-rows has found in this file",
     [](std::string_view value, Flags& flags) {
       flags.load.tuning.file = value;
       return !value.empty();
     }},
    {"weights", "FORMAT", kFormats, "auto (as stored), f32, bf16, f16, int8 or int4; auto",
     [](std::string_view value, Flags& flags) { return SetWeights(value, flags.load.weights); }},
    {"head-weights", "FORMAT", kFormats, "of embedding and output matrix; auto, as --weights",
     [](std::string_view value, Flags& flags) {
       return SetWeights(value, flags.load.head_weights);
     }},
    {"precision", "P", "exact or fast", "exact (float32 activations) or fast; fast", SetPrecision},
    {"kv-cache", "FORMAT", "auto, f32 or bf16", "keys and values; auto, bf16 unless exact",
     SetKvCache},
    {"cpu-features", "LEVEL", "auto, portable, sse4, avx2, avx512, avx512-vnni, avx512-bf16 or amx",
     "instructions: portable, sse4, avx2, avx512[-vnni|-bf16], amx; auto", SetCpuFeatures},
    {"threads", "N", "a whole number in [0, 256]", "compute threads; 0, one per core",
     [](std::string_view value, Flags& flags) {
       return ParseNumber(value, 0, codegen::Limits::threads, flags.load.threads);
     }},
    {"tensor-parallel", "N", "a whole number in [1, 256]", "parts that share the threads; 1",
     [](std::string_view value, Flags& flags) {
       return ParseNumber(value, 1, codegen::Limits::threads, flags.load.parallel.tensor);
     }},
    {"tokenizer", "DIR", "a folder", "read the tokenizer from here, not from the model",
     [](std::string_view value, Flags& flags) {
       flags.load.tokenizer_folder = value;
       return !value.empty();
     }},
    {"qkv-groups", "N", "a whole number of at least 0",
     "groups of CodeGen1's and 2's fused matrix; 0, detected",
     [](std::string_view value, Flags& flags) {
       return ParseNumber(value, 0, kMaxInt, flags.load.qkv_groups);
     }},
    {"json", nullptr, "", "print one JSON object",
     [](std::string_view, Flags& flags) { return flags.json = true; }},
};

constexpr Flag kJsonLinesFlags[] = {
    {"json-lines", nullptr, "", "serve one JSON request a line from standard input",
     [](std::string_view, Flags& flags) { return flags.json_lines = true; }},
};

constexpr Flag kConcurrencyFlags[] = {
    {"concurrency", "N", "a whole number in [1, 1024]",
     "lines of --json-lines to complete together, in one batch; 1",
     [](std::string_view value, Flags& flags) {
       return ParseNumber(value, 1, kMaxConcurrency, flags.concurrency);
     }},
    {"priority", "P", "a whole number in [-100, 100]",
     "of lines that give none: lower ones go first; 0",
     [](std::string_view value, Flags& flags) {
       return ParseNumber(value, -codegen::Limits::priority, codegen::Limits::priority,
                          flags.request.priority);
     }},
    {"deadline-ms", "D", "a whole number of at least 0",
     "end what is not complete after D milliseconds; 0, never", SetDeadline},
};

constexpr Flag kPromptFlags[] = {
    {"prompt", "TEXT", "a text", "the prompt; without any, standard input is read", SetText},
    {"prompt-file", "FILE", "a file", "the prompt, all of a file", SetTextFile},
    {"prompt-ids", "IDS", kTokenIds, "the prompt as token ids, e.g. 1,2,3; needs no tokenizer",
     SetTokenIds},
};

constexpr Flag kTextFlags[] = {
    {"prompt", "TEXT", "a text", "the text; without any, standard input is read", SetText},
    {"text", "TEXT", "a text", "the same", SetText},
    {"prompt-file", "FILE", "a file", "the text, all of a file", SetTextFile},
};

constexpr Flag kTokenIdsFlags[] = {
    {"prompt-ids", "IDS", kTokenIds, "token ids, e.g. 1,2,3; without any, standard input is read",
     SetTokenIds},
    {"token-ids", "IDS", kTokenIds, "the same", SetTokenIds},
};

constexpr Flag kSpecialFlags[] = {
    {"special", nullptr, "", "recognise control strings such as <|endoftext|> in the text",
     [](std::string_view, Flags& flags) {
       flags.request.allow_special = codegen::AllowSpecial::kYes;
       return true;
     }},
};

constexpr Flag kCompletionFlags[] = {
    {"max-new-tokens", "N", "a whole number of at least 0", "tokens to generate at most; 128",
     [](std::string_view value, Flags& flags) {
       return ParseNumber(value, 0, kMaxInt, flags.request.max_new_tokens);
     }},
    {"temperature", "T", "a number in [0, 100]", "0 takes the most likely token; 0",
     [](std::string_view value, Flags& flags) {
       return ParseNumber(value, 0.0F, 100.0F, flags.request.temperature);
     }},
    {"top-k", "K", "a whole number of at least 0", "sample from the K most likely tokens; 0, all",
     [](std::string_view value, Flags& flags) {
       return ParseNumber(value, 0, kMaxInt, flags.request.top_k);
     }},
    {"top-p", "P", "a number in (0, 1]", "sample from the most likely tokens that reach P; 1",
     [](std::string_view value, Flags& flags) {
       return ParseNumber(value, std::numeric_limits<float>::min(), 1.0F, flags.request.top_p);
     }},
    {"min-p", "P", "a number in [0, 1]",
     "sample from tokens at least P times as likely as the first; 0",
     [](std::string_view value, Flags& flags) {
       return ParseNumber(value, 0.0F, 1.0F, flags.request.min_p);
     }},
    {"repetition-penalty", "P", "a number in [0.01, 100]",
     "divide the logits of tokens of the prompt and so far by P; 1",
     [](std::string_view value, Flags& flags) {
       return ParseNumber(value, 0.01F, 100.0F, flags.request.repetition_penalty);
     }},
    {"frequency-penalty", "P", "a number in [-2, 2]",
     "take P off the logit of a token for each time that it came; 0",
     [](std::string_view value, Flags& flags) {
       return ParseNumber(value, -2.0F, 2.0F, flags.request.frequency_penalty);
     }},
    {"presence-penalty", "P", "a number in [-2, 2]", "take P off the logits of tokens that came; 0",
     [](std::string_view value, Flags& flags) {
       return ParseNumber(value, -2.0F, 2.0F, flags.request.presence_penalty);
     }},
    {"logit-bias", "ID:B,..", "token ids with numbers in [-100, 100], e.g. 198:-100,11:2.5",
     "add B to the logit of a token; -100 forbids it", SetBiases},
    {"seed", "N", "a whole number of at least 0", "of the random numbers; 0",
     [](std::string_view value, Flags& flags) {
       return ParseNumber(value, std::uint64_t{0}, std::numeric_limits<std::uint64_t>::max(),
                          flags.request.seed);
     }},
    {"stop", "TEXT", "a text that is not empty",
     "end before this text; may be given more than once",
     [](std::string_view value, Flags& flags) {
       flags.request.stop.strings.emplace_back(value);
       return !value.empty();
     }},
    {"logprobs", nullptr, "", "with --json or --json-lines: how likely each token was",
     [](std::string_view, Flags& flags) { return flags.request.logprobs = true; }},
    {"ignore-eos", nullptr, "", "continue past the end of the text",
     [](std::string_view, Flags& flags) { return flags.request.stop.ignore_eos = true; }},
};

constexpr Flag kBenchFlags[] = {
    {"prompt-tokens", "P,..", kCounts, "lengths of the prompts; 128",
     [](std::string_view value, Flags& flags) {
       return SetList(value, 1, kMaxInt, flags.bench.prompt_tokens);
     }},
    {"new-tokens", "N", "a whole number of at least 1", "decode steps to time; 32",
     [](std::string_view value, Flags& flags) {
       return ParseNumber(value, 1, kMaxInt, flags.bench.new_tokens);
     }},
    {"batch", "B,..", kCounts, "sequences decoded together; 1,4,8,16",
     [](std::string_view value, Flags& flags) {
       return SetList(value, 1, kMaxInt, flags.bench.batch);
     }},
    {"dummy-weights", "FILE", "a config.json",
     "random weights of the shape in this config.json, instead of --model",
     [](std::string_view value, Flags& flags) {
       flags.dummy_weights = value;
       return !value.empty();
     }},
};

constexpr Flag kOutputFlags[] = {
    {"output", "DIR", "a folder", "the folder to write; must not hold a model",
     [](std::string_view value, Flags& flags) {
       flags.output = value;
       return !value.empty();
     }},
    {"calibration", "FILE", "a file", "text to round int4 weights by, like what will be completed",
     [](std::string_view value, Flags& flags) {
       flags.calibration = value;
       return !value.empty();
     }},
};

const Flag* Find(std::span<const FlagGroup> groups, std::string_view name) {
  for (const FlagGroup group : groups) {
    for (const Flag& flag : group) {
      if (name == flag.name) return &flag;
    }
  }
  return nullptr;
}

std::vector<option> GetoptTable(std::span<const FlagGroup> groups) {
  std::vector<option> table;
  for (const FlagGroup group : groups) {
    for (const Flag& flag : group) {
      table.push_back({flag.name, flag.value ? required_argument : no_argument, nullptr, 0});
    }
  }
  table.push_back({});
  return table;
}

template <class... Values>
absl::Status Refuse(fmt::format_string<Values...> message, Values&&... values) {
  return absl::InvalidArgumentError(fmt::format(message, std::forward<Values>(values)...));
}

// `given` is the argument as typed, `result` what getopt_long made of it.
absl::Status SetFlag(std::span<const FlagGroup> groups, std::string_view given, int result,
                     Flags& flags) {
  const std::string name(given.substr(0, given.find('=')));
  const Flag* flag = name.starts_with("--") ? Find(groups, name.substr(2)) : nullptr;
  if (!flag)
    return Refuse("unknown flag {}", name);  // also an abbreviation, which getopt_long would accept
  if (result == ':') return Refuse("{}: expected {}", name, flag->expected);
  if (result == '?') return Refuse("{}: takes no value", name);
  const std::string value = optarg ? optarg : "";
  flags.given.emplace_back(flag->name);
  if (flag->set(value, flags)) return absl::OkStatus();
  return Refuse("{}: expected {}, found \"{}\"", name, flag->expected, value);
}

}  // namespace

FlagGroup CommonFlags() { return kModelFlags; }
FlagGroup JsonLinesFlags() { return kJsonLinesFlags; }
FlagGroup ConcurrencyFlags() { return kConcurrencyFlags; }
FlagGroup PromptFlags() { return kPromptFlags; }
FlagGroup TextFlags() { return kTextFlags; }
FlagGroup TokenIdsFlags() { return kTokenIdsFlags; }
FlagGroup SpecialFlags() { return kSpecialFlags; }
FlagGroup CompletionFlags() { return kCompletionFlags; }
FlagGroup BenchFlags() { return kBenchFlags; }
FlagGroup OutputFlags() { return kOutputFlags; }

absl::StatusOr<Flags> ParseFlags(std::span<const FlagGroup> groups, int argc, char** argv) {
  const std::vector<option> table = GetoptTable(groups);
  Flags flags;
  opterr = 0;  // we say it in our own words
  while (!flags.help) {
    const std::string_view given = optind < argc ? argv[optind] : "";
    const int result = getopt_long(argc, argv, "+:", table.data(), nullptr);
    if (result == -1) break;
    if (const absl::Status status = SetFlag(groups, given, result, flags); !status.ok())
      return status;
  }
  if (!flags.help && optind < argc) return Refuse("unexpected argument \"{}\"", argv[optind]);
  return flags;
}

std::string DescribeFlags(std::span<const FlagGroup> groups) {
  std::string text;
  for (const FlagGroup group : groups) {
    for (const Flag& flag : group) {
      const std::string form = flag.value ? fmt::format("{} {}", flag.name, flag.value) : flag.name;
      text += fmt::format("  --{:21} {}\n", form, flag.help);
    }
  }
  return text;
}

bool Given(const Flags& flags, std::string_view name) {
  return std::find(flags.given.begin(), flags.given.end(), name) != flags.given.end();
}

absl::Status CheckGiven(const Flags& flags, std::initializer_list<std::string_view> names,
                        std::string_view reason) {
  for (const std::string_view name : names) {
    if (Given(flags, name)) return Refuse("--{}: {}", name, reason);
  }
  return absl::OkStatus();
}

std::optional<std::vector<codegen::TokenId>> ParseTokenIds(std::string_view text) {
  return ParseNumbers(text, 0, kMaxInt);
}

}  // namespace cli
