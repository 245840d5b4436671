// SPDX-License-Identifier: Apache-2.0
//
// Devices whose weights can be written to a file as they lie in memory, and read back without work.
//
// An object (Weight, Embedding, Norm) is a few parts: named pieces of memory, each one tensor of
// the file. Loading makes the object of an outline, all zeros, and fills its parts.
#ifndef CODEGEN_BACKEND_SAVABLE_H_
#define CODEGEN_BACKEND_SAVABLE_H_

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string_view>
#include <vector>

#include "backend/backend.h"
#include "base/thread_pool.h"
#include "tensor/dtype.h"

namespace codegen::backend {

enum class Bias { kNone, kVector };

// An object but for its values. Of a Norm: one row of f32.
struct Outline {
  std::int64_t rows = 1;
  std::int64_t columns = 0;
  Bias bias = Bias::kNone;
  WeightFormat format = WeightFormat::kF32;  // not kAuto
  float epsilon = 0;                         // of a Norm
};

// One piece of an object, by rows (a vector's rows are its elements). Byte is const where the
// object is.
template <class Byte>
struct PartOf {
  std::string_view name;  // what holds a matrix is named after its format: WeightFormatName
  tensor::DType dtype = tensor::DType::kF32;
  std::vector<std::int64_t> shape = {};
  std::span<Byte> bytes = {};
  // Whether all numbers in some rows of it may be computed with: finite, scales not negative.
  // Empty if any bytes may.
  std::function<bool(std::span<const std::byte> rows)> valid = {};
};
using Part = PartOf<std::byte>;
using ConstPart = PartOf<const std::byte>;

// D::kLayout names the order of the bytes and its version; a device refuses every other.
// PartsOf says a bias only if asked: memory does not show whether there was one. The pool is that
// of the device's Make functions. Allocate makes an object of zeros; its error: RESOURCE_EXHAUSTED.
template <class D>
concept SavableDevice = DeviceConcept<D> && std::default_initializable<typename D::Weight> &&
    std::default_initializable<typename D::Embedding> &&
    std::default_initializable<typename D::Norm> &&
    requires(D& device, const Outline& outline, Bias bias, typename D::Weight& w,
             typename D::Embedding& e, typename D::Norm& n, const typename D::Weight& const_w,
             const typename D::Embedding& const_e, const typename D::Norm& const_n) {
  { D::kLayout } -> std::convertible_to<std::string_view>;
  { device.pool() } -> std::same_as<base::ThreadPool&>;
  { device.Allocate(outline, w) } -> std::same_as<absl::Status>;
  { device.Allocate(outline, e) } -> std::same_as<absl::Status>;
  { device.Allocate(outline, n) } -> std::same_as<absl::Status>;
  { D::PartsOf(w, bias) } -> std::same_as<std::vector<Part>>;
  { D::PartsOf(e, bias) } -> std::same_as<std::vector<Part>>;
  { D::PartsOf(n, bias) } -> std::same_as<std::vector<Part>>;
  { D::PartsOf(const_w, bias) } -> std::same_as<std::vector<ConstPart>>;
  { D::PartsOf(const_e, bias) } -> std::same_as<std::vector<ConstPart>>;
  { D::PartsOf(const_n, bias) } -> std::same_as<std::vector<ConstPart>>;
};

}  // namespace codegen::backend

#endif  // CODEGEN_BACKEND_SAVABLE_H_
