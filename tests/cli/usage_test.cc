// SPDX-License-Identifier: Apache-2.0
//
// What every command shares: help, wrong usage, errors and where they go.
#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "cli/model_folder.h"
#include "cli/program.h"

namespace codegen::testing {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

constexpr const char* kCommands[] = {"complete", "score", "tokenize", "detokenize",
                                     "info",     "bench", "quantize"};

bool IsOneLine(const std::string& text) {
  return text.size() > 1 && std::count(text.begin(), text.end(), '\n') == 1 && text.ends_with('\n');
}

void ExpectWrongUsage(const Arguments& arguments, const std::string& message) {
  const Outcome outcome = RunProgram(arguments);

  EXPECT_EQ(outcome.exit_code, 2) << fmt::format("{}", outcome.err);
  EXPECT_EQ(outcome.out, "");
  EXPECT_TRUE(IsOneLine(outcome.err)) << outcome.err;
  EXPECT_THAT(outcome.err, StartsWith("codegen"));
  EXPECT_THAT(outcome.err, HasSubstr(message));
}

TEST(Help, NamesEveryCommand) {
  const Outcome outcome = RunProgram({"--help"});

  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_EQ(outcome.err, "");
  for (const char* command : kCommands)
    EXPECT_THAT(outcome.out, HasSubstr(fmt::format("\n  {} ", command)));
}

TEST(Help, DescribesEachCommandWithAnExample) {
  for (const char* command : kCommands) {
    const Outcome outcome = RunProgram({command, "--help"});

    EXPECT_EQ(outcome.exit_code, 0) << command;
    EXPECT_EQ(outcome.err, "") << command;
    EXPECT_THAT(outcome.out, StartsWith(fmt::format("codegen {}: ", command)));
    EXPECT_THAT(outcome.out, HasSubstr("--model DIR"));
    EXPECT_THAT(outcome.out, HasSubstr(fmt::format("\nExample:\n  codegen {} --", command)));
  }
}

TEST(Help, NamesEveryFlagOfACompletion) {
  const Outcome outcome = RunProgram({"complete", "--help"});

  for (const char* flag : {"model DIR",
                           "device D",
                           "device-memory BYTES",
                           "deterministic ",
                           "weights FORMAT",
                           "threads N",
                           "tune-rows N",
                           "tuning-file FILE",
                           "tokenizer DIR",
                           "qkv-groups N",
                           "json ",
                           "json-lines ",
                           "prompt TEXT",
                           "prompt-file FILE",
                           "prompt-ids IDS",
                           "max-new-tokens N",
                           "temperature T",
                           "top-k K",
                           "top-p P",
                           "min-p P",
                           "repetition-penalty P",
                           "frequency-penalty P",
                           "presence-penalty P",
                           "logit-bias ID:B,..",
                           "seed N",
                           "stop TEXT",
                           "ignore-eos ",
                           "logprobs ",
                           "special ",
                           "concurrency N",
                           "priority P",
                           "deadline-ms D"}) {
    EXPECT_THAT(outcome.out, HasSubstr(fmt::format("\n  --{}", flag)));
  }
}

TEST(Help, NamesEveryFlagOfALoadTest) {
  const Outcome outcome = RunProgram({"bench", "--help"});

  for (const char* flag :
       {"load ", "clients C,..", "rate R,..", "requests N", "duration S", "prompts FILE",
        "prompt-tokens P,..", "max-new-tokens N", "mixed ", "seed N", "deadline-ms D",
        "max-batch N", "static-batches N", "kv-mb MB", "step-tokens N", "plot F.svg"}) {
    EXPECT_THAT(outcome.out, HasSubstr(fmt::format("\n  --{}", flag)));
  }
}

TEST(Help, IsGivenEvenBesideOtherFlags) {
  EXPECT_EQ(RunProgram({"complete", "--prompt", "x", "--help"}).exit_code, 0);
}

TEST(Version, IsThatOfTheLibrary) {
  EXPECT_THAT(RunProgram({"--version"}).out, ::testing::MatchesRegex("[0-9]+\\.[0-9]+\\.[0-9]+\n"));
}

TEST(Usage, NeedsAKnownCommand) {
  ExpectWrongUsage({}, "expected a command");
  ExpectWrongUsage({"compleat"}, "unknown command \"compleat\"");
}

TEST(Usage, NeedsAModel) {
  for (const char* command : kCommands) ExpectWrongUsage({command}, "--model");
}

TEST(Usage, RefusesUnknownFlags) {
  ExpectWrongUsage({"complete", "--frobnicate"}, "unknown flag --frobnicate");
  ExpectWrongUsage({"complete", "-x"}, "unknown flag -x");
  ExpectWrongUsage({"complete", "--prom=x"}, "unknown flag --prom");  // no abbreviations
  ExpectWrongUsage({"complete", "--temp", "1"}, "unknown flag --temp");
  ExpectWrongUsage({"bench", "--json-lines"}, "unknown flag --json-lines");
  ExpectWrongUsage({"info", "--prompt", "x"}, "unknown flag --prompt");
}

TEST(Usage, RefusesArgumentsThatAreNoFlags) {
  ExpectWrongUsage({"complete", "--json", "model"}, "unexpected argument \"model\"");
}

TEST(Usage, RefusesFlagsWithoutTheirValue) {
  ExpectWrongUsage({"complete", "--model"}, "--model: expected a folder");
  ExpectWrongUsage({"complete", "--model="}, "--model: expected a folder");
  ExpectWrongUsage({"complete", "--json=yes"}, "--json: takes no value");
}

TEST(Usage, RefusesBadNumbers) {
  for (const char* flag : {"--max-new-tokens", "--temperature", "--top-k", "--top-p", "--min-p",
                           "--seed", "--threads", "--qkv-groups"}) {
    for (const char* value : {"12x", "nan", "-1", "", " 1", "1e999", "inf"}) {
      ExpectWrongUsage({"complete", "--model", "m", flag, value},
                       fmt::format("{}: expected", flag));
    }
  }
}

TEST(Usage, RefusesNumbersOutOfRange) {
  ExpectWrongUsage({"complete", "--max-new-tokens", "-1"},
                   "--max-new-tokens: expected a whole number");
  ExpectWrongUsage({"complete", "--max-new-tokens", "2147483648"}, "--max-new-tokens");
  ExpectWrongUsage({"complete", "--temperature", "100.5"}, "a number in [0, 100], found \"100.5\"");
  ExpectWrongUsage({"complete", "--top-p", "0"}, "a number in (0, 1], found \"0\"");
  ExpectWrongUsage({"complete", "--top-p", "1.01"}, "--top-p");
  ExpectWrongUsage({"complete", "--min-p", "1.01"}, "a number in [0, 1], found \"1.01\"");
  ExpectWrongUsage({"complete", "--repetition-penalty", "0"}, "a number in [0.01, 100]");
  ExpectWrongUsage({"complete", "--frequency-penalty", "2.1"}, "a number in [-2, 2]");
  ExpectWrongUsage({"complete", "--presence-penalty", "-2.1"}, "a number in [-2, 2]");
  for (const char* value : {"", "1", "1:", ":1", "1:2,", ",1:2", "1:2;3:4", "-1:2", "1:101", "x:1",
                            "1:nan", "2147483648:1", "1.5:1"})
    ExpectWrongUsage({"complete", "--logit-bias", value}, "--logit-bias: expected token ids");
  ExpectWrongUsage({"complete", "--seed", "18446744073709551616"}, "--seed");
  ExpectWrongUsage({"complete", "--threads", "257"},
                   "--threads: expected a whole number in [0, 256]");
  for (const char* value : {"0", "1025", "-1", "x", "1.5", ""})
    ExpectWrongUsage({"complete", "--concurrency", value}, "--concurrency: expected");
  for (const char* value : {"-101", "101", "x", "0.5"})
    ExpectWrongUsage({"complete", "--priority", value}, "--priority: expected");
  for (const char* value : {"-1", "2147483648", "5ms", ""})
    ExpectWrongUsage({"complete", "--deadline-ms", value}, "--deadline-ms: expected");
  ExpectWrongUsage({"bench", "--batch", "0"}, "--batch");
  ExpectWrongUsage({"bench", "--new-tokens", "0"}, "--new-tokens");
}

TEST(Usage, RefusesBadValuesOfALoadTest) {
  for (const char* flag :
       {"--clients", "--rate", "--requests", "--duration", "--max-new-tokens", "--seed",
        "--deadline-ms", "--max-batch", "--static-batches", "--kv-mb", "--step-tokens"}) {
    for (const char* value : {"x", "-1", "", "nan", "1e999", "1,,2"})
      ExpectWrongUsage({"bench", "--load", flag, value}, fmt::format("{}: expected", flag));
  }
  for (const char* flag : {"--clients", "--rate", "--requests", "--duration", "--max-new-tokens",
                           "--max-batch", "--static-batches", "--kv-mb", "--step-tokens"})
    ExpectWrongUsage({"bench", "--load", flag, "0"}, fmt::format("{}: expected", flag));
  ExpectWrongUsage({"bench", "--load", "--clients", "4,1025"}, "--clients");
  ExpectWrongUsage({"bench", "--load", "--max-batch", "1025"}, "--max-batch");
  ExpectWrongUsage({"bench", "--load", "--static-batches", "1025"}, "--static-batches");
  ExpectWrongUsage({"bench", "--load", "--step-tokens", "8193"}, "--step-tokens");
  ExpectWrongUsage({"bench", "--load", "--prompts", ""}, "--prompts: expected a file");
  ExpectWrongUsage({"bench", "--load", "--plot", ""}, "--plot: expected a file");
  ExpectWrongUsage({"bench", "--load=yes"}, "--load: takes no value");
}

TEST(Usage, RefusesFlagsThatDoNotGoTogether) {
  const auto bench = [](Arguments more) {
    more.insert(more.begin(), {"bench", "--model", "m"});
    return more;
  };

  ExpectWrongUsage(bench({"--clients", "4"}), "--clients: needs --load");
  ExpectWrongUsage(bench({"--mixed"}), "--mixed: needs --load");
  ExpectWrongUsage(bench({"--plot", "f.svg"}), "--plot: needs --load");
  ExpectWrongUsage(bench({"--load", "--batch", "4"}), "--batch: not with --load");
  ExpectWrongUsage(bench({"--load", "--new-tokens", "4"}), "--new-tokens: not with --load");
  ExpectWrongUsage(bench({"--load", "--rate", "4", "--clients", "4"}), "--rate: give this or");
  ExpectWrongUsage(bench({"--load", "--duration", "4", "--requests", "4"}), "--duration: give");
  ExpectWrongUsage(bench({"--load", "--prompt-tokens", "4", "--prompts", "f"}), "--prompt-tokens:");
  ExpectWrongUsage(bench({"--load", "--max-batch", "4", "--static-batches", "4"}), "--max-batch:");
  ExpectWrongUsage({"complete", "--model", "m", "--concurrency", "4"},
                   "--concurrency: needs --json-lines");
  ExpectWrongUsage({"complete", "--model", "m", "--prompt", "x", "--logprobs"},
                   "--logprobs: needs --json or --json-lines");
  ExpectWrongUsage({"complete", "--model", "m", "--json-lines", "--priority", "4"},
                   "--priority: needs --concurrency");
}

TEST(Usage, RefusesBadLists) {
  for (const char* value : {"", "1,,2", "1,", ",1", "1,a", "-1", "1;2", "2147483648"}) {
    ExpectWrongUsage({"complete", "--model", "m", "--prompt-ids", value},
                     "--prompt-ids: expected token ids");
    ExpectWrongUsage({"bench", "--model", "m", "--prompt-tokens", value},
                     "--prompt-tokens: expected whole");
  }
}

TEST(Usage, RefusesOtherValuesThanThoseNamed) {
  ExpectWrongUsage({"complete", "--weights", "int2"},
                   "--weights: expected auto, f32, bf16, f16, int8 or int4, found \"int2\"");
  ExpectWrongUsage({"complete", "--head-weights", "2"}, "--head-weights: expected auto, f32");
  ExpectWrongUsage({"complete", "--precision", "double"},
                   "--precision: expected exact or fast, found \"double\"");
  ExpectWrongUsage({"complete", "--kv-cache", "f16"}, "--kv-cache: expected auto, f32 or bf16");
  ExpectWrongUsage({"complete", "--cpu-features", "mmx"},
                   "--cpu-features: expected auto, portable");
  ExpectWrongUsage({"complete", "--stop", ""}, "--stop: expected a text that is not empty");
}

TEST(Usage, RefusesDevicesThatHaveNoSuchName) {
  for (const char* command : kCommands) {
    for (const char* value : {"", "gpu", "CPU", "cpu:0", "cuda:", "cuda:x", "cuda:1x", "cuda: 1",
                              "cuda:-1", "cuda:2147483648", "cuda:99999999999", "cuda0", "cudas"}) {
      ExpectWrongUsage({command, "--model", "m", "--device", value},
                       "--device: expected cpu, cuda or cuda:N");
    }
  }
  ExpectWrongUsage({"complete", "--device"}, "--device: expected cpu, cuda or cuda:N");
}

TEST(Usage, RefusesBadValuesOfTheFlagsOfAGpu) {
  for (const char* value : {"", "-1", "x", "1.5", "8G", "9223372036854775808"}) {
    ExpectWrongUsage({"complete", "--model", "m", "--device-memory", value},
                     "--device-memory: expected a whole number of at least 0");
  }
  for (const char* value : {"", "-1", "x", "8193"}) {
    ExpectWrongUsage({"bench", "--model", "m", "--tune-rows", value},
                     "--tune-rows: expected a whole number in [0, 8192]");
  }
  ExpectWrongUsage({"complete", "--tuning-file", ""}, "--tuning-file: expected a file");
  ExpectWrongUsage({"complete", "--deterministic=yes"}, "--deterministic: takes no value");
}

TEST(Usage, RefusesTwoInputs) {
  ExpectWrongUsage({"complete", "--model", "m", "--prompt", "x", "--prompt-ids", "1"},
                   "more than one input");
  ExpectWrongUsage({"score", "--model", "m", "--prompt", "x", "--prompt-file", "y"},
                   "more than one input");
  ExpectWrongUsage({"tokenize", "--model", "m", "--json-lines", "--prompt", "x"}, "--json-lines");
  ExpectWrongUsage({"bench", "--model", "m", "--dummy-weights", "c"}, "--dummy-weights");
}

TEST(Failure, IsOneLineWithItsCode) {
  const ScratchFolder empty;

  const Outcome outcome = RunProgram({"complete", "--model", empty.path(), "--prompt", "x"});

  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_EQ(outcome.out, "");
  EXPECT_TRUE(IsOneLine(outcome.err)) << outcome.err;
  EXPECT_THAT(outcome.err, StartsWith("codegen: NOT_FOUND: "));
}

TEST(Failure, StaysOneLineWhateverTheNameHolds) {
  const Outcome outcome = RunProgram({"complete", "--model", "no\nsuch\tfolder", "--prompt", "x"});

  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_TRUE(IsOneLine(outcome.err)) << outcome.err;
}

TEST(Failure, ShowsNoProgressWhereThereIsNoTerminal) {
  const IdsModelFolder model;

  const Outcome outcome = RunProgram({"bench", "--model", model.path(), "--prompt-tokens", "4",
                                      "--new-tokens", "2", "--batch", "1"});

  EXPECT_EQ(outcome.err, "");
}

TEST(Failure, ToWriteIsQuietWhenTheReaderIsGone) {
  const ModelFolder model;
  std::array<int, 2> ends;
  ASSERT_EQ(pipe2(ends.data(), O_CLOEXEC), 0);
  close(ends[0]);

  for (const char* form : {"--json", "--special"}) {  // the latter is text
    const Outcome outcome = RunProgramInto(
        ends[1],
        {"complete", "--model", model.path(), "--prompt", "def", "--max-new-tokens", "40", form});
    EXPECT_EQ(outcome.exit_code, 1);
    EXPECT_EQ(outcome.err, "");
  }
  close(ends[1]);
}

TEST(Failure, ToWriteIsSaidWhenTheDiskIsFull) {
  const int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
  if (full < 0) GTEST_SKIP() << "no /dev/full here";

  const Outcome outcome = RunProgramInto(full, {"--help"});

  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_TRUE(IsOneLine(outcome.err)) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("standard output"));
  close(full);
}

}  // namespace
}  // namespace codegen::testing
