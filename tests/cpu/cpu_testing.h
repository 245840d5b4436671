// SPDX-License-Identifier: Apache-2.0
//
// What the tests of the CPU backend share: every instruction set that this CPU runs, random
// matrices, and both backends side by side.
#ifndef CODEGEN_TESTS_CPU_CPU_TESTING_H_
#define CODEGEN_TESTS_CPU_CPU_TESTING_H_

#include <absl/status/statusor.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "backend/backend.h"
#include "base/thread_pool.h"
#include "cpu/cpu_backend.h"
#include "cpu/cpu_device.h"
#include "cpu/isa.h"
#include "cpu/kernels.h"
#include "support/cpu_levels.h"

namespace codegen::cpu {

// A test that runs once per level that this machine runs.
class CpuTest : public ::testing::TestWithParam<CpuFeatures> {};

inline std::string LevelName(const ::testing::TestParamInfo<CpuFeatures>& info) {
  std::string name = CpuFeaturesName(info.param);
  std::ranges::replace(name, '-', '_');
  return name;
}

#define CODEGEN_ON_EVERY_LEVEL(Suite) \
  INSTANTIATE_TEST_SUITE_P(Level, Suite, ::testing::ValuesIn(testing::TestedLevels()), LevelName)

// The value of a StatusOr that a test has no reason to see fail.
template <class T>
T Take(absl::StatusOr<T> value) {
  EXPECT_TRUE(value.ok()) << value.status();
  return *std::move(value);
}

inline std::vector<float> RandomFloats(std::int64_t count, std::mt19937& random) {
  std::normal_distribution<float> normal;
  std::vector<float> floats(static_cast<std::size_t>(count));
  for (float& value : floats) value = normal(random);
  return floats;
}

inline backend::MatrixSource SourceOf(std::span<const float> values, std::int64_t columns) {
  return {.rows = static_cast<std::int64_t>(values.size()) / columns,
          .columns = columns,
          .read = [values, columns](std::int64_t first, std::int64_t count, std::span<float> out) {
            std::copy_n(values.begin() + first * columns, count * columns, out.begin());
            return absl::OkStatus();
          }};
}

template <class Device>
typename Device::Tensor Upload(Device& device, std::span<const float> values,
                               std::int64_t columns) {
  const std::int64_t rows = static_cast<std::int64_t>(values.size()) / columns;
  typename Device::Tensor tensor = Take(device.MakeTensor(rows, columns));
  tensor.SetRows(rows);
  device.Upload(values, tensor);
  return tensor;
}

template <class Device>
std::vector<float> Download(Device& device, const typename Device::Tensor& x) {
  std::vector<float> values(static_cast<std::size_t>(x.rows() * x.columns()));
  device.Download(x, values);
  return values;
}

// A CPU backend with a pool of its own.
struct Cpu {
  explicit Cpu(int threads, const CpuOptions& options = {})
      : pool(Take(base::ThreadPool::Create(threads))), device(*pool, options) {}
  std::unique_ptr<base::ThreadPool> pool;
  CpuDevice device;
  CpuBackend backend{device};
};

}  // namespace codegen::cpu

#endif  // CODEGEN_TESTS_CPU_CPU_TESTING_H_
