// SPDX-License-Identifier: Apache-2.0
//
// The loops of the AMX kernels over emulated tiles (emulated_tiles.h), on every machine: int8 has
// the bits of its formula, int4 those of the portable kernels, bf16 is near the sum in doubles, and
// no row or output sees another. On
// machines with AMX the tests per level run the instructions too.
#include "cpu/linear_amx.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "cpu/cpu_testing.h"
#include "cpu/emulated_tiles.h"
#include "cpu/linear_int4_amx.h"
#include "cpu/pack.h"
#include "quant/format.h"
#include "tensor/half.h"

namespace codegen::cpu {
namespace {

using ::testing::AllOf;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

using Int8Tiles = AmxLinear<EmulatedTiles, Activations::kInt8>;
using Bf16Tiles = AmxLinear<EmulatedTiles, Activations::kBf16>;

// What AmxInt4Linear does in vectors, one number after the other.
struct PlainLines {
  static void Unpack(const std::byte* group, std::byte* lines) {
    for (std::int64_t i = 0; i < kInt4GroupLines * kLineBytes; ++i) {
      std::byte* const out = lines + i / kLineBytes * 2 * kLineBytes + i % kLineBytes;
      out[0] = group[i] & std::byte{0x0F};
      out[kLineBytes] = group[i] >> 4;
    }
  }

  static void Scale(const Int4ScaleArgs& args) {
    for (std::int64_t row = 0; row < args.rows; ++row) {
      const float x_sum = Get<float>(args.x_sums + row * args.x_stride, 0);
      for (std::int64_t o = 0; o < kLine; ++o) {
        const float scale = tensor::FloatFromF16(Get<std::uint16_t>(args.scales, o));
        const float minimum = tensor::FloatFromF16(Get<std::uint16_t>(args.scales, kLine + o));
        const auto product =
            static_cast<float>(Get<std::int32_t>(args.products + row * args.stride, o));
        float sum = Get<float>(args.sums + row * args.stride, o);
        sum += minimum * x_sum;
        sum += product * scale;
        std::memcpy(args.sums + row * args.stride + o * 4, &sum, sizeof(sum));
      }
    }
  }

 private:
  template <class T>
  static T Get(const std::byte* first, std::int64_t i) {
    T value;
    std::memcpy(&value, first + i * std::int64_t{sizeof(T)}, sizeof(T));
    return value;
  }
};

using Int4Tiles = AmxInt4Linear<EmulatedTiles, PlainLines>;

// x and w of a product in the types that a kernel multiplies, on the best level of the machine.
class Product {
 public:
  struct Shape {
    std::int64_t rows;
    std::int64_t inputs;
    std::int64_t outputs;
  };

  Product(const Shape& shape, WeightFormat format, std::mt19937& random)
      : shape_(shape),
        x_(RandomFloats(shape.rows * shape.inputs, random)),
        w_(RandomFloats(shape.outputs * shape.inputs, random)),
        bias_(RandomFloats(shape.outputs, random)),
        format_(format) {}

  std::vector<float>& x() { return x_; }
  std::vector<float>& w() { return w_; }

  // Result [rows, outputs] of `kernel`, in blocks of so many rows and panels.
  std::vector<float> Run(const LinearKernel& kernel, std::int64_t block_rows,
                         std::int64_t block_panels) {
    const Weight weight = Take(cpu_.device.MakeWeight(SourceOf(w_, shape_.inputs), bias_, format_));
    const Tensor x = Upload(cpu_.device, x_, shape_.inputs);
    Tensor y = Take(cpu_.device.MakeTensor(shape_.rows, shape_.outputs));
    y.SetRows(shape_.rows);
    Narrow(kernel, x);
    const LinearArgs args = ArgsOf(weight, x, y);
    for (LinearBlock block; block.first_row < shape_.rows; block.first_row = block.last_row) {
      block.last_row = std::min(block.first_row + block_rows, shape_.rows);
      block.first_panel = 0;
      for (; block.first_panel < args.panel_count; block.first_panel = block.last_panel) {
        block.last_panel = std::min(block.first_panel + block_panels, args.panel_count);
        RunLinear(kernel, args, block);
      }
    }
    return Download(cpu_.device, y);
  }

  std::vector<float> Run(const LinearKernel& kernel) {
    return Run(kernel, kernel.slab_rows, shape_.outputs);
  }

