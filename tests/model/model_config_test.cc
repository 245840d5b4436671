// SPDX-License-Identifier: Apache-2.0
#include "model/model_config.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "base/json.h"

namespace codegen::model {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// CodeGen1-350M's config.json; `change` replaces `key`'s value, or drops the key if it is empty.
std::string CodeGenJson(const std::string& key = "", const std::string& change = "") {
  const std::pair<const char*, const char*> fields[] = {{"model_type", "\"codegen\""},
                                                        {"vocab_size", "51200"},
                                                        {"n_positions", "2048"},
                                                        {"n_embd", "1024"},
                                                        {"n_layer", "20"},
                                                        {"n_head", "16"},
                                                        {"rotary_dim", "32"},
                                                        {"n_inner", "null"},
                                                        {"activation_function", "\"gelu_new\""},
                                                        {"layer_norm_epsilon", "1e-5"},
                                                        {"eos_token_id", "50256"},
                                                        {"tie_word_embeddings", "false"}};
  std::string json;
  bool known = false;
  for (const auto& [name, value] : fields) {
    known |= name == key;
    if (name == key && change.empty()) continue;
    json +=
        fmt::format("{}\"{}\": {}", json.empty() ? "{" : ", ", name, name == key ? change : value);
  }
  if (!known && !key.empty()) json += fmt::format(", \"{}\": {}", key, change);
  return json + "}";
}

const char kLlamaJson[] =
    R"({"model_type": "llama", "hidden_size": 4096, "intermediate_size": 11008,
  "num_hidden_layers": 32, "num_attention_heads": 32, "vocab_size": 51200, "max_position_embeddings": 2048,
  "rms_norm_eps": 1e-6, "hidden_act": "silu", "eos_token_id": 50256, "pad_token_id": 0)";

absl::StatusOr<ModelConfig> Parse(const std::string& json, int qkv_groups = 0) {
  auto document = base::JsonDocument::Parse(json, "config.json");
  if (!document.ok()) return document.status();
  return ParseModelConfig(*document, qkv_groups);
}

std::string Message(const absl::StatusOr<ModelConfig>& config) {
  return std::string(config.status().message());
}

TEST(ModelConfig, ReadsCodeGen1) {
  const absl::StatusOr<ModelConfig> config = Parse(CodeGenJson());

  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->architecture, Architecture::kCodeGen);
  EXPECT_EQ(config->layers, 20);
  EXPECT_EQ(config->width, 1024);
  EXPECT_EQ(config->inner, 4096);
  EXPECT_EQ(config->heads.count, 16);
  EXPECT_EQ(config->heads.dim, 64);
  EXPECT_EQ(config->heads.rotary_dim, 32);
  EXPECT_EQ(config->heads.rotary_pairs, backend::RotaryPairs::kInterleaved);
  EXPECT_EQ(config->qkv_groups, 4);
  EXPECT_FLOAT_EQ(config->norm_epsilon, 1e-5F);
  EXPECT_THAT(config->end_of_text, ElementsAre(50256));
  EXPECT_THAT(config->warnings, IsEmpty());
}

TEST(ModelConfig, ReadsLlama) {
  const absl::StatusOr<ModelConfig> config = Parse(std::string(kLlamaJson) + "}");

  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->architecture, Architecture::kLlama);
  EXPECT_EQ(config->inner, 11008);
  EXPECT_EQ(config->heads.dim, 128);
  EXPECT_EQ(config->heads.rotary_dim, 128);
  EXPECT_EQ(config->heads.rotary_pairs, backend::RotaryPairs::kHalves);
  EXPECT_FLOAT_EQ(config->norm_epsilon, 1e-6F);
  EXPECT_TRUE(IsCodeGen25(*config));
}

TEST(ModelConfig, SixteenLayersMeanEightGroups) {
  EXPECT_EQ(Parse(CodeGenJson("n_layer", "16"))->qkv_groups, 8);
  EXPECT_EQ(Parse(CodeGenJson("n_layer", "34"))->qkv_groups, 4);
}

TEST(ModelConfig, GroupsCanBeOverridden) { EXPECT_EQ(Parse(CodeGenJson(), 16)->qkv_groups, 16); }

