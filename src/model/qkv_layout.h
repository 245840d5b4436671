// SPDX-License-Identifier: Apache-2.0
//
// CodeGen1 and 2 store the projections of query, value and key in one matrix of G groups, an
// artefact of the TPU cores they were trained on; inside a group the order is query, VALUE, key:
//
//   row(j, head, d) = (head / Hg) 3 Lg + j Lg + (head % Hg) D + d      j: 0 query, 1 value, 2 key
//
// with H heads of size D, Hg = H / G heads and Lg = Hg D rows of each kind in a group (Salesforce's
// modeling_codegen.py). It is undone here, once, while loading: the blocks see [query; key; value],
// heads in order.
#ifndef CODEGEN_MODEL_QKV_LAYOUT_H_
#define CODEGEN_MODEL_QKV_LAYOUT_H_

#include <cstdint>

#include "backend/backend.h"

namespace codegen::model {

// The stored row of row `row` of [query; key; value]. Requires: 0 <= row < 3 * heads.count *
// heads.dim, and `groups` divides heads.count.
std::int64_t StoredQkvRow(std::int64_t row, const backend::Heads& heads, int groups);

// `stored` in the order [query; key; value].
backend::MatrixSource UngroupedQkv(backend::MatrixSource stored, const backend::Heads& heads,
                                   int groups);

}  // namespace codegen::model

#endif  // CODEGEN_MODEL_QKV_LAYOUT_H_
