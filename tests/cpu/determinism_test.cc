// SPDX-License-Identifier: Apache-2.0
//
// The promise of the backend: a row's bits depend on its own sequence up to it, and on nothing else
// - not on the number of threads, not on the rows computed beside it, not on where its prompt was
// cut into steps. Proven on a transformer layer (all the operations that a model is made of) over
// random ragged batches: the truth is each sequence alone, token by token, on one thread.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <random>
#include <vector>

#include "backend/backend.h"
#include "codegen/options.h"
#include "cpu/cpu_testing.h"
#include "cpu/ragged.h"

namespace codegen::cpu {
namespace {

using backend::Then;

struct Shape {
  int heads;
  int dim;
  int inner;
  WeightFormat format;
  ComputePrecision precision = ComputePrecision::kExact;
  KvFormat kv = KvFormat::kF32;
};

// The layer y = x + attention(norm(x)) + mlp(norm(x)) + swiglu(norm(x)) on one device.
class Layer {
 public:
  Layer(CpuDevice& device, const Shape& shape, int pages, std::mt19937 random)
      : device_(device),
        width_(shape.heads * shape.dim),
        inner_(shape.inner),
        heads_{.count = shape.heads, .dim = shape.dim, .rotary_dim = shape.dim / 2},
        norm_(Take(
            device.MakeNorm(RandomFloats(width_, random), RandomFloats(width_, random), 1e-5F))),
        qkv_(Make(3 * width_, width_, shape.format, random)),
        out_(Make(width_, width_, shape.format, random)),
        up_(Make(inner_, width_, shape.format, random)),
        down_(Make(width_, inner_, shape.format, random)),
        gates_(Make(2 * width_, width_, shape.format, random)),
        kv_(Take(device.MakeKvLayer(pages, heads_))) {
    // As pages that served others: in f32 and bf16 alike not a number.
    std::ranges::fill(kv_.buffer.as<std::uint16_t>(), std::uint16_t{0x7FC0});
  }

  std::int64_t width() const { return width_; }

  std::vector<float> Run(std::span<const float> x, const Step& step) {
    CpuBackend backend(device_);
    const std::int64_t rows = step.rows().size();
    Tensor y = Upload(device_, x, width_);
    Tensor normal = MakeRows(rows, width_);
    Tensor qkv = MakeRows(rows, 3 * width_);
    Tensor attended = MakeRows(rows, width_);
    Tensor inner = MakeRows(rows, inner_);
    Tensor gates = MakeRows(rows, 2 * width_);
    backend.LayerNorm(y, norm_, normal);
    backend.Linear(normal, qkv_, Then::kStore, qkv);
    backend.Attend(qkv, step.rows(), heads_, kv_, attended);
    backend.Linear(attended, out_, Then::kAdd, y);
    backend.Linear(normal, up_, Then::kGelu, inner);
    backend.Linear(inner, down_, Then::kAdd, y);
    backend.RmsNorm(y, norm_, normal);
    backend.Linear(normal, gates_, Then::kStore, gates);
    backend.SwiGlu(gates, attended);
    backend.Add(attended, y);
    return Download(device_, y);
  }

 private:
  Weight Make(std::int64_t outputs, std::int64_t inputs, WeightFormat format,
              std::mt19937& random) {
    std::vector<float> w = RandomFloats(outputs * inputs, random);
    for (float& value : w) value /= std::sqrt(static_cast<float>(inputs));
    return Take(device_.MakeWeight(SourceOf(w, inputs), RandomFloats(outputs, random), format));
  }

  Tensor MakeRows(std::int64_t rows, std::int64_t columns) {
    Tensor tensor = Take(device_.MakeTensor(rows, columns));
    tensor.SetRows(rows);
    return tensor;
  }

  CpuDevice& device_;
  std::int64_t width_;
  std::int64_t inner_;
  backend::Heads heads_;
  Norm norm_;
  Weight qkv_, out_, up_, down_, gates_;
  KvLayer kv_;
};

// Inputs and results of all positions of all sequences.
using Sequence = std::vector<std::vector<float>>;  // [position][width]

class DeterminismTest : public CpuTest {
 protected:
  // What the layer says when `counts` chooses the rows of each step.
  template <class Counts>
  std::vector<Sequence> Compute(const Shape& shape, int threads,
                                const std::vector<Sequence>& inputs, std::mt19937& random,
                                const Counts& counts) {
    std::vector<int> lengths;
    for (const Sequence& sequence : inputs) lengths.push_back(static_cast<int>(sequence.size()));
    Ragged sequences(lengths, random);
    Cpu cpu(threads, {.level = GetParam(), .precision = shape.precision, .kv = shape.kv});
    Layer layer(cpu.device, shape, sequences.pages_total(), std::mt19937(7));
    std::vector<Sequence> results(inputs.size());
    while (!sequences.complete()) {
      const Step step = sequences.Take(counts(inputs.size()));
      if (step.tokens.empty()) continue;
      std::vector<float> x;
      for (std::size_t t = 0; t < step.tokens.size(); ++t) {
        const auto& row = inputs[step.sequence_of[t]][static_cast<std::size_t>(step.positions[t])];
        x.insert(x.end(), row.begin(), row.end());
      }
      const std::vector<float> y = layer.Run(x, step);
      for (std::size_t t = 0; t < step.tokens.size(); ++t) {
        const auto first = y.begin() + static_cast<std::ptrdiff_t>(t) * layer.width();
        results[step.sequence_of[t]].emplace_back(first, first + layer.width());
      }
    }
    return results;
  }