TEST(ModelConfig, RefusesGroupsThatDoNotDivideTheHeads) {
  const auto config = Parse(CodeGenJson(), 3);
  EXPECT_EQ(config.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(Message(config), HasSubstr("16 does not divide into 3"));
}

TEST(ModelConfig, RefusesGroupsForLlama) {
  EXPECT_EQ(Parse(std::string(kLlamaJson) + "}", 4).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(ModelConfig, OverrulesTheWrongEndOfText) {
  const auto config = Parse(CodeGenJson("eos_token_id", "2"));
  EXPECT_THAT(config->end_of_text, ElementsAre(50256));
  EXPECT_THAT(config->warnings, Contains(HasSubstr("eos_token_id")));
}

TEST(ModelConfig, C13AcceptsAListOfEndOfText) {
  EXPECT_THAT(Parse(CodeGenJson("vocab_size", "512"))->end_of_text,
              IsEmpty());  // 50256 is no row of it
  auto json = CodeGenJson("eos_token_id", "[7, 9]");
  json.replace(json.find("51200"), 5, "512");
  EXPECT_THAT(Parse(json)->end_of_text, ElementsAre(7, 9));
}

TEST(ModelConfig, C13RefusesANegativeOrTextualEndOfText) {
  auto negative = CodeGenJson("eos_token_id", "-1");
  negative.replace(negative.find("51200"), 5, "512");
  EXPECT_EQ(Parse(negative).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Parse(CodeGenJson("eos_token_id", "\"x\"")).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(ModelConfig, C06NamesKeyAndTypes) {
  for (const char* value : {"\"24\"", "24.5", "true", "[1]", "{}"}) {
    const auto config = Parse(CodeGenJson("n_layer", value));
    EXPECT_EQ(config.status().code(), absl::StatusCode::kInvalidArgument) << value;
    EXPECT_THAT(Message(config), HasSubstr("\"n_layer\" must be an integer, found")) << value;
  }
}

TEST(ModelConfig, C07RefusesNumbersOutOfRange) {
  for (const char* key : {"n_layer", "n_head", "n_embd", "vocab_size", "n_positions"}) {
    for (const char* value : {"0", "-1", "2147483648", "9223372036854775808"}) {
      const auto config = Parse(CodeGenJson(key, value));
      EXPECT_EQ(config.status().code(), absl::StatusCode::kInvalidArgument) << key << " " << value;
      EXPECT_THAT(Message(config), HasSubstr("allowed")) << key << " " << value;
    }
  }
}

TEST(ModelConfig, C08RefusesSizesThatContradict) {
  EXPECT_THAT(Message(Parse(CodeGenJson("n_head", "12"))),
              HasSubstr("\"n_embd\" 1024 is not a multiple of \"n_head\" 12"));
  EXPECT_THAT(Message(Parse(CodeGenJson("rotary_dim", "66"))),
              HasSubstr("\"rotary_dim\" is 66, allowed 2 to 64"));
  EXPECT_THAT(Message(Parse(CodeGenJson("rotary_dim", "31"))), HasSubstr("odd"));
  EXPECT_THAT(Message(Parse(CodeGenJson("head_dim", "128"))), HasSubstr("\"head_dim\" is 128"));
}

TEST(ModelConfig, C10NamesWhatItDoesNotKnow) {
  for (const auto& [key, value] : {std::pair{"model_type", "\"gpt_neox\""},
                                   {"activation_function", "\"gelu\""},
                                   {"tie_word_embeddings", "true"},
                                   {"n_head", "256"}}) {
    const auto config = Parse(CodeGenJson(key, value));
    EXPECT_EQ(config.status().code(), absl::StatusCode::kUnimplemented)
        << key << ": " << config.status();
    EXPECT_THAT(Message(config), HasSubstr(key));
  }
  for (const char* more :
       {", \"num_key_value_heads\": 8}", ", \"rope_scaling\": {\"type\": \"linear\"}}",
        ", \"attention_bias\": true}"}) {
    EXPECT_EQ(Parse(std::string(kLlamaJson) + more).status().code(),
              absl::StatusCode::kUnimplemented)
        << more;
  }
}

TEST(ModelConfig, C11ReportsCodeAndNeverRunsIt) {
  const auto config = Parse(CodeGenJson("auto_map", "{\"AutoModel\": \"modeling_codegen.X\"}"));
  ASSERT_TRUE(config.ok());
  EXPECT_THAT(config->warnings, Contains(HasSubstr("auto_map")));
}

TEST(ModelConfig, NamesAMissingKey) {
  for (const char* key :
       {"model_type", "n_layer", "n_head", "n_embd", "rotary_dim", "vocab_size", "n_positions"}) {
    const auto config = Parse(CodeGenJson(key));
    EXPECT_EQ(config.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(Message(config), HasSubstr(fmt::format("\"{}\" is missing", key)));
  }
}

TEST(ModelConfig, FamilyFollowsShapeAndTokenizer) {
  EXPECT_EQ(FamilyName(*Parse(CodeGenJson()), "codegen1"), "codegen1");
  EXPECT_EQ(FamilyName(*Parse(CodeGenJson()), "codegen2"), "codegen2");
  EXPECT_EQ(FamilyName(*Parse(CodeGenJson("n_layer", "16")), ""), "codegen2");
  EXPECT_EQ(FamilyName(*Parse(std::string(kLlamaJson) + "}"), ""), "codegen2.5");
}

}  // namespace
}  // namespace codegen::model
