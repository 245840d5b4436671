// SPDX-License-Identifier: Apache-2.0
//
// Models whose weights are a formula, so that tests need no file: element n of the t-th tensor, in
// the order of ExpectedTensors, is 0.08 sin(t + 0.37 n), plus one for gains of norms. The expected
// logits of the tiny shapes below were computed in double precision by a program that shares
// nothing with this library.
#ifndef CODEGEN_TESTS_SUPPORT_SINE_MODEL_H_
#define CODEGEN_TESTS_SUPPORT_SINE_MODEL_H_

#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "model/tensor_source.h"

namespace codegen::testing {

class SineSource : public model::TensorSource {
 public:
  explicit SineSource(const model::ModelConfig& config) {
    for (const model::ExpectedTensor& tensor : model::ExpectedTensors(config)) {
      numbers_.emplace(tensor.name, static_cast<int>(numbers_.size()));
    }
  }

  absl::StatusOr<backend::MatrixSource> Open(const model::ExpectedTensor& tensor) const override {
    const int number = numbers_.at(tensor.name);
    const std::int64_t columns = tensor.columns();
    const double center = !tensor.is_matrix() && IsGain(tensor.name) ? 1.0 : 0.0;
    return backend::MatrixSource{
        .rows = tensor.rows(),
        .columns = columns,
        .read = [number, columns, center](std::int64_t first, std::int64_t, std::span<float> out) {
          for (std::size_t i = 0; i < out.size(); ++i) {
            const double n = static_cast<double>(first * columns) + static_cast<double>(i);
            out[i] = static_cast<float>(center + 0.08 * std::sin(number + 0.37 * n));
          }
          return absl::OkStatus();
        }};
  }
  WeightFormat StoredFormat(const model::ExpectedTensor&) const override {
    return WeightFormat::kF32;
  }

 private:
  static bool IsGain(const std::string& name) { return name.ends_with(".weight"); }

  std::map<std::string, int> numbers_;
};

// V 13, E 64, H 8, two layers.
inline model::ModelConfig TinyCodeGen(int qkv_groups) {
  model::ModelConfig config;
  config.architecture = model::Architecture::kCodeGen;
  config.layers = 2;
  config.width = 64;
  config.inner = 256;
  config.vocabulary = 13;
  config.context = 64;
  config.qkv_groups = qkv_groups;
  config.norm_epsilon = 1e-5F;
  config.heads = {
      .count = 8, .dim = 8, .rotary_dim = 4, .rotary_pairs = backend::RotaryPairs::kInterleaved};
  return config;
}

inline model::ModelConfig TinyLlama() {
  model::ModelConfig config;
  config.architecture = model::Architecture::kLlama;
  config.layers = 2;
  config.width = 64;
  config.inner = 96;
  config.vocabulary = 13;
  config.context = 64;
  config.norm_epsilon = 1e-6F;
  config.heads = {
      .count = 8, .dim = 8, .rotary_dim = 8, .rotary_pairs = backend::RotaryPairs::kHalves};
  return config;
}

// Logits after [3, 1, 4, 1, 5].
inline const std::vector<int>& TinyPrompt() {
  static const std::vector<int> prompt = {3, 1, 4, 1, 5};
  return prompt;
}
inline std::vector<double> TinyCodeGenLogits(int qkv_groups) {
  if (qkv_groups == 4) {
    return {.030257,  .207067,  .148682,  -.048317, -.059520, .098050, .100951,
            -.103835, -.198876, -.050433, .060158,  -.064484, -.189214};
  }
  return {.054067,  .295217,  .145637, -.137184, -.077408, .182703, .138781,
          -.179578, -.254547, .012195, .130583,  -.110522, -.270484};
}
inline std::vector<double> TinyLlamaLogits() {
  return {-.824325, 1.150333,  1.095300, -.892322, -1.305497, .584796,  1.443253,
          -.244820, -1.500924, -.108740, 1.475309, .456267,   -1.367829};
}

}  // namespace codegen::testing

#endif  // CODEGEN_TESTS_SUPPORT_SINE_MODEL_H_
