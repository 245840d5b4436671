// SPDX-License-Identifier: Apache-2.0
#ifndef CODEGEN_TESTS_API_TINY_MODELS_H_
#define CODEGEN_TESTS_API_TINY_MODELS_H_

#include <gtest/gtest.h>

#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "codegen/model.h"
#include "support/shared_files.h"
#include "support/sine_folder.h"

namespace codegen::testing {

// Into how many parts the models of this run are split: CODEGEN_TEST_RANKS, else 1.
inline int TestRanks() {
  const char* const ranks = std::getenv("CODEGEN_TEST_RANKS");
  return ranks == nullptr ? 1 : std::stoi(ranks);
}

// `options` on the device, and in the parts, that a run is for.
inline LoadOptions OnTestDevice(LoadOptions options) {
  options.parallel.tensor = TestRanks();
#ifdef CODEGEN_TEST_CUDA
  options.device = Device::Cuda(0);
  options.deterministic = true;
#endif
  return options;
}

// A model of 13 ids, 64 tokens of context and no tokenizer.
inline Model TinyModel(int eos = 12, int threads = 1) {
  TempFolder folder;
  WriteSineFolder(folder, eos);
  absl::StatusOr<Model> model = Model::Load(folder.path(), OnTestDevice({.threads = threads}));
  EXPECT_TRUE(model.ok()) << model.status();
  return *std::move(model);
}

// For LoadOptions::progress.
inline auto Keep(std::vector<LoadProgress>& reports) {
  return [&reports](const LoadProgress& progress) {
    reports.push_back(progress);
    return Next::kContinue;
  };
}

inline const Model& ShippedTinyModel() {
  static const Model* const model =
      new Model(*Model::Load(ShippedModel(), OnTestDevice({.threads = 2})));
  return *model;
}

}  // namespace codegen::testing

#endif  // CODEGEN_TESTS_API_TINY_MODELS_H_
