// SPDX-License-Identifier: Apache-2.0
//
// The rules of rows.h, backend.h and sampling.h, one check each.
#include "backend/checked.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "base/check.h"

namespace codegen::backend {
namespace {

// A list in CSR form: [lists + 1] offsets from 0 to `end`.
absl::Status CheckOffsets(const char* what, std::span<const std::int32_t> offsets,
                          std::size_t end) {
  if (offsets.empty() || offsets.front() != 0)
    return absl::InvalidArgumentError(fmt::format("{}: does not begin with 0", what));
  if (!std::is_sorted(offsets.begin(), offsets.end()))
    return absl::InvalidArgumentError(fmt::format("{}: does not ascend", what));
  return CheckEqual(what, offsets.back(), static_cast<std::int64_t>(end));
}

// Requires: valid offsets.
absl::Status CheckSequence(const Rows& rows, std::size_t sequence) {
  const std::int32_t first = rows.first_row[sequence];
  const std::int32_t last = rows.first_row[sequence + 1];
  if (first == last) return absl::OkStatus();
  const std::int32_t begin = rows.positions[static_cast<std::size_t>(first)];
  if (begin < 0)
    return absl::InvalidArgumentError(
        fmt::format("sequence {}: position {}, expected 0 or more", sequence, begin));
  for (std::int32_t t = first; t < last; ++t) {
    const std::int32_t position = rows.positions[static_cast<std::size_t>(t)];
    if (position != begin + (t - first))
      return absl::InvalidArgumentError(fmt::format("sequence {}, row {}: position {}, expected {}",
                                                    sequence, t, position, begin + (t - first)));
  }
  const std::int32_t pages = rows.first_page[sequence + 1] - rows.first_page[sequence];
  const std::int32_t needed = (begin + (last - first) - 1) / kPageTokens + 1;
  if (pages < needed)
    return absl::InvalidArgumentError(
        fmt::format("sequence {}: {} pages, expected {} or more", sequence, pages, needed));
  const auto listed = rows.pages.subspan(static_cast<std::size_t>(rows.first_page[sequence]),
                                         static_cast<std::size_t>(pages));
  std::vector<std::int32_t> sorted(listed.begin(), listed.end());
  std::sort(sorted.begin(), sorted.end());
  if (const auto twice = std::adjacent_find(sorted.begin(), sorted.end()); twice != sorted.end())
    return absl::InvalidArgumentError(
        fmt::format("sequence {}: page {} is listed twice", sequence, *twice));
  return absl::OkStatus();
}

// Requires: valid sequences.
absl::Status CheckPageOwners(const Rows& rows) {
  std::map<std::int32_t, std::size_t> writers;  // page -> sequence
  const auto sequences = static_cast<std::size_t>(rows.sequences());
  const auto page_at = [&](std::size_t sequence, std::int32_t position) {
    return rows.pages[static_cast<std::size_t>(rows.first_page[sequence] + position / kPageTokens)];
  };
  for (std::size_t s = 0; s < sequences; ++s) {
    for (std::int32_t t = rows.first_row[s]; t < rows.first_row[s + 1]; ++t)
      writers.emplace(page_at(s, rows.positions[static_cast<std::size_t>(t)]), s);
  }
  for (std::size_t s = 0; s < sequences; ++s) {
    for (std::int32_t i = rows.first_page[s]; i < rows.first_page[s + 1]; ++i) {
      const std::int32_t page = rows.pages[static_cast<std::size_t>(i)];
      const auto writer = writers.find(page);
      if (writer != writers.end() && writer->second != s)
        return absl::InvalidArgumentError(fmt::format(
            "page {}: listed by sequence {}, written by sequence {}", page, s, writer->second));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckSamplingRow(const Sampling& sampling, std::size_t row, std::int64_t width) {
  const auto error = [row](const std::string& what) {
    return absl::InvalidArgumentError(fmt::format("sampling of row {}: {}", row, what));
  };
  if (!std::isfinite(sampling.temperature) || sampling.temperature < 0)
    return error(fmt::format("temperature {}, expected finite and >= 0", sampling.temperature));
  if (sampling.top_k < 0) return error(fmt::format("top_k {}, expected >= 0", sampling.top_k));
  if (!(sampling.top_p > 0 && sampling.top_p <= 1))
    return error(fmt::format("top_p {}, expected in (0, 1]", sampling.top_p));
  if (!(sampling.min_p >= 0 && sampling.min_p <= 1))
    return error(fmt::format("min_p {}, expected in [0, 1]", sampling.min_p));
  if (sampling.vocabulary < 1 || sampling.vocabulary > width)
    return error(fmt::format("vocabulary {}, expected in [1, {}]", sampling.vocabulary, width));
  for (const LogitChange& change : sampling.changes) {
    if (change.id < 0 || change.id >= sampling.vocabulary)
      return error(
          fmt::format("change of id {}, expected in [0, {})", change.id, sampling.vocabulary));
    if (!(change.divisor > 0) || !std::isfinite(change.divisor) || !std::isfinite(change.bias))
      return error(fmt::format("change of id {} by {} and {}, expected finite, the first > 0",
                               change.id, change.divisor, change.bias));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckRows(const Rows& rows) {
  CODEGEN_RETURN_IF_ERROR(
      CheckEqual("positions", static_cast<std::int64_t>(rows.positions.size()), rows.size()));
  CODEGEN_RETURN_IF_ERROR(CheckOffsets("first_row", rows.first_row, rows.tokens.size()));
  CODEGEN_RETURN_IF_ERROR(CheckOffsets("first_page", rows.first_page, rows.pages.size()));
  CODEGEN_RETURN_IF_ERROR(CheckEqual("sequences of first_page",
                                     static_cast<std::int64_t>(rows.first_page.size()) - 1,
                                     rows.sequences()));
  for (const std::int32_t page : rows.pages)
    if (page < 0) return absl::InvalidArgumentError(fmt::format("page {}, expected >= 0", page));
  for (std::int64_t s = 0; s < rows.sequences(); ++s)
    CODEGEN_RETURN_IF_ERROR(CheckSequence(rows, static_cast<std::size_t>(s)));
  CODEGEN_RETURN_IF_ERROR(CheckLogitRows(rows.logit_rows, rows.size()));
  return CheckPageOwners(rows);
}

absl::Status CheckLogitRows(std::span<const std::int32_t> logit_rows, std::int64_t rows) {
  for (std::size_t i = 0; i < logit_rows.size(); ++i) {
    if (logit_rows[i] < 0 || logit_rows[i] >= rows)
      return absl::InvalidArgumentError(
          fmt::format("logit row {}, expected in [0, {})", logit_rows[i], rows));
    if (i > 0 && logit_rows[i] <= logit_rows[i - 1])
      return absl::InvalidArgumentError(fmt::format("logit row {} after {}, expected ascending",
                                                    logit_rows[i], logit_rows[i - 1]));
  }
  return absl::OkStatus();
}

absl::Status CheckHeads(const Heads& heads) {
  if (heads.count < 1)
    return absl::InvalidArgumentError(fmt::format("{} heads, expected 1 or more", heads.count));
  if (heads.dim < 8 || heads.dim % 8 != 0)
    return absl::InvalidArgumentError(
        fmt::format("head dim {}, expected a multiple of 8", heads.dim));
  if (heads.rotary_dim < 0 || heads.rotary_dim > heads.dim || heads.rotary_dim % 2 != 0)
    return absl::InvalidArgumentError(
        fmt::format("rotary dim {}, expected even, in [0, {}]", heads.rotary_dim, heads.dim));
  if (!std::isfinite(heads.rotary_base) || heads.rotary_base <= 0)
    return absl::InvalidArgumentError(
        fmt::format("rotary base {}, expected finite and > 0", heads.rotary_base));
  return absl::OkStatus();
}

absl::Status CheckTokens(std::span<const TokenId> tokens, std::int64_t vocabulary) {
  for (const TokenId token : tokens)
    if (token < 0 || token >= vocabulary)
      return absl::InvalidArgumentError(
          fmt::format("token {}, expected in [0, {})", token, vocabulary));
  return absl::OkStatus();
}

absl::Status CheckSampling(std::span<const Sampling> sampling, std::int64_t width) {
  for (std::size_t i = 0; i < sampling.size(); ++i)
    CODEGEN_RETURN_IF_ERROR(CheckSamplingRow(sampling[i], i, width));
  return absl::OkStatus();
}

absl::Status CheckEqual(const char* what, std::int64_t found, std::int64_t expected) {
  if (found == expected) return absl::OkStatus();
  return absl::InvalidArgumentError(fmt::format("{}: {}, expected {}", what, found, expected));
}

absl::Status CheckFinite(std::span<const float> values, std::int64_t columns) {
  const auto found =
      std::find_if(values.begin(), values.end(), [](float v) { return !std::isfinite(v); });
  if (found == values.end()) return absl::OkStatus();
  const std::int64_t index = found - values.begin();
  return absl::DataLossError(fmt::format("result [{}, {}] is {}, expected a finite number",
                                         index / columns, index % columns, *found));
}

absl::Status Locate(const absl::Status& status, const char* operation, std::int64_t call) {
  return absl::Status(status.code(), fmt::format("call {}, {}: {}", call, operation,
                                                 std::string(status.message())));
}

}  // namespace codegen::backend
