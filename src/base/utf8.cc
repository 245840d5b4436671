// SPDX-License-Identifier: Apache-2.0
#include "base/utf8.h"

#include <simdjson.h>

#include <algorithm>

namespace codegen::base {
namespace {

unsigned char ByteAt(std::string_view text, std::size_t at) {
  return static_cast<unsigned char>(text[at]);
}

// What the standard's table 3-7 says of a first byte: the length it announces (0: it cannot start a
// code point) and the second bytes it allows, which exclude overlong forms, surrogates and values
// above U+10FFFF.
struct FirstByte {
  std::size_t length;
  unsigned char second_low = 0x80;
  unsigned char second_high = 0xBF;
};

FirstByte Announced(unsigned char first) {
  if (first < 0x80) return {1};
  if (first < 0xC2) return {0};
  if (first < 0xE0) return {2};
  if (first == 0xE0) return {3, 0xA0, 0xBF};
  if (first == 0xED) return {3, 0x80, 0x9F};
  if (first < 0xF0) return {3};
  if (first == 0xF0) return {4, 0x90, 0xBF};
  if (first < 0xF4) return {4};
  if (first == 0xF4) return {4, 0x80, 0x8F};
  return {0};
}

}  // namespace

Utf8Scan ScanCodePoint(std::string_view text, std::size_t at) {
  const FirstByte first = Announced(ByteAt(text, at));
  if (first.length == 0) return {Utf8Scan::Kind::kBroken, 1};
  unsigned char low = first.second_low;
  unsigned char high = first.second_high;
  for (std::size_t i = 1; i < first.length; ++i) {
    if (at + i == text.size()) return {Utf8Scan::Kind::kUnfinished, i};
    const unsigned char byte = ByteAt(text, at + i);
    if (byte < low || byte > high) return {Utf8Scan::Kind::kBroken, i};
    low = 0x80;
    high = 0xBF;
  }
  return {Utf8Scan::Kind::kWhole, first.length};
}

std::optional<std::size_t> FindInvalidUtf8(std::string_view text) {
  if (simdjson::validate_utf8(text.data(), text.size())) return std::nullopt;
  std::size_t at = 0;
  while (at < text.size()) {
    const Utf8Scan scan = ScanCodePoint(text, at);
    if (scan.kind != Utf8Scan::Kind::kWhole) return at;
    at += scan.bytes;
  }
  return std::nullopt;
}

std::string ToValidUtf8(std::string bytes) {
  if (simdjson::validate_utf8(bytes.data(), bytes.size())) return bytes;
  std::string out;
  out.reserve(bytes.size() + kReplacement.size());
  for (std::size_t at = 0; at < bytes.size();) {
    const Utf8Scan scan = ScanCodePoint(bytes, at);
    if (scan.kind == Utf8Scan::Kind::kWhole) {
      out.append(bytes, at, scan.bytes);
    } else {
      out.append(kReplacement);
    }
    at += scan.bytes;
  }
  return out;
}

std::size_t UnfinishedTail(std::string_view bytes) {
  for (std::size_t tail = 1; tail <= std::min<std::size_t>(3, bytes.size()); ++tail) {
    const std::size_t at = bytes.size() - tail;
    if ((ByteAt(bytes, at) & 0xC0) == 0x80) continue;
    return ScanCodePoint(bytes, at).kind == Utf8Scan::Kind::kUnfinished ? tail : 0;
  }
  return 0;
}

void AppendUtf8(char32_t code_point, std::string& out) {
  const auto put = [&out](char32_t byte) { out.push_back(static_cast<char>(byte)); };
  if (code_point < 0x80) {
    put(code_point);
  } else if (code_point < 0x800) {
    put(0xC0 | code_point >> 6);
    put(0x80 | (code_point & 0x3F));
  } else if (code_point < 0x10000) {
    put(0xE0 | code_point >> 12);
    put(0x80 | (code_point >> 6 & 0x3F));
    put(0x80 | (code_point & 0x3F));
  } else {
    put(0xF0 | code_point >> 18);
    put(0x80 | (code_point >> 12 & 0x3F));
    put(0x80 | (code_point >> 6 & 0x3F));
    put(0x80 | (code_point & 0x3F));
  }
}

}  // namespace codegen::base
