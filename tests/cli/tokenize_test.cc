// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/model_folder.h"
#include "cli/program.h"

namespace codegen::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::StartsWith;

TEST(Tokenize, PrintsIdsWithTokenizerFilesAlone) {
  const TokenizerFolder folder;

  const Outcome plain = RunProgram({"tokenize", "--model", folder.path(), "--prompt", "def f"});
  const Outcome json =
      RunProgram({"tokenize", "--model", folder.path(), "--json", "--text", "def f"});

  EXPECT_EQ(plain.exit_code, 0) << plain.err;
  EXPECT_EQ(plain.out, "257,32,102\n");
  EXPECT_EQ(json.out, "{\"token_ids\":[257,32,102]}\n");
}

TEST(Tokenize, ReadsFilesAndStandardInput) {
  const TokenizerFolder folder;
  const std::string file = folder.Write("text", "de\n");

  EXPECT_EQ(RunProgram({"tokenize", "--model", folder.path(), "--prompt-file", file}).out,
            "256,10\n");
  EXPECT_EQ(RunProgram({"tokenize", "--model", folder.path()}, "de\n").out, "256,10\n");
  EXPECT_EQ(RunProgram({"tokenize", "--model", folder.path()}).out, "\n");
}

TEST(Tokenize, TakesTheTokenizerOfAnotherFolder) {
  const TokenizerFolder tokenizer;
  const IdsModelFolder model;

  EXPECT_EQ(RunProgram({"tokenize", "--tokenizer", tokenizer.path(), "--prompt", "def"}).out,
            "257\n");
  EXPECT_EQ(RunProgram({"tokenize", "--model", model.path(), "--tokenizer", tokenizer.path(),
                        "--prompt", "def"})
                .out,
            "257\n");
}

TEST(Tokenize, RecognisesControlStringsOnlyWhenAsked) {
  const TokenizerFolder folder;
  const Arguments plain = {"tokenize", "--model", folder.path(), "--prompt", "<|endoftext|>"};
  Arguments special = plain;
  special.push_back("--special");

  EXPECT_EQ(RunProgram(plain).out, "60,124,101,110,100,111,102,116,101,120,116,124,62\n");
  EXPECT_EQ(RunProgram(special).out, "258\n");
}

TEST(Tokenize, SaysThatThereIsNoTokenizer) {
  const IdsModelFolder model;

  const Outcome outcome = RunProgram({"tokenize", "--model", model.path(), "--prompt", "def"});

  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_THAT(outcome.err, StartsWith("codegen: NOT_FOUND: "));
}

TEST(Tokenize, RefusesTextThatIsNotUtf8) {
  const TokenizerFolder folder;

  const Outcome outcome = RunProgram({"tokenize", "--model", folder.path()}, "a\xff");

  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_THAT(outcome.err, StartsWith("codegen: INVALID_ARGUMENT: "));
}

TEST(Tokenize, ServesLines) {
  const TokenizerFolder folder;

  const std::vector<Json> lines =
      LinesOf(RunProgram({"tokenize", "--model", folder.path(), "--json-lines"},
                         "{\"id\": 1, \"text\": \"<|endoftext|>\", \"special\": true}\n"
                         "{\"text\": 5}\n"
                         "{}\n"
                         "{\"text\": \"\"}\n"));

  ASSERT_EQ(lines.size(), 4U);
  EXPECT_EQ(lines[0].dump(), "{\"id\":1,\"token_ids\":[258]}");
  EXPECT_EQ(lines[1]["error"]["message"], "\"text\": expected a string, found 5");
  EXPECT_EQ(lines[2]["error"]["code"], "INVALID_ARGUMENT");
  EXPECT_EQ(lines[3].dump(), "{\"token_ids\":[]}");
}

TEST(Detokenize, PrintsTextWithTokenizerFilesAlone) {
  const TokenizerFolder folder;

  const Outcome plain =
      RunProgram({"detokenize", "--model", folder.path(), "--token-ids", "257,32,102"});
  const Outcome json =
      RunProgram({"detokenize", "--model", folder.path(), "--json", "--prompt-ids", "257,32,102"});

  EXPECT_EQ(plain.exit_code, 0) << plain.err;
  EXPECT_EQ(plain.out, "def f");
  EXPECT_EQ(json.out, "{\"text\":\"def f\"}\n");
}

TEST(Detokenize, ReadsStandardInput) {
  const TokenizerFolder folder;

  EXPECT_EQ(RunProgram({"detokenize", "--model", folder.path()}, "257, 32\n102 \n").out, "def f");
  EXPECT_EQ(RunProgram({"detokenize", "--model", folder.path()}, "").out, "");
}

TEST(Detokenize, RefusesWhatAreNoIds) {
  const TokenizerFolder folder;

  const Outcome outcome = RunProgram({"detokenize", "--model", folder.path()}, "257, def");

  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_THAT(outcome.err,
              StartsWith("codegen: INVALID_ARGUMENT: standard input: expected token ids"));
}

TEST(Detokenize, PrintsValidUtf8WhateverTheBytes) {
  const TokenizerFolder folder;

  EXPECT_EQ(
      RunProgram({"detokenize", "--model", folder.path(), "--json", "--token-ids", "255"}).out,
      "{\"text\":\"\\ufffd\"}\n");
}

TEST(Detokenize, ServesLines) {
  const TokenizerFolder folder;

  const std::vector<Json> lines =
      LinesOf(RunProgram({"detokenize", "--model", folder.path(), "--json-lines"},
                         "{\"id\": \"a\", \"token_ids\": [257]}\n"
                         "{\"token_ids\": [1.5]}\n"
                         "{\"token_ids\": []}\n"));

  ASSERT_EQ(lines.size(), 3U);
  EXPECT_EQ(lines[0].dump(), "{\"id\":\"a\",\"text\":\"def\"}");
  EXPECT_EQ(lines[1]["error"]["message"],
            "\"token_ids\": expected an array of token ids, found [1.5]");
  EXPECT_EQ(lines[2].dump(), "{\"text\":\"\"}");
}

}  // namespace
}  // namespace codegen::testing
