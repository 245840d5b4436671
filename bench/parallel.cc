// SPDX-License-Identifier: Apache-2.0
//
// What it costs to compute a model in parts: two parts of one thread each, over the whole on two
// threads, the same cores.
//
//   parallel_bench [CONFIG [WEIGHTS]]
//
// Random weights of the shape in CONFIG (bench/shapes/codegen1-350M.json), bf16 unless WEIGHTS says
// otherwise. Every case is measured on both models in turns, seven times; printed are the medians,
// and the median of the ratios of each turn. Goal: 0.95 and more.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <string>

#include "api/lockstep.h"
#include "codegen/model.h"
#include "codegen/options.h"
#include "program.h"

namespace codegen {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kTurns = 7;
constexpr int kContext = 160;
constexpr int kPrompt = 128;
constexpr int kSteps = 16;

template <class Work>
double Seconds(const Work& work) {
  const auto start = Clock::now();
  work();
  return std::chrono::duration<double>(Clock::now() - start).count();
}

double Median(std::array<double, kTurns> values) {
  std::ranges::sort(values);
  return values[kTurns / 2];
}

// Tokens per second of a prompt, and of the steps after it.
struct Speed {
  double prefill = 0;
  double decode = 0;
};

Speed Measure(api::Lockstep& batch, int sequences) {
  batch.Rewind();
  const double prefill = Seconds([&] { Check(batch.Prefill(kPrompt)); });
  const double decode = Seconds([&] {
    for (int step = 0; step < kSteps; ++step) Check(batch.Decode());
  });
  return {.prefill = kPrompt * sequences / prefill, .decode = kSteps * sequences / decode};
}

void Compare(const Model& whole, const Model& parts, int sequences) {
  auto on_whole = Take(api::Lockstep::Create(whole, sequences, kContext));
  auto on_parts = Take(api::Lockstep::Create(parts, sequences, kContext));
  Measure(on_whole, sequences);  // warms up
  Measure(on_parts, sequences);
  std::array<double, kTurns> prefill[3];  // whole, parts, ratio
  std::array<double, kTurns> decode[3];
  for (std::size_t turn = 0; turn < kTurns; ++turn) {
    const Speed a = Measure(on_whole, sequences);
    const Speed b = Measure(on_parts, sequences);
    prefill[0][turn] = a.prefill;
    prefill[1][turn] = b.prefill;
    prefill[2][turn] = b.prefill / a.prefill;
    decode[0][turn] = a.decode;
    decode[1][turn] = b.decode;
    decode[2][turn] = b.decode / a.decode;
  }
  const auto print = [sequences](const char* what, const std::array<double, kTurns>* speeds) {
    fmt::print("{:8} {:3} {:10.1f} {:10.1f} {:7.3f}\n", what, sequences, Median(speeds[0]),
               Median(speeds[1]), Median(speeds[2]));
  };
  print("prefill", prefill);
  print("decode", decode);
}

int Main(int argc, char** argv) {
  const std::string config =
      argc > 1 ? argv[1] : CODEGEN_SOURCE_DIR "/bench/shapes/codegen1-350M.json";
  const WeightFormat format = argc > 2 ? FormatNamed(argv[2]) : WeightFormat::kBf16;
  const Model whole = Take(Model::Random(config, {.weights = format, .threads = 2}));
  const Model parts =
      Take(Model::Random(config, {.weights = format, .threads = 2, .parallel = {.tensor = 2}}));
  fmt::print("{}: tokens/s with {}, by sequences, in one part of two threads and in two of one\n",
             config, WeightFormatName(format));
  for (const int sequences : {1, 4, 16}) Compare(whole, parts, sequences);
  return 0;
}

}  // namespace
}  // namespace codegen

int main(int argc, char** argv) { return codegen::Main(argc, argv); }
