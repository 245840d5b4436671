// SPDX-License-Identifier: Apache-2.0
//
// The ids (C02, ...) are rows of our catalogue of hostile files.
#include "base/json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "codegen/options.h"
#include "support/status_is.h"
#include "support/temp_folder.h"

namespace codegen::base {
namespace {

using testing::IsOk;
using testing::StatusIs;
using enum absl::StatusCode;

// `depth` containers in each other.
std::string Nested(int depth) {
  return "{\"a\":" + std::string(static_cast<std::size_t>(depth - 1), '[') + "1" +
         std::string(static_cast<std::size_t>(depth - 1), ']') + "}";
}

TEST(Json, ParsesAnObject) {
  const auto document = JsonDocument::Parse(R"({"a": 1})", "x.json");

  ASSERT_THAT(document, IsOk());
  EXPECT_EQ(std::int64_t{document->root()["a"]}, 1);
  EXPECT_EQ(document->name(), "x.json");
}

TEST(Json, KeepsItsElementsWhenItIsMoved) {
  auto document = JsonDocument::Parse(R"({"a": "text"})", "x.json");
  ASSERT_THAT(document, IsOk());
  const JsonDocument moved = *std::move(document);

  EXPECT_EQ(std::string_view(moved.root()["a"]), "text");
}

TEST(Json, ReadsAFileUpToALimit) {
  const testing::TempFolder folder;
  const std::string path = folder.Write("x.json", R"({"a": 1})");

  EXPECT_THAT(JsonDocument::Read(path, 8), IsOk());
  EXPECT_THAT(JsonDocument::Read(path, 7), StatusIs(kResourceExhausted, "x.json: 8 bytes"));
  EXPECT_THAT(JsonDocument::Read(folder.Path("y.json"), 8), StatusIs(kNotFound, "y.json"));
}

TEST(Json, C02RefusesWhatIsNoJson) {
  EXPECT_THAT(JsonDocument::Parse("", "x.json"), StatusIs(kDataLoss, "the file is empty"));
  EXPECT_THAT(JsonDocument::Parse(" \n", "x.json"), StatusIs(kDataLoss, "the file is empty"));
  EXPECT_THAT(JsonDocument::Parse("{", "x.json"), StatusIs(kDataLoss, "x.json: not valid JSON"));
  EXPECT_THAT(JsonDocument::Parse("{} {}", "x.json"), StatusIs(kDataLoss, "not valid JSON"));
  EXPECT_THAT(JsonDocument::Parse("<html>", "x.json"), StatusIs(kDataLoss, "HTML page"));
  EXPECT_THAT(JsonDocument::Parse(std::string("\xFF\xFE{\0}\0", 6), "x.json"),
              StatusIs(kDataLoss, "not valid JSON"));
}

TEST(Json, C02RefusesInvalidUtf8) {
  EXPECT_THAT(JsonDocument::Parse("{\"\xC3\":1}", "x.json"), StatusIs(kDataLoss, "UTF"));
}

TEST(Json, C03RefusesDeepNesting) {
  EXPECT_THAT(JsonDocument::Parse(Nested(Limits::json_depth), "x.json"), IsOk());
  EXPECT_THAT(JsonDocument::Parse(Nested(Limits::json_depth + 1), "x.json"),
              StatusIs(kDataLoss, "nested deeper than 64"));
  EXPECT_THAT(JsonDocument::Parse(Nested(100'000), "x.json"), StatusIs(kDataLoss, "deeper"));
}

TEST(Json, C05RefusesAKeyTwiceAtAnyDepth) {
  EXPECT_THAT(JsonDocument::Parse(R"({"a":1,"a":1})", "x.json"),
              StatusIs(kDataLoss, "key \"a\" appears twice"));
  EXPECT_THAT(JsonDocument::Parse(R"({"b":[{"a":1,"\u0061":2}]})", "x.json"),
              StatusIs(kDataLoss, "key \"a\" appears twice"));
}

TEST(Json, C12RefusesNumbersThatAreNone) {
  for (const char* text : {R"({"a":NaN})", R"({"a":Infinity})", R"({"a":1e999})", R"({"a":01})"})
    EXPECT_THAT(JsonDocument::Parse(text, "x.json"), StatusIs(kDataLoss)) << text;
}

TEST(Json, RefusesATopThatIsNoObject) {
  EXPECT_THAT(JsonDocument::Parse("[1]", "x.json"),
              StatusIs(kDataLoss, "expected a JSON object, found array"));
  EXPECT_THAT(JsonDocument::Parse("1", "x.json"), StatusIs(kDataLoss, "found integer"));
}

}  // namespace
}  // namespace codegen::base
