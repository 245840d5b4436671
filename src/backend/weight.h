// SPDX-License-Identifier: Apache-2.0
//
// How much a candidate weighs in a draw: exp(exponent), as a whole number.
//
// A draw compares sums of weights with a part of their total, so two devices draw the same token
// only if their sums are the same to the last bit. Sums of floating-point numbers depend on the
// order of the additions, and exp() on who wrote it. Here weights are multiples of 2^-43 and every
// step is a whole number: sums are exact in any order, and all devices agree.
//
// What weighs less than exp(-30) weighs nothing: even 2^17 such candidates together weigh 1.2e-8,
// less than the smallest step of the random number (2^-24) beside the largest, whose weight is one.
// Up to 2^20 weights fit a sum.
//
// exp(x) = 2^-(n + f) for whole n and f in [0, 1); 2^-f is 1 - f h(f) with a polynomial h that
// interpolates (1 - 2^-f) / f in the Chebyshev nodes of [0, 1] (error 6e-9). With x in steps of
// 2^-26 the weight is within 3e-8 of exp(x), which is half a unit in the last place of a float, and
// never grows as x falls, as one step changes it by more than the rounding of all that follows.
#ifndef CODEGEN_BACKEND_WEIGHT_H_
#define CODEGEN_BACKEND_WEIGHT_H_

#include <cstdint>

namespace codegen::backend {

inline constexpr float kNegligible = -30.0F;  // exponents below weigh nothing
inline constexpr int kWeightBits = 43;        // a weight of one is 2^kWeightBits
inline constexpr int kMostWeights = 1 << 20;  // that may be added up

// Returns round(exp(exponent) 2^43), 0 for NaN. Requires: exponent <= 0 or NaN.
constexpr std::uint64_t Weight(float exponent) {
  constexpr std::uint64_t kLog2E = 3098164009;  // log2(e) 2^31
  constexpr std::uint64_t kH[] = {2977044447, 1031763206, 238367376, 41218952, 5547538, 493577};
  if (!(exponent >= kNegligible)) return 0;

  const std::uint64_t steps = static_cast<std::uint32_t>(exponent * -0x1p26F);
  const std::uint64_t halvings = steps * kLog2E;  // n + f in steps of 2^-57
  const std::uint64_t f = static_cast<std::uint32_t>(halvings >> 25);
  std::uint64_t h = kH[5];
  for (int i = 4; i >= 0; --i) h = kH[i] - (h * f >> 32);
  const std::uint64_t power = (std::uint64_t{1} << 32) - (h * f >> 32);  // 2^-f in steps of 2^-32
  const std::uint64_t twice = power << (kWeightBits - 32 + 1) >> (halvings >> 57);
  return (twice + 1) / 2;
}

// The shortest prefix of candidates that weighs at least top_p of `total` is the shortest that
// weighs at least this. Requires: top_p in (0, 1], total > 0.
constexpr std::uint64_t WeightOfTopP(float top_p, std::uint64_t total) {
  const double enough = double{top_p} * static_cast<double>(total);
  const auto whole = static_cast<std::uint64_t>(enough);
  return whole + (static_cast<double>(whole) < enough ? 1 : 0);
}

// What is at least min_p times as probable as the largest candidate weighs at least this. Requires:
// min_p in (0, 1].
constexpr std::uint64_t WeightOfMinP(float min_p) {
  return WeightOfTopP(min_p, std::uint64_t{1} << kWeightBits);
}

// The shortest prefix that weighs more than `uniform` of `total` is the shortest that weighs at
// least this. Requires: uniform in [0, 1) is a multiple of 2^-24, total > 0.
constexpr std::uint64_t WeightOfDraw(float uniform, std::uint64_t total) {
  return static_cast<std::uint64_t>(double{uniform} * static_cast<double>(total)) + 1;
}

}  // namespace codegen::backend

#endif  // CODEGEN_BACKEND_WEIGHT_H_
