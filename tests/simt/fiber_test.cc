// SPDX-License-Identifier: Apache-2.0
#include "support/simt/fiber.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

namespace codegen::simt {
namespace {

// What the fibers of a test share; they take no argument.
struct Stage {
  Fiber main;
  std::vector<std::unique_ptr<Fiber>> fibers;
  std::string trace;
};
Stage* stage = nullptr;

Fiber& Numbered(std::size_t i) { return *stage->fibers[i]; }

int edge = 0;

// A switch orders nothing for the thread sanitizer, which the tests here want.
void SwitchInOrder(Fiber& from, Fiber& to) {
  Release(&edge);
  Fiber::Switch(from, to);
  Acquire(&edge);
}

[[noreturn]] void PassOn() {
  Acquire(&edge);
  for (char c = 'a';; ++c) {
    stage->trace += c;
    SwitchInOrder(Numbered(0), Numbered(1));
  }
}

[[noreturn]] void PassBack() {
  Acquire(&edge);
  for (char c = 'A';; ++c) {
    stage->trace += c;
    SwitchInOrder(Numbered(1), stage->main);
  }
}

TEST(Fiber, GoesOnWhereItStopped) {
  Stage own;
  stage = &own;
  own.fibers.push_back(std::make_unique<Fiber>(&PassOn));
  own.fibers.push_back(std::make_unique<Fiber>(&PassBack));

  for (int i = 0; i < 3; ++i) {
    own.trace += '.';
    SwitchInOrder(own.main, Numbered(0));
  }

  EXPECT_EQ(own.trace, ".aA.bB.cC");
}

// Uses some registers and some stack of its own across switches.
[[noreturn]] void Count() {
  Acquire(&edge);
  int integers[100] = {};
  double sum = 0;
  for (int round = 0;; ++round) {
    for (int& integer : integers) integer += round;
    sum += 0.5;
    SwitchInOrder(Numbered(0), stage->main);
    stage->trace = std::to_string(integers[99]) + " " + std::to_string(sum);
  }
}

TEST(Fiber, KeepsItsVariables) {
  Stage own;
  stage = &own;
  own.fibers.push_back(std::make_unique<Fiber>(&Count));

  for (int i = 0; i < 101; ++i) SwitchInOrder(own.main, Numbered(0));

  EXPECT_EQ(own.trace, std::to_string(99 * 100 / 2) + " " + std::to_string(50.0));
}

[[noreturn]] void ThrowAndCatch() {
  Acquire(&edge);
  for (;;) {
    try {
      throw 7;
    } catch (int thrown) {
      stage->trace += std::to_string(thrown);
    }
    SwitchInOrder(Numbered(0), stage->main);
  }
}

TEST(Fiber, MayThrowOnItsOwnStack) {
  Stage own;
  stage = &own;
  own.fibers.push_back(std::make_unique<Fiber>(&ThrowAndCatch));

  SwitchInOrder(own.main, Numbered(0));
  SwitchInOrder(own.main, Numbered(0));

  EXPECT_EQ(own.trace, "77");
}

TEST(Fiber, MayBeDestroyedBeforeItRan) { const Fiber fiber(&PassOn); }

}  // namespace
}  // namespace codegen::simt
