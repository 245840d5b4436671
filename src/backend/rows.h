// SPDX-License-Identifier: Apache-2.0
//
// Rows: what one step computes. A ragged batch as flat arrays: every row is one token of one
// sequence, the rows of a sequence lie together, and the keys and values of a sequence live in
// pages listed per sequence (CSR form, after PagedAttention, Kwon et al. 2023). Prefill and decode
// are one thing: a decode is a prefill of one row.
//
//   sequence s owns rows  [first_row[s],  first_row[s + 1])  and  pages[first_page[s] ..
//   first_page[s + 1]) the key of position p of sequence s lies in page pages[first_page[s] + p /
//   kPageTokens], slot p % kPageTokens
#ifndef CODEGEN_BACKEND_ROWS_H_
#define CODEGEN_BACKEND_ROWS_H_

#include <cstdint>
#include <span>

#include "codegen/request.h"

namespace codegen::backend {

// Tokens in one page of the key-value cache.
inline constexpr int kPageTokens = 16;

// A view: whoever builds it keeps the arrays alive for the step.
//
// Requires: within a sequence positions ascend by one; every position before the first row of a
// sequence was computed by an earlier step over the same pages; sequences that run in one step
// share no page that either writes to.
struct Rows {
  std::span<const TokenId> tokens = {};  // [rows]
  std::span<const std::int32_t> positions =
      {};  // [rows], counted from 0 at the start of the sequence
  std::span<const std::int32_t> first_row = {};   // [sequences + 1]
  std::span<const std::int32_t> first_page = {};  // [sequences + 1]
  std::span<const std::int32_t> pages = {};       // [first_page.back()]
  std::span<const std::int32_t>
      logit_rows;  // ascending indices of the rows whose logits are wanted

  std::int64_t size() const { return static_cast<std::int64_t>(tokens.size()); }
  std::int64_t sequences() const { return static_cast<std::int64_t>(first_row.size()) - 1; }
};

}  // namespace codegen::backend

#endif  // CODEGEN_BACKEND_ROWS_H_