  void ExpectInt8Formula(const std::vector<float>& actual) const {
    const auto inputs = static_cast<std::size_t>(shape_.inputs);
    std::vector<std::int8_t> x(inputs), w(inputs);
    for (std::size_t i = 0; i < actual.size(); ++i) {
      const std::size_t o = i % bias_.size();
      const float x_scale = quant::QuantizeInt8(RowOf(x_, i / bias_.size()), x);
      const float w_scale = quant::QuantizeInt8(RowOf(w_, o), w);
      std::int32_t sum = 0;
      for (std::size_t k = 0; k < inputs; ++k) sum += x[k] * w[k];
      const float expected = static_cast<float>(sum) * (x_scale * w_scale) + bias_[o];
      ASSERT_EQ(actual[i], expected) << Name() << ", element " << i;
    }
  }

  // A chain of n additions is off by at most n 2^-24 of the sum of magnitudes.
  void ExpectNearBf16Sums(const std::vector<float>& actual) const {
    std::vector<float> x = x_, w = w_;
    quant::RoundTo(WeightFormat::kBf16, x);
    quant::RoundTo(WeightFormat::kBf16, w);
    for (std::size_t i = 0; i < actual.size(); ++i) {
      const std::size_t o = i % bias_.size();
      double sum = bias_[o];
      double magnitude = std::abs(sum);
      for (std::size_t k = 0; k < static_cast<std::size_t>(shape_.inputs); ++k) {
        const double product = double{RowOf(x, i / bias_.size())[k]} * RowOf(w, o)[k];
        sum += product;
        magnitude += std::abs(product);
      }
      const double bound = magnitude * static_cast<double>(shape_.inputs + 2) * 0x1p-24;
      ASSERT_NEAR(actual[i], sum, bound) << Name() << ", element " << i;
    }
  }

  std::string Name() const {
    return std::to_string(shape_.rows) + " x " + std::to_string(shape_.inputs) + " -> " +
           std::to_string(shape_.outputs) + ", " + WeightFormatName(format_);
  }

 private:
  std::span<const float> RowOf(const std::vector<float>& matrix, std::size_t row) const {
    const auto inputs = static_cast<std::size_t>(shape_.inputs);
    return std::span(matrix).subspan(row * inputs, inputs);
  }

  void Narrow(const LinearKernel& kernel, const Tensor& x) {
    const Kernels& kernels = cpu_.device.kernels();
    const auto narrow =
        kernel.activations == Activations::kBf16 ? kernels.narrow_to_bf16 : kernels.narrow_to_int8;
    for (std::int64_t row = 0; row < shape_.rows; ++row)
      narrow(x.row(row), shape_.inputs, x.narrow(row));
  }

  LinearArgs ArgsOf(const Weight& weight, const Tensor& x, Tensor& y) const {
    const NarrowRow first = x.narrow(0);
    return {.x = first.elements,
            .x_stride = x.narrow_stride(),
            .group_sums = reinterpret_cast<const std::byte*>(first.group_sums),
            .x_scale = reinterpret_cast<const std::byte*>(first.scale),
            .x_total = reinterpret_cast<const std::byte*>(first.total),
            .panels = weight.panels.data(),
            .panel_bytes = weight.panel_bytes,
            .panel_count = (shape_.outputs + kLine - 1) / kLine,
            .w_scale = weight.scales.as<float>().data(),
            .bias = weight.bias.as<float>().data(),
            .y = y.row(0),
            .y_stride = y.stride(),
            .inputs = shape_.inputs};
  }

  Shape shape_;
  std::vector<float> x_, w_, bias_;
  WeightFormat format_;
  Cpu cpu_{1, {.precision = ComputePrecision::kFast}};
};

// Holds every test to leaving the tiles as it found them, and to asking nothing impossible.
class LinearAmx : public ::testing::Test {
 protected:
  LinearAmx() {
    const Kernels& kernels = KernelsOf(BestLevel());
    int8_ = kernels.linear_int8_fast;
    bf16_ = kernels.linear_bf16_fast;
    int4_ = kernels.linear_int4_fast;
    Int8Tiles::Take(int8_, 1);
    Int4Tiles::Take(int4_, 1);
    Bf16Tiles::Take(bf16_, 1);
    EmulatedTiles::TakeConfigurations();
  }

  void TearDown() override {
    EXPECT_THAT(EmulatedTiles::TakeComplaints(), IsEmpty());
    EXPECT_FALSE(EmulatedTiles::IsConfigured());
  }

  Product Make(const Product::Shape& shape, WeightFormat format) {
    return {shape, format, random_};
  }

  void ExpectRight(const Product::Shape& shape) {
    Product int8 = Make(shape, WeightFormat::kInt8);
    int8.ExpectInt8Formula(int8.Run(int8_));
    Product bf16 = Make(shape, WeightFormat::kBf16);
    bf16.ExpectNearBf16Sums(bf16.Run(bf16_));
    Product int4 = Make(shape, WeightFormat::kInt4);
    const LinearKernel& plain = KernelsOf(CpuFeatures::kPortable).linear_int4_fast;
    EXPECT_EQ(int4.Run(int4_), int4.Run(plain, plain.slab_rows, shape.outputs)) << int4.Name();
  }

