// SPDX-License-Identifier: Apache-2.0
//
// The flags of `bench --load`.
#include <cstdint>
#include <limits>

#include "flag_values.h"
#include "flags.h"

namespace cli {
namespace {

constexpr char kAtLeastOne[] = "a whole number of at least 1";
constexpr char kUpTo1024[] = "a whole number in [1, 1024]";

constexpr Flag kLoadFlags[] = {
    {"load", nullptr, "", "measure many clients at a time instead, with the flags below",
     [](std::string_view, Flags& flags) { return flags.load_test.run = true; }},
    {"clients", "C,..", "whole numbers in [1, 1024], e.g. 1,4,16",
     "closed loop: clients that ask again once answered; 1,4,16",
     [](std::string_view value, Flags& flags) {
       return SetList(value, 1, kMaxConcurrency, flags.load_test.clients);
     }},
    {"rate", "R,..", "numbers in [0.001, 1000000], e.g. 0.5,1,2",
     "open loop instead: requests per second, at random times",
     [](std::string_view value, Flags& flags) {
       return SetList(value, 1e-3, 1e6, flags.load_test.rates);
     }},
    {"requests", "N", kAtLeastOne, "requests of each point, instead of a duration",
     [](std::string_view value, Flags& flags) {
       return ParseNumber(value, 1, kMaxInt, flags.load_test.requests);
     }},
    {"duration", "S", "a number in [0.01, 86400]", "seconds during which requests begin; 10",
     [](std::string_view value, Flags& flags) {
       return ParseNumber(value, 0.01, 86'400.0, flags.load_test.seconds);
     }},
    {"prompts", "FILE", "a file", "JSON lines with a \"prompt\" each, taken in turn",
     [](std::string_view value, Flags& flags) {
       flags.load_test.prompts = value;
       return !value.empty();
     }},
    {"max-new-tokens", "N", kAtLeastOne, "length of each completion; 128",
     [](std::string_view value, Flags& flags) {
       return ParseNumber(value, 1, kMaxInt, flags.request.max_new_tokens);
     }},
    {"mixed", nullptr, "", "draw lengths at random, with those given as the median",
     [](std::string_view, Flags& flags) { return flags.load_test.mixed = true; }},
    {"seed", "N", "a whole number of at least 0", "of random prompts, lengths and times; 0",
     [](std::string_view value, Flags& flags) {
       return ParseNumber(value, std::uint64_t{0}, std::numeric_limits<std::uint64_t>::max(),
                          flags.load_test.seed);
     }},
    {"deadline-ms", "D", "a whole number of at least 0",
     "end what is not complete after D milliseconds; 0, never",
     [](std::string_view value, Flags& flags) {
       return ParseNumber(value, 0, kMaxInt, flags.deadline_ms);
     }},
    {"max-batch", "N", kUpTo1024, "completions computed together at most; 64",
     [](std::string_view value, Flags& flags) {
       return ParseNumber(value, 1, kMaxConcurrency, flags.load_test.batcher.max_batch);
     }},
    {"static-batches", "N", kUpTo1024, "start batches of up to N only when the last has ended",
     [](std::string_view value, Flags& flags) {
       flags.load_test.batcher.policy.mode = codegen::BatchMode::kStatic;
       return ParseNumber(value, 1, kMaxConcurrency, flags.load_test.batcher.max_batch);
     }},
    {"kv-mb", "MB", kAtLeastOne,
     "memory for keys and values, in MiB; 16 contexts, a quarter of all at most",
     [](std::string_view value, Flags& flags) {
       std::int64_t& bytes = flags.load_test.batcher.kv_bytes;
       const bool read = ParseNumber(value, std::int64_t{1}, std::int64_t{1} << 30, bytes);
       bytes <<= 20;
       return read;
     }},
    {"step-tokens", "N", "a whole number in [1, 8192]", "tokens computed in one step at most; 512",
     [](std::string_view value, Flags& flags) {
       return ParseNumber(value, 1, 8192, flags.load_test.batcher.step_tokens);
     }},
    {"plot", "F.svg", "a file", "also draw throughput and latency, into this file",
     [](std::string_view value, Flags& flags) {
       flags.load_test.plot = value;
       return !value.empty();
     }},
};

}  // namespace

FlagGroup LoadTestFlags() { return kLoadFlags; }

}  // namespace cli
