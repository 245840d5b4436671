// SPDX-License-Identifier: Apache-2.0
#include "tokenizer/piece_table.h"

#include <algorithm>
#include <cstring>

namespace codegen::tokenizer {
namespace {

constexpr std::size_t kFirstSlots = 1024;

std::uint64_t Load(const char* from, std::size_t bytes) {
  std::uint64_t word = 0;
  std::memcpy(&word, from, bytes);
  return word;
}

std::uint64_t Mix(std::uint64_t hash, std::uint64_t word) {
  hash = (hash ^ word) * 0x9E3779B97F4A7C15ULL;
  return hash ^ hash >> 32;
}

// A half-full table of a million random entries has no run of used slots of this length. The hash
// is not keyed, so that loading is the same every time; a file made to collide meets this bound.
constexpr std::size_t kLongestPieceProbe = 512;

// Whole words of eight bytes, the last one overlapping.
std::uint32_t Tag(std::string_view bytes) {
  const char* data = bytes.data();
  const std::size_t size = bytes.size();
  std::uint64_t hash = size;
  if (size < 8) return static_cast<std::uint32_t>(Mix(hash, Load(data, size)));
  for (std::size_t at = 0; at + 8 < size; at += 8) hash = Mix(hash, Load(data + at, 8));
  return static_cast<std::uint32_t>(Mix(hash, Load(data + size - 8, 8)));
}

}  // namespace

PieceTable::PieceTable() : slots_(kFirstSlots) {}

std::size_t PieceTable::SlotOf(std::string_view bytes, std::uint32_t tag) const {
  const std::size_t mask = slots_.size() - 1;
  for (std::size_t at = tag & mask;; at = (at + 1) & mask) {
    const Slot& slot = slots_[at];
    if (slot.id < 0) return at;
    if (slot.tag == tag && slot.size == bytes.size() &&
        std::memcmp(bytes_.data() + slot.begin, bytes.data(), bytes.size()) == 0) {
      return at;
    }
  }
}

bool PieceTable::Crowded(std::size_t slot, std::uint32_t tag) const {
  const std::size_t mask = slots_.size() - 1;
  return ((slot - tag) & mask) > kLongestPieceProbe;
}

PieceTable::Inserted PieceTable::Insert(std::string_view bytes, TokenId id) {
  if (used_ * 2 >= slots_.size()) Grow();
  const std::uint32_t tag = Tag(bytes);
  const std::size_t at = SlotOf(bytes, tag);
  Slot& slot = slots_[at];
  if (slot.id >= 0) return Inserted::kPresent;
  if (Crowded(at, tag)) return Inserted::kCrowded;
  slot = {tag, id, static_cast<std::uint32_t>(bytes_.size()),
          static_cast<std::uint32_t>(bytes.size())};
  bytes_.append(bytes);
  longest_ = std::max(longest_, bytes.size());
  ++used_;
  return Inserted::kYes;
}

std::optional<TokenId> PieceTable::Find(std::string_view bytes) const {
  if (bytes.size() > longest_) return std::nullopt;
  const Slot& slot = slots_[SlotOf(bytes, Tag(bytes))];
  if (slot.id < 0) return std::nullopt;
  return slot.id;
}

void PieceTable::Grow() {
  std::vector<Slot> old(slots_.size() * 2);
  old.swap(slots_);
  const std::size_t mask = slots_.size() - 1;
  for (const Slot& slot : old) {
    if (slot.id < 0) continue;
    std::size_t at = slot.tag & mask;
    while (slots_[at].id >= 0) at = (at + 1) & mask;
    slots_[at] = slot;
  }
}

}  // namespace codegen::tokenizer
