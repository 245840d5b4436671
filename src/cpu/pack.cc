// SPDX-License-Identifier: Apache-2.0
#include "cpu/pack.h"

#include <algorithm>

#include "base/check.h"
#include "cpu/kernels.h"
#include "tensor/half.h"

namespace codegen::cpu {
namespace {

// Rows arrive with a stride of `inputs` floats, often a power of two, so that the 16 elements of
// one input share a set of the L1 cache; a block of 16 inputs takes each line of them once.
template <class Store>
void ForEachElement(const float* rows, std::int64_t outputs, std::int64_t inputs,
                    const Store& store) {
  for (std::int64_t first = 0; first < inputs; first += kLine) {
    const std::int64_t last = std::min(first + kLine, inputs);
    for (std::int64_t o = 0; o < outputs; ++o)
      for (std::int64_t k = first; k < last; ++k) store(o, k, rows[o * inputs + k]);
  }
}

template <class T>
T* As(std::byte* bytes) {
  return reinterpret_cast<T*>(bytes);
}

}  // namespace

std::int64_t ElementBytes(WeightFormat format) {
  CODEGEN_DCHECK(format != WeightFormat::kAuto);
  return format == WeightFormat::kF32 ? 4 : 2;
}

std::int64_t PanelBytes(WeightFormat format, std::int64_t inputs) {
  constexpr std::int64_t kLineBytes = 64;
  const std::int64_t lines = format == WeightFormat::kF32 ? inputs : (inputs + 1) / 2;
  return (lines | 1) * kLineBytes;
}

void PackPanel(const float* rows, std::int64_t outputs, std::int64_t inputs, WeightFormat format,
               std::byte* panel) {
  switch (format) {
    case WeightFormat::kAuto:
    case WeightFormat::kF32:
      return ForEachElement(rows, outputs, inputs,
                            [out = As<float>(panel)](std::int64_t o, std::int64_t k, float value) {
                              out[k * kLine + o] = value;
                            });
    case WeightFormat::kBf16:
      return ForEachElement(
          rows, outputs, inputs,
          [out = As<std::uint16_t>(panel)](std::int64_t o, std::int64_t k, float value) {
            out[(k / 2 * kLine + o) * 2 + k % 2] = tensor::Bf16FromFloat(value);
          });
    case WeightFormat::kF16:
      return ForEachElement(
          rows, outputs, inputs,
          [out = As<std::uint16_t>(panel)](std::int64_t o, std::int64_t k, float value) {
            out[k * kLine + o] = tensor::F16FromFloat(value);
          });
  }
}

void NarrowRow(const float* floats, std::int64_t count, WeightFormat format, std::byte* out) {
  switch (format) {
    case WeightFormat::kAuto:
    case WeightFormat::kF32:
      std::copy_n(floats, count, As<float>(out));
      return;
    case WeightFormat::kBf16:
      std::transform(floats, floats + count, As<std::uint16_t>(out), tensor::Bf16FromFloat);
      return;
    case WeightFormat::kF16:
      std::transform(floats, floats + count, As<std::uint16_t>(out), tensor::F16FromFloat);
      return;
  }
}

}  // namespace codegen::cpu
