// SPDX-License-Identifier: Apache-2.0
#include <absl/status/status.h>
#include <absl/status/statusor.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <limits>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "codegen/options.h"
#include "cpu/cpu_testing.h"
#include "cpu/machine.h"
#include "quant/format.h"
#include "tensor/half.h"

namespace codegen::cpu {
namespace {

constexpr std::int64_t kTooMany = std::numeric_limits<std::int64_t>::max() / 8;

TEST(CpuDevice, DownloadsWhatWasUploaded) {
  Cpu cpu(1);
  std::mt19937 random(1);
  for (std::int64_t rows = 1; rows <= 9; ++rows) {
    for (const std::int64_t columns : {1, 15, 16, 17, 64, 100}) {
      const std::vector<float> values = RandomFloats(rows * columns, random);
      EXPECT_EQ(Download(cpu.device, Upload(cpu.device, values, columns)), values);
    }
  }
}

TEST(CpuDevice, TensorsShrinkAndGrowWithinTheirCapacity) {
  Cpu cpu(1);
  Tensor tensor = Take(cpu.device.MakeTensor(4, 3));

  tensor.SetRows(2);
  cpu.device.Upload(std::vector<float>{1, 2, 3, 4, 5, 6}, tensor);

  EXPECT_EQ(tensor.rows(), 2);
  EXPECT_EQ(tensor.columns(), 3);
  EXPECT_EQ(Download(cpu.device, tensor), (std::vector<float>{1, 2, 3, 4, 5, 6}));
  tensor.SetRows(4);
  EXPECT_EQ(tensor.rows(), 4);
}

TEST(CpuDevice, RefusesWhatDoesNotFitIntoMemory) {
  Cpu cpu(2);
  const backend::MatrixSource huge{.rows = kTooMany, .columns = 64, .read = nullptr};
  const backend::Heads heads{.count = 16, .dim = 64, .rotary_dim = 32};

  EXPECT_TRUE(absl::IsResourceExhausted(cpu.device.MakeTensor(kTooMany, 64).status()));
  EXPECT_TRUE(
      absl::IsResourceExhausted(cpu.device.MakeWeight(huge, {}, WeightFormat::kF32).status()));
  EXPECT_TRUE(
      absl::IsResourceExhausted(cpu.device.MakeEmbedding(huge, WeightFormat::kBf16).status()));
  EXPECT_TRUE(absl::IsResourceExhausted(cpu.device.MakeKvLayer(kTooMany, heads).status()));
}

// Rows of zeros, of which row 40 and every one from 80 on cannot be read.
backend::MatrixSource FailingSource() {
  return {.rows = 100,
          .columns = 8,
          .read = [](std::int64_t first, std::int64_t count, std::span<float> out) {
            for (std::int64_t row = first; row < first + count; ++row) {
              if (row == 40) return absl::DataLossError("row 40");
              if (row >= 80) return absl::NotFoundError("row 80");
            }
            std::fill(out.begin(), out.end(), 0.0F);
            return absl::OkStatus();
          }};
}

TEST(CpuDevice, ReturnsTheFirstFailureOfASource) {
  for (const int threads : {1, 3}) {
    Cpu cpu(threads);
    EXPECT_EQ(cpu.device.MakeWeight(FailingSource(), {}, WeightFormat::kF32).status(),
              absl::DataLossError("row 40"));
    EXPECT_EQ(cpu.device.MakeEmbedding(FailingSource(), WeightFormat::kF16).status(),
              absl::DataLossError("row 40"));
  }
}

// Codes and scales that tell their places.
quant::Int4Source Int4SourceOf(std::int64_t rows, std::int64_t columns) {
  return {.rows = rows,
          .columns = columns,
          .read = [columns](std::int64_t first, std::int64_t, std::span<std::uint8_t> codes,
                            std::span<quant::Int4Scale> scales) {
            for (std::size_t i = 0; i < codes.size(); ++i)
              codes[i] =
                  static_cast<std::uint8_t>((static_cast<std::size_t>(first * columns) + i) % 13);
            for (std::size_t i = 0; i < scales.size(); ++i) {
              const auto place =
                  static_cast<float>(first * quant::Int4Groups(columns)) + static_cast<float>(i);
              scales[i] = {.scale = tensor::F16FromFloat(0.25F),
                           .minimum = tensor::F16FromFloat(place)};
            }
            return absl::OkStatus();
          }};
}

TEST(CpuDevice, MultipliesByGivenCodes) {
  constexpr std::int64_t kRows = 37;
  constexpr std::int64_t kColumns = 200;
  for (const int threads : {1, 3}) {
    Cpu cpu(threads);
    std::vector<float> bias(kRows);
    for (std::size_t i = 0; i < bias.size(); ++i) bias[i] = static_cast<float>(i);
    const Weight weight = Take(cpu.device.MakeWeight(Int4SourceOf(kRows, kColumns), bias));
    std::vector<float> one(kColumns);
    one[150] = 1;
    const Tensor x = Upload(cpu.device, one, kColumns);
    Tensor y = Take(cpu.device.MakeTensor(1, kRows));
    y.SetRows(1);

    cpu.backend.Linear(x, weight, backend::Then::kStore, y);

    const std::vector<float> outputs = Download(cpu.device, y);
    for (std::int64_t row = 0; row < kRows; ++row) {
      const auto code = static_cast<float>((row * kColumns + 150) % 13);
      const auto minimum = static_cast<float>(row * 2 + 1);
      EXPECT_EQ(outputs[static_cast<std::size_t>(row)],
                code * 0.25F + minimum + static_cast<float>(row));
    }
  }
}

TEST(CpuDevice, ReturnsTheFirstFailureOfGivenCodes) {
  Cpu cpu(3);
  quant::Int4Source source = Int4SourceOf(100, 8);
  source.read = [](std::int64_t first, std::int64_t, std::span<std::uint8_t>,
                   std::span<quant::Int4Scale>) {
    return first < 32 ? absl::OkStatus() : absl::DataLossError(std::to_string(first));
  };

  EXPECT_EQ(cpu.device.MakeWeight(source, {}).status(), absl::DataLossError("32"));
}

TEST(CpuDevice, ReadsEveryRowOfASourceOnce) {
  Cpu cpu(3);
  std::vector<std::atomic<int>> reads(53);
  const backend::MatrixSource source{
      .rows = 53, .columns = 4, .read = [&](std::int64_t first, std::int64_t count, auto out) {
        for (std::int64_t row = first; row < first + count; ++row)
          ++reads[static_cast<std::size_t>(row)];
        std::fill(out.begin(), out.end(), 0.0F);
        return absl::OkStatus();
      }};

  EXPECT_TRUE(cpu.device.MakeWeight(source, {}, WeightFormat::kBf16).ok());
  for (const auto& count : reads) EXPECT_EQ(count, 1);
  EXPECT_TRUE(cpu.device.MakeEmbedding(source, WeightFormat::kBf16).ok());
  for (const auto& count : reads) EXPECT_EQ(count, 2);
}

TEST(CpuDevice, ReadsWhatIsStoredInsteadOfFloats) {
  constexpr std::int64_t kRows = 1000;
  constexpr std::int64_t kColumns = 700;
  std::mt19937 random(6);
  std::vector<float> values = RandomFloats(kRows * kColumns, random);
  quant::RoundTo(WeightFormat::kF16, values);
  const backend::MatrixSource floats = SourceOf(values, kColumns);
  const backend::MatrixSource stored{
      .rows = kRows,
      .columns = kColumns,
      .read = [](std::int64_t, std::int64_t, auto) { return absl::InternalError("floats"); },
      .read_stored =
          [&](std::int64_t first, std::int64_t, std::span<std::uint16_t> out) {
            for (std::size_t i = 0; i < out.size(); ++i)
              out[i] = tensor::F16FromFloat(values[static_cast<std::size_t>(first * kColumns) + i]);
            return absl::OkStatus();
          },
      .stored = WeightFormat::kF16};
  for (const int threads : {1, 3}) {
    Cpu cpu(threads);
    for (const WeightFormat format :
         {WeightFormat::kF16, WeightFormat::kBf16, WeightFormat::kInt8, WeightFormat::kInt4}) {
      const Weight a = Take(cpu.device.MakeWeight(floats, {}, format));
      const Weight b = Take(cpu.device.MakeWeight(stored, {}, format));
      const Embedding c = Take(cpu.device.MakeEmbedding(floats, format));
      const Embedding d = Take(cpu.device.MakeEmbedding(stored, format));

      EXPECT_TRUE(std::ranges::equal(a.panels.as<char>(), b.panels.as<char>()));
      EXPECT_TRUE(std::ranges::equal(a.scales.as<float>(), b.scales.as<float>()));
      EXPECT_TRUE(std::ranges::equal(c.elements.as<char>(), d.elements.as<char>()));
      EXPECT_TRUE(std::ranges::equal(c.scales.as<float>(), d.scales.as<float>()));
    }
    EXPECT_EQ(cpu.device.MakeWeight(stored, {}, WeightFormat::kF32).status(),
              absl::InternalError("floats"));
  }
}

TEST(CpuDevice, SharesRotationsBetweenTheLayersOfAModel) {
  Cpu cpu(1);
  const backend::Heads heads{.count = 2, .dim = 16, .rotary_dim = 8};
  const backend::Heads other{.count = 2, .dim = 16, .rotary_dim = 16};

  const KvLayer first = Take(cpu.device.MakeKvLayer(4, heads));
  const KvLayer second = Take(cpu.device.MakeKvLayer(4, heads));
  const KvLayer third = Take(cpu.device.MakeKvLayer(4, other));

  EXPECT_EQ(first.rotary, second.rotary);
  EXPECT_NE(first.rotary, third.rotary);
}

TEST(ChooseLevel, GrantsWhatIsSupportedAndTheBestOfIt) {
  for (const CpuFeatures level : SupportedLevels()) EXPECT_EQ(*ChooseLevel(level), level);
  EXPECT_EQ(*ChooseLevel(CpuFeatures::kAuto), BestLevel());
  EXPECT_TRUE(std::ranges::is_sorted(SupportedLevels()));
}

TEST(ChooseLevel, SaysWhyThereAreNoTiles) {
  const absl::StatusOr<CpuFeatures> level = ChooseLevel(CpuFeatures::kAmx);
  if (level.ok()) GTEST_SKIP() << "this machine has tiles";

  EXPECT_TRUE(absl::IsFailedPrecondition(level.status()));
  EXPECT_THAT(std::string(level.status().message()),
              ::testing::MatchesRegex("LoadOptions::cpu_features is amx; this machine runs "
                                      "[a-z0-9-]+ at most: the (CPU|system) .+"));
}

TEST(MeasureMachine, FindsSpeedsOfThisPlanet) {
  Cpu cpu(2);

  const MachineSpeed speed = MeasureMachine(*cpu.pool, BestLevel());

  EXPECT_EQ(speed.threads, 2);
  EXPECT_EQ(speed.level, BestLevel());
  EXPECT_GT(speed.read_gb_s, 0);
  EXPECT_LT(speed.read_gb_s, 10'000);
  EXPECT_GT(speed.f32_gflops, 0);
  EXPECT_LT(speed.f32_gflops, 100'000);
  EXPECT_GT(speed.bf16_gflops, 0);
  EXPECT_GT(speed.int8_gops, 0);
}

TEST(MeasureMachine, ProbesEveryLevel) {
  Cpu cpu(1);
  for (const CpuFeatures level : testing::TestedLevels()) {
    EXPECT_GT(MeasureF32Peak(*cpu.pool, level), 0);
    EXPECT_GT(MeasureBf16Peak(*cpu.pool, level), 0);
    EXPECT_GT(MeasureInt8Peak(*cpu.pool, level), 0);
  }
}

}  // namespace
}  // namespace codegen::cpu