  LinearKernel int8_;
  LinearKernel int4_;
  LinearKernel bf16_;
  std::mt19937 random_{20261122};
};

TEST_F(LinearAmx, IsRightForAnyNumberOfRows) {
  for (std::int64_t rows = 1; rows <= 70; ++rows) ExpectRight({rows, 70, 33});
}

TEST_F(LinearAmx, IsRightForAnyNumberOfInputs) {
  for (std::int64_t inputs = 1; inputs <= 130; ++inputs) ExpectRight({3, inputs, 18});
  for (const std::int64_t inputs : {1, 31, 32, 33, 63, 64, 65}) ExpectRight({37, inputs, 18});
}

TEST_F(LinearAmx, IsRightForAnyNumberOfOutputs) {
  for (const std::int64_t rows : {1, 16, 17, 35})
    for (const std::int64_t outputs : {1, 15, 16, 17, 31, 32, 33, 48, 49, 64, 65, 97, 131})
      ExpectRight({rows, 40, outputs});
}

TEST_F(LinearAmx, IsRightAcrossBlocksOfInputs) {
  for (const std::int64_t rows : {1, 20, 33, 95})
    for (const std::int64_t inputs : {512, 513, 1024, 1025, 2080}) ExpectRight({rows, inputs, 17});
}

// Two or more, whose sums wait for all panels of a task.
TEST_F(LinearAmx, IsRightAcrossStretchesOfInputs) { ExpectRight({200, 5200, 168}); }

TEST_F(LinearAmx, IsRightForWholeSlabs) { ExpectRight({kSlabRows, 1030, 40}); }

TEST_F(LinearAmx, LeavesFewRowsToOtherKernels) {
  const std::vector<CpuFeatures>& levels = SupportedLevels();
  if (std::ranges::find(levels, CpuFeatures::kAvx512Vnni) == levels.end())
    GTEST_SKIP() << "this machine does not run avx512-vnni";
  LinearKernel kernel = KernelsOf(CpuFeatures::kAvx512Vnni).linear_int8_fast;
  Int8Tiles::Take(kernel, 5);
  for (std::int64_t rows = 1; rows <= 70; ++rows) {
    Product product = Make({rows, 90, 50}, WeightFormat::kInt8);

    product.ExpectInt8Formula(product.Run(kernel));

    EXPECT_EQ(EmulatedTiles::TakeConfigurations() > 0, rows >= 5) << rows;
  }
}

TEST_F(LinearAmx, ARowHasTheSameBitsWhateverIsBesideIt) {
  for (const std::int64_t rows : {16, 33, 70}) {
    Product product = Make({rows, 1100, 100}, WeightFormat::kBf16);
    const std::vector<float> alone = product.Run(bf16_, 1, 2);
    for (const std::int64_t block_rows : {2, 5, 16, 23, 34, 70})
      for (const std::int64_t block_panels : {2, 100})
        ASSERT_EQ(product.Run(bf16_, block_rows, block_panels), alone)
            << block_rows << " of " << rows << " rows, " << block_panels << " panels";
  }
}

TEST_F(LinearAmx, NotFiniteNumbersSpoilTheirOwnRowOrOutputOnly) {
  constexpr float kBad = std::numeric_limits<float>::infinity();
  for (const std::int64_t inputs : {1, 33, 70}) {
    for (const std::int64_t rows : {3, 20, 40}) {
      Product product = Make({rows, inputs, 40}, WeightFormat::kBf16);
      for (float& value : product.x()) value = std::abs(value) + 1;
      product.x()[static_cast<std::size_t>(2 * inputs)] = kBad;
      // The first output of the second panel, and the last of the first.
      product.w()[static_cast<std::size_t>(16 * inputs)] = kBad;
      product.w()[static_cast<std::size_t>(16 * inputs - 1)] = kBad;

      const std::vector<float> y = product.Run(bf16_);

      for (std::size_t i = 0; i < y.size(); ++i) {
        const bool spoiled = i / 40 == 2 || i % 40 == 15 || i % 40 == 16;
        EXPECT_EQ(std::isfinite(y[i]), !spoiled) << product.Name() << ", element " << i;
      }
    }
  }
}

TEST_F(LinearAmx, TellsTheTilesTheirHeightOnlyWhenItChanges) {
  // Six tiles of 29 and 28 rows, in each of five blocks of inputs and of two groups of panels.
  Product product = Make({171, 1100, 64}, WeightFormat::kBf16);

  product.Run(bf16_);

  EXPECT_EQ(EmulatedTiles::TakeConfigurations(), 2 * 5 * 2);
}

// --- the emulation itself -----------------------------------------------------------------------

class EmulatedTilesTest : public ::testing::Test {
 protected:
  EmulatedTilesTest() {
    EmulatedTiles::Release();
    EmulatedTiles::TakeComplaints();
  }
  ~EmulatedTilesTest() override { EmulatedTiles::Release(); }

