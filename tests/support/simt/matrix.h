// SPDX-License-Identifier: Apache-2.0
//
// The emulated half of cuda/device/mma.cuh, which says what these functions are and who holds what.
#ifndef CODEGEN_TESTS_SUPPORT_SIMT_MATRIX_H_
#define CODEGEN_TESTS_SUPPORT_SIMT_MATRIX_H_

#include <cstdint>

#include "support/simt/diagnostics.h"

namespace codegen::simt {

enum class Layout { kAsStored, kTransposed };

// ldmatrix with 1, 2 or 4 matrices.
void LoadMatrices(std::uint32_t* fragments, int matrices, const void* row, Layout layout,
                  Place place);

}  // namespace codegen::simt

namespace codegen::cuda {

inline void LoadMatrix1(std::uint32_t (&fragment)[1], const void* row,
                        simt::Place place = simt::Place::Here()) {
  simt::LoadMatrices(fragment, 1, row, simt::Layout::kAsStored, place);
}

inline void LoadMatrix2(std::uint32_t (&fragment)[2], const void* row,
                        simt::Place place = simt::Place::Here()) {
  simt::LoadMatrices(fragment, 2, row, simt::Layout::kAsStored, place);
}

inline void LoadMatrix4(std::uint32_t (&fragment)[4], const void* row,
                        simt::Place place = simt::Place::Here()) {
  simt::LoadMatrices(fragment, 4, row, simt::Layout::kAsStored, place);
}

inline void LoadMatrix1Transposed(std::uint32_t (&fragment)[1], const void* row,
                                  simt::Place place = simt::Place::Here()) {
  simt::LoadMatrices(fragment, 1, row, simt::Layout::kTransposed, place);
}

inline void LoadMatrix2Transposed(std::uint32_t (&fragment)[2], const void* row,
                                  simt::Place place = simt::Place::Here()) {
  simt::LoadMatrices(fragment, 2, row, simt::Layout::kTransposed, place);
}

inline void LoadMatrix4Transposed(std::uint32_t (&fragment)[4], const void* row,
                                  simt::Place place = simt::Place::Here()) {
  simt::LoadMatrices(fragment, 4, row, simt::Layout::kTransposed, place);
}

void MultiplyBf16(float (&sum)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2],
                  simt::Place place = simt::Place::Here());

void MultiplyF16(float (&sum)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2],
                 simt::Place place = simt::Place::Here());

}  // namespace codegen::cuda

#endif  // CODEGEN_TESTS_SUPPORT_SIMT_MATRIX_H_
