// SPDX-License-Identifier: Apache-2.0
//
// The weights of the CPU as parts of a file (backend/savable.h). The layout is that of pack.h,
// whole with its padding, so that reading a file is all that loading does:
//
//   Weight     "int8" U8, "int4" U8, "f32" F32, "bf16" BF16 or "f16" F16: panels [panels, elements
//              or bytes of one]; "scales" F32 [outputs] of int8; "bias" F32 [outputs]
//   Embedding  "int8" I8, "f32" F32, "bf16" BF16 or "f16" F16: rows [rows, padded columns];
//              "scales" F32 [rows] of int8
//   Norm       "gain" F32 [columns]; "bias" F32 [columns]
#ifndef CODEGEN_CPU_PARTS_H_
#define CODEGEN_CPU_PARTS_H_

#include <vector>

#include "backend/savable.h"

namespace codegen::cpu {

struct Weight;
struct Embedding;
struct Norm;

std::vector<backend::Part> PartsOf(Weight& weight, backend::Bias bias);
std::vector<backend::Part> PartsOf(Embedding& embedding, backend::Bias bias);
std::vector<backend::Part> PartsOf(Norm& norm, backend::Bias bias);
std::vector<backend::ConstPart> PartsOf(const Weight& weight, backend::Bias bias);
std::vector<backend::ConstPart> PartsOf(const Embedding& embedding, backend::Bias bias);
std::vector<backend::ConstPart> PartsOf(const Norm& norm, backend::Bias bias);

}  // namespace codegen::cpu

#endif  // CODEGEN_CPU_PARTS_H_
