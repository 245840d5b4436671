// SPDX-License-Identifier: Apache-2.0
#include "codegen/tokenizer.h"

#include <absl/status/status.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "support/shared_files.h"
#include "support/temp_folder.h"
#include "tokenizer/tokenizer_file.h"

namespace codegen {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

Tokenizer Small() {
  const testing::TempFolder folder;
  folder.Write("tokenizer.json", tokenizer::SmallTokenizer().Json());
  auto loaded = Tokenizer::Load(folder.path());
  EXPECT_TRUE(loaded.ok()) << loaded.status();
  return *std::move(loaded);
}

TEST(Tokenizer, EncodesAndDecodes) {
  const Tokenizer small = Small();

  const auto ids = small.Encode("hello hello");

  ASSERT_TRUE(ids.ok()) << ids.status();
  EXPECT_THAT(*ids, ElementsAre(259, 260));
  EXPECT_EQ(small.Decode(*ids), "hello hello");
}

TEST(Tokenizer, TakesControlStringsAsTextUnlessAsked) {
  const Tokenizer small = Small();

  EXPECT_EQ(small.Encode("<|endoftext|>")->size(), 13U);
  EXPECT_THAT(*small.Encode("<|endoftext|>", AllowSpecial::kYes), ElementsAre(265));
}

TEST(Tokenizer, KnowsItsIds) {
  const Tokenizer small = Small();

  EXPECT_EQ(small.size(), 270);
  EXPECT_EQ(small.kind(), "byte-level-bpe");
  EXPECT_EQ(small.end_of_text(), 265);
  EXPECT_EQ(small.Find("<mask_1>"), 269);
  EXPECT_EQ(small.Find("<mask_2>"), std::nullopt);
  EXPECT_TRUE(small.Knows(0));
  EXPECT_TRUE(small.Knows(269));
  EXPECT_FALSE(small.Knows(270));
  EXPECT_FALSE(small.Knows(-1));
}

TEST(Tokenizer, RefusesAFolderWithoutOne) {
  const testing::TempFolder folder;

  EXPECT_EQ(Tokenizer::Load(folder.path()).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(Tokenizer::Load(folder.path() + "/none").status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(Tokenizer::LoadCodeGen25(folder.path()).status().code(), absl::StatusCode::kNotFound);
}

TEST(Tokenizer, RefusesInvalidText) {
  const auto ids = Small().Encode("a\xC0");

  EXPECT_EQ(ids.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(ids.status().message()), HasSubstr("byte 1"));
}

TEST(Tokenizer, CopiesOutliveTheOriginal) {
  std::optional<Tokenizer> original = Small();
  const Tokenizer copy = *original;
  original.reset();

  EXPECT_EQ(copy.Decode(std::vector<TokenId>{259}), "hello");
}

TEST(Tokenizer, ServesManyThreadsAtOnce) {
  const Tokenizer small = Small();
  const std::vector<TokenId> expected = *small.Encode("  hello re 12");
  std::vector<int> wrong(4, 0);
  std::vector<std::thread> threads;

  for (int& count : wrong) {
    threads.emplace_back([&small, &expected, &count] {
      for (int i = 0; i < 200; ++i) count += *small.Encode("  hello re 12") == expected ? 0 : 1;
    });
  }
  for (std::thread& thread : threads) thread.join();

  EXPECT_THAT(wrong, ElementsAre(0, 0, 0, 0));
}

TEST(StreamDecoder, HoldsBackHalfACodePoint) {
  StreamDecoder stream = Small().Stream();  // outlives its tokenizer

  EXPECT_EQ(stream.Add('a'), "a");
  EXPECT_EQ(stream.Add(0xE2), "");
  EXPECT_EQ(stream.Add(0x82), "");
  EXPECT_EQ(stream.Add(0xAC), "\u20AC");
  EXPECT_EQ(stream.Add(0xE2), "");
  EXPECT_EQ(stream.Finish(), "\uFFFD");
  EXPECT_EQ(stream.Finish(), "");
}

// The vectors that every published description of these tokenizers agrees on.
TEST(Tokenizer, PublishedVectorsMatch) {
  const std::string folder = testing::SharedPath("data/tokenizers");
  CODEGEN_SKIP_WITHOUT(folder);
  const auto codegen1 = Tokenizer::Load(folder + "/codegen1");
  const auto codegen2 = Tokenizer::Load(folder + "/codegen2");
  const auto codegen25 = Tokenizer::LoadCodeGen25(folder + "/codegen1");
  ASSERT_TRUE(codegen1.ok() && codegen2.ok() && codegen25.ok());
  EXPECT_EQ(codegen1->kind(), "codegen1");
  EXPECT_EQ(codegen2->kind(), "codegen2");
  EXPECT_EQ(codegen25->kind(), "codegen2.5");
  EXPECT_EQ(codegen1->size(), 50295);
  EXPECT_EQ(codegen2->size(), 51200);
  EXPECT_EQ(codegen25->size(), 51200);

  constexpr std::string_view kFunction = "def f(x):\n    return x + 1\n";
  EXPECT_THAT(*codegen1->Encode(kFunction),
              ElementsAre(4299, 277, 7, 87, 2599, 198, 50284, 7783, 2124, 1343, 352, 198));
  EXPECT_THAT(*codegen25->Encode(kFunction),
              ElementsAre(4299, 277, 7, 87, 2599, 198, 50285, 1441, 2124, 1343, 352, 198));
  constexpr std::string_view kInfill = "<mask_1> <sep><eom>";
  EXPECT_THAT(*codegen1->Encode(kInfill, AllowSpecial::kYes),
              ElementsAre(27, 27932, 62, 16, 29, 1279, 325, 79, 6927, 68, 296, 29));
  EXPECT_THAT(*codegen2->Encode(kInfill, AllowSpecial::kYes),
              ElementsAre(51199, 220, 50299, 50300));
  EXPECT_THAT(*codegen25->Encode(kInfill, AllowSpecial::kYes),
              ElementsAre(51199, 220, 50317, 50318));
}

}  // namespace
}  // namespace codegen