  std::vector<Sequence> RandomInputs(const Shape& shape, const std::vector<int>& lengths) {
    std::vector<Sequence> inputs;
    for (const int length : lengths) {
      Sequence& sequence = inputs.emplace_back();
      for (int i = 0; i < length; ++i)
        sequence.push_back(RandomFloats(std::int64_t{shape.heads} * shape.dim, random_));
    }
    return inputs;
  }

  static void ExpectSameBits(const std::vector<Sequence>& results,
                             const std::vector<Sequence>& truth, int threads) {
    for (std::size_t s = 0; s < truth.size(); ++s) {
      for (std::size_t p = 0; p < truth[s].size(); ++p) {
        for (std::size_t i = 0; i < truth[s][p].size(); ++i) {
          ASSERT_EQ(std::bit_cast<std::uint32_t>(results[s][p][i]),
                    std::bit_cast<std::uint32_t>(truth[s][p][i]))
              << "sequence " << s << ", position " << p << ", element " << i << ", " << threads
              << " threads: " << results[s][p][i] << " instead of " << truth[s][p][i];
        }
      }
    }
  }

  void ExpectOneTruth(const Shape& shape, const std::vector<int>& lengths) {
    const std::vector<Sequence> inputs = RandomInputs(shape, lengths);
    std::vector<Sequence> truth;
    for (const Sequence& sequence : inputs) {
      truth.push_back(Compute(shape, 1, {sequence}, random_,
                              [](std::size_t) { return std::vector<int>{1}; })[0]);
    }
    for (const int threads : {1, 2, 3, 5}) {
      std::uniform_int_distribution<int> most(1, 90);
      std::uniform_int_distribution<int> count(0, most(random_));
      const auto ragged = [&](std::size_t sequences) {
        std::vector<int> counts(sequences);
        std::generate(counts.begin(), counts.end(), [&] { return count(random_); });
        return counts;
      };
      ExpectSameBits(Compute(shape, threads, inputs, random_, ragged), truth, threads);
      // A row, then forty: tasks that append begin at odd positions. And a row of each.
      for (const std::vector<int>& rows : {std::vector<int>{1000}, {1, 40}, {1}}) {
        std::size_t step = 0;
        const auto alike = [&](std::size_t sequences) {
          return std::vector<int>(sequences, rows[step++ % rows.size()]);
        };
        ExpectSameBits(Compute(shape, threads, inputs, random_, alike), truth, threads);
      }
    }
  }

  std::mt19937 random_{20261122};
};

struct How {
  WeightFormat format;
  ComputePrecision precision = ComputePrecision::kExact;
  KvFormat kv = KvFormat::kF32;
};

constexpr How kAllHows[] = {{WeightFormat::kF32},
                            {WeightFormat::kBf16},
                            {WeightFormat::kF16},
                            {WeightFormat::kInt8},
                            {WeightFormat::kInt4},
                            {WeightFormat::kBf16, ComputePrecision::kFast},
                            {WeightFormat::kInt8, ComputePrecision::kFast},
                            {WeightFormat::kInt4, ComputePrecision::kFast},
                            {WeightFormat::kF32, ComputePrecision::kExact, KvFormat::kBf16},
                            {WeightFormat::kF32, ComputePrecision::kFast, KvFormat::kBf16}};

Shape ShapeOf(int heads, int dim, int inner, const How& how) {
  return {.heads = heads,
          .dim = dim,
          .inner = inner,
          .format = how.format,
          .precision = how.precision,
          .kv = how.kv};
}

TEST_P(DeterminismTest, RowsKeepTheirBitsInAnyBatchOnAnyThreads) {
  for (const How& how : kAllHows) {
    ExpectOneTruth(ShapeOf(3, 16, 100, how), {33, 1, 16, 70, 5});
    ExpectOneTruth(ShapeOf(2, 40, 65, how), {17, 50, 2});
    ExpectOneTruth(ShapeOf(1, 48, 20, how), {81, 66, 32});
  }
}

TEST_P(DeterminismTest, RowsKeepTheirBitsAcrossSlabsAndBlocksOfInputs) {
  // More rows in a step than a slab holds, and more inputs than a block.
  for (const How& how : kAllHows) ExpectOneTruth(ShapeOf(1, 24, 2051, how), {kSlabRows + 20, 30});
}

CODEGEN_ON_EVERY_LEVEL(DeterminismTest);

}  // namespace
}  // namespace codegen::cpu
