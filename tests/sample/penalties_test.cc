// SPDX-License-Identifier: Apache-2.0
#include "sample/penalties.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <tuple>
#include <vector>

namespace codegen::sample {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

// Id, divisor, bias.
using Change = std::tuple<TokenId, float, float>;

std::vector<Change> ChangesOf(const Penalties& penalties) {
  std::vector<Change> changes;
  for (const auto& [id, divisor, bias] : penalties.changes())
    changes.emplace_back(id, divisor, bias);
  return changes;
}

TEST(Penalties, OfARequestWithoutAnyChangeNothing) {
  Penalties penalties(Request(), std::vector<TokenId>{1, 2, 3}, 10);
  EXPECT_THAT(penalties.changes(), IsEmpty());

  penalties.Take(4);

  EXPECT_THAT(penalties.changes(), IsEmpty());
}

TEST(Penalties, RepetitionIsOfPromptAndCompletion) {
  Penalties penalties({.repetition_penalty = 2}, std::vector<TokenId>{5, 3, 5}, 10);
  EXPECT_THAT(ChangesOf(penalties), ElementsAre(Change(3, 2, 0), Change(5, 2, 0)));

  penalties.Take(4);
  penalties.Take(3);

  EXPECT_THAT(ChangesOf(penalties), ElementsAre(Change(3, 2, 0), Change(4, 2, 0), Change(5, 2, 0)));
}

TEST(Penalties, FrequencyAndPresenceAreOfTheCompletionAlone) {
  Penalties penalties({.frequency_penalty = 0.5F, .presence_penalty = -0.25F},
                      std::vector<TokenId>{5, 3, 5}, 10);
  EXPECT_THAT(penalties.changes(), IsEmpty());

  penalties.Take(5);
  EXPECT_THAT(ChangesOf(penalties), ElementsAre(Change(5, 1, -0.25F)));
  penalties.Take(5);
  penalties.Take(1);

  EXPECT_THAT(ChangesOf(penalties), ElementsAre(Change(1, 1, -0.25F), Change(5, 1, -0.75F)));
}

TEST(Penalties, BiasStaysWhateverIsDrawn) {
  Penalties penalties({.logit_bias = {{7, 1.5F}, {2, -100}}}, std::vector<TokenId>{7}, 10);

  penalties.Take(7);

  EXPECT_THAT(ChangesOf(penalties), ElementsAre(Change(2, 1, -100), Change(7, 1, 1.5F)));
}

TEST(Penalties, LeaveTokensAloneThatAreNeverDrawn) {
  const Penalties penalties({.repetition_penalty = 2, .logit_bias = {{9, 3}, {10, 3}, {11, 3}}},
                            std::vector<TokenId>{10, 11, 12}, 10);

  EXPECT_THAT(ChangesOf(penalties), ElementsAre(Change(9, 1, 3)));
}

TEST(Penalties, OfACopyGoTheirOwnWay) {
  const Penalties first({.presence_penalty = 1}, std::vector<TokenId>{1}, 10);
  Penalties second = first;

  second.Take(2);

  EXPECT_THAT(first.changes(), IsEmpty());
  EXPECT_THAT(ChangesOf(second), ElementsAre(Change(2, 1, -1)));
}

// Request word by word, from the start for every token.
std::vector<Change> Foreseen(const Request& request, const std::vector<TokenId>& prompt,
                             const std::vector<TokenId>& drawn) {
  std::map<TokenId, Change> changes;
  const auto at = [&](TokenId id) -> Change& {
    return changes.try_emplace(id, Change(id, 1, 0)).first->second;
  };
  for (const auto* tokens : {&prompt, &drawn}) {
    for (const TokenId token : *tokens)
      if (request.repetition_penalty != 1) std::get<1>(at(token)) = request.repetition_penalty;
  }
  for (const TokenId token : drawn) {
    const auto count = static_cast<float>(std::ranges::count(drawn, token));
    std::get<2>(at(token)) = -(request.frequency_penalty * count + request.presence_penalty);
  }
  for (const auto& [token, bias] : request.logit_bias) std::get<2>(at(token)) += bias;
  std::vector<Change> result;
  for (const auto& [id, change] : changes) result.push_back(change);
  return result;
}

TEST(Penalties, AreThoseOfTheDefinitionAfterEveryToken) {
  std::mt19937 random(1);
  for (int round = 0; round < 50; ++round) {
    Request request{.repetition_penalty = round % 3 == 0 ? 1.0F : 1.25F,
                    .frequency_penalty = 0.5F,
                    .presence_penalty = round % 2 == 0 ? 0.0F : -1.5F};
    for (TokenId id = 0; id < 100; ++id)
      if (random() % 10 == 0) request.logit_bias.push_back({id, static_cast<float>(random() % 9)});
    std::ranges::shuffle(request.logit_bias, random);
    std::vector<TokenId> prompt;
    std::vector<TokenId> drawn;
    for (int i = 0; i < 30; ++i) prompt.push_back(static_cast<TokenId>(random() % 100));
    Penalties penalties(request, prompt, 100);
    for (int i = 0; i < 100; ++i) {
      drawn.push_back(static_cast<TokenId>(random() % 100));
      penalties.Take(drawn.back());
      ASSERT_EQ(ChangesOf(penalties), Foreseen(request, prompt, drawn));
    }
  }
}

}  // namespace
}  // namespace codegen::sample