  static bool Accepts(const TileConfig& config) {
    EmulatedTiles::Configure(config);
    const bool accepted = EmulatedTiles::TakeComplaints().empty();
    EXPECT_EQ(accepted, EmulatedTiles::IsConfigured());
    return accepted;
  }

  alignas(64) std::array<std::byte, 1024> memory_ = {};
};

TEST_F(EmulatedTilesTest, RefuseWhatTheCpuRefuses) {
  for (int rows = 1; rows <= kMostTileRows; ++rows) EXPECT_TRUE(Accepts(ConfigFor(rows))) << rows;
  const auto but = [](const auto& change) {
    TileConfig config = ConfigFor(16);
    change(config);
    return config;
  };

  EXPECT_FALSE(Accepts(but([](TileConfig& c) { c.palette = 0; })));
  EXPECT_FALSE(Accepts(but([](TileConfig& c) { c.palette = 2; })));
  EXPECT_FALSE(Accepts(but([](TileConfig& c) { c.start_row = 1; })));
  EXPECT_FALSE(Accepts(but([](TileConfig& c) { c.reserved[13] = 1; })));
  EXPECT_FALSE(Accepts(but([](TileConfig& c) { c.rows[3] = 17; })));
  EXPECT_FALSE(Accepts(but([](TileConfig& c) { c.rows[3] = 0; })));
  EXPECT_FALSE(Accepts(but([](TileConfig& c) { c.row_bytes[7] = 65; })));
  EXPECT_FALSE(Accepts(but([](TileConfig& c) { c.row_bytes[7] = 0; })));
  EXPECT_FALSE(Accepts(but([](TileConfig& c) { c.rows[8] = 16, c.row_bytes[8] = 64; })));
}

TEST_F(EmulatedTilesTest, ComplainOfUseWithoutConfiguration) {
  EmulatedTiles::Zero<0>();
  EmulatedTiles::Load<1>(memory_.data(), 64);
  EmulatedTiles::Store<2>(memory_.data(), 64);
  EmulatedTiles::AddInt8Product<3, 4, 6>();
  EmulatedTiles::Configure(ConfigFor(16));
  EmulatedTiles::Release();
  EmulatedTiles::AddBf16Product<0, 5, 7>();

  EXPECT_THAT(EmulatedTiles::TakeComplaints(),
              ElementsAre("tile 0 is not configured", "tile 1 is not configured",
                          "tile 2 is not configured", "tile 3 is not configured",
                          "tile 0 is not configured"));
}

TEST_F(EmulatedTilesTest, ComplainOfProductsThatDoNotFit) {
  EmulatedTiles::Configure(ConfigFor(20));

  EmulatedTiles::AddInt8Product<0, 4, 6>();
  EmulatedTiles::AddInt8Product<2, 5, 7>();
  EXPECT_THAT(EmulatedTiles::TakeComplaints(), IsEmpty());

  EmulatedTiles::AddInt8Product<0, 5, 6>();
  EmulatedTiles::AddBf16Product<2, 4, 6>();
  EmulatedTiles::AddBf16Product<0, 6, 5>();
  EXPECT_THAT(EmulatedTiles::TakeComplaints(), AllOf(SizeIs(3), Each("shapes of a product")));
  EmulatedTiles::AddBf16Product<0, 4, 4>();
  EXPECT_THAT(EmulatedTiles::TakeComplaints(), ElementsAre("a product of a tile with itself"));
}

TEST_F(EmulatedTilesTest, MultiplySignedByUnsigned) {
  memory_.fill(std::byte{0xFF});
  EmulatedTiles::Configure(ConfigFor(1));
  EmulatedTiles::Load<4>(memory_.data(), 64);
  EmulatedTiles::Load<6>(memory_.data(), 64);

  EmulatedTiles::AddInt8Product<0, 4, 6>();
  EmulatedTiles::AddInt8Product<0, 4, 6>();
  EmulatedTiles::Store<0>(memory_.data(), 64);

  std::int32_t sum = 0;
  std::memcpy(&sum, memory_.data() + 60, sizeof(sum));
  EXPECT_EQ(sum, 2 * 64 * -1 * 255);
  EXPECT_EQ(memory_[64], std::byte{0xFF});
}

}  // namespace
}  // namespace codegen::cpu
