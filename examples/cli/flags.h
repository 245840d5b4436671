// SPDX-License-Identifier: Apache-2.0
//
// The flags of the program `codegen`, as values.
//
// Each command lists the groups of flags that it understands. getopt_long does the parsing, because
// a prompt or a stop string may be any text and must arrive untouched: empty, with leading dashes,
// commas or brackets.
#ifndef CODEGEN_EXAMPLES_CLI_FLAGS_H_
#define CODEGEN_EXAMPLES_CLI_FLAGS_H_

#include <absl/status/statusor.h>

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "codegen/codegen.h"

namespace cli {

// Completions at the same time, of --json-lines and of --load: what one batch holds at most.
inline constexpr int kMaxConcurrency = 1024;

// What `bench --load` does.
struct LoadTest {
  bool run = false;
  std::vector<int> clients = {1, 4, 16};  // one point each
  std::vector<double> rates;              // requests per second; if there are any, not `clients`
  int requests = 0;                       // of one point; 0 takes what comes in `seconds`
  double seconds = 10;
  std::string prompts;  // a file of JSON lines; empty makes prompts of random tokens
  bool mixed = false;   // lengths
  std::uint64_t seed = 0;
  codegen::BatcherOptions batcher;
  std::string plot;  // a file to write
};

struct Flags {
  bool help = false;

  std::string model;          // a folder
  codegen::LoadOptions load;  // --device, --weights, --threads, --tokenizer, --qkv-groups
  bool json = false;
  bool json_lines = false;

  // The input; at most one of these, else standard input.
  std::optional<std::string> text;
  std::optional<std::string> text_file;
  std::optional<std::vector<codegen::TokenId>> token_ids;

  codegen::Request request;  // how to complete; its prompt comes from the input above
  int deadline_ms = 0;       // of each request, from its arrival; 0 is never
  int concurrency = 1;       // requests of --json-lines in flight

  std::string output;       // a folder to write
  std::string calibration;  // a file

  std::string dummy_weights;  // a config.json
  codegen::BenchmarkOptions bench;
  LoadTest load_test;

  std::vector<std::string> given;  // names of all flags, without the dashes
};

struct Flag {
  const char* name;      // without the dashes
  const char* value;     // how --help writes the value, e.g. "DIR"; null for a switch
  const char* expected;  // what is acceptable, e.g. "a number in [0, 100]", for the error
  const char* help;
  bool (*set)(std::string_view value, Flags& flags);  // false if `value` is not acceptable
};

using FlagGroup = std::span<const Flag>;

FlagGroup CommonFlags();       // model, tokenizer, threads, output
FlagGroup JsonLinesFlags();    // one JSON request a line
FlagGroup ConcurrencyFlags();  // many requests at a time
FlagGroup PromptFlags();       // text or token ids
FlagGroup TextFlags();         // text alone
FlagGroup TokenIdsFlags();     // token ids alone
FlagGroup SpecialFlags();      // control strings in a text
FlagGroup CompletionFlags();
FlagGroup BenchFlags();
FlagGroup LoadTestFlags();  // of bench --load
FlagGroup OutputFlags();    // a folder to write, and how

// Returns the values of `argv[1]` and on. Errors: INVALID_ARGUMENT, naming the flag, what it
// expects and what it got.
absl::StatusOr<Flags> ParseFlags(std::span<const FlagGroup> groups, int argc, char** argv);

// Returns one line for each flag.
std::string DescribeFlags(std::span<const FlagGroup> groups);

// Whether the flag of this name, without its dashes, was given.
bool Given(const Flags& flags, std::string_view name);

// Refuses these flags, for that reason. Errors: INVALID_ARGUMENT, naming the first one given.
absl::Status CheckGiven(const Flags& flags, std::initializer_list<std::string_view> names,
                        std::string_view reason);

// Reads token ids separated by commas or white space. Returns nothing if `text` is anything else.
std::optional<std::vector<codegen::TokenId>> ParseTokenIds(std::string_view text);

}  // namespace cli

#endif  // CODEGEN_EXAMPLES_CLI_FLAGS_H_
