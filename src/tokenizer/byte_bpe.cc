// SPDX-License-Identifier: Apache-2.0
#include "tokenizer/byte_bpe.h"

#include <algorithm>
#include <bit>
#include <functional>
#include <utility>

#include "base/check.h"
#include "codegen/options.h"

namespace codegen::tokenizer {
namespace {

static_assert(Limits::vocabulary <= 1 << PairRanks::kIdBits);

// As of PieceTable: never reached by chance.
constexpr std::size_t kLongestProbe = 512;

// The piece being merged: tokens in a doubly linked list over positions, each with the rank of the
// merge with its right neighbour. A merge keeps the left position and removes the right one.
class MergeList {
 public:
  static constexpr std::uint32_t kEnd = ~std::uint32_t{0};

  struct Node {
    TokenId id;
    std::uint32_t rank;  // of (id, next's id); kNone if removed
    std::uint32_t previous;
    std::uint32_t next;
  };

  explicit MergeList(std::size_t size) : nodes_(size) {
    for (std::uint32_t i = 0; i < nodes_.size(); ++i) {
      nodes_[i].previous = i == 0 ? kEnd : i - 1;
      nodes_[i].next = i + 1 == nodes_.size() ? kEnd : i + 1;
      nodes_[i].rank = PairRanks::kNone;
    }
  }

  Node& operator[](std::uint32_t at) { return nodes_[at]; }
  std::uint32_t size() const { return static_cast<std::uint32_t>(nodes_.size()); }

  // Removes the right neighbour of `at`.
  void RemoveNext(std::uint32_t at) {
    Node& removed = nodes_[nodes_[at].next];
    nodes_[at].next = removed.next;
    if (removed.next != kEnd) nodes_[removed.next].previous = at;
    removed.rank = PairRanks::kNone;
  }

 private:
  std::vector<Node> nodes_;
};

// A candidate merge, ordered by rank, then by position: both in one word.
std::uint64_t Candidate(std::uint32_t rank, std::uint32_t at) {
  return static_cast<std::uint64_t>(rank) << 32 | at;
}

}  // namespace

PairRanks::PairRanks(std::size_t pairs)
    : slots_(std::bit_ceil(std::max<std::size_t>(pairs * 2, 16)), kEmpty),
      mask_(slots_.size() - 1),
      shift_(64 - std::countr_zero(slots_.size())) {}

PairRanks::Inserted PairRanks::Insert(TokenId left, TokenId right, std::uint32_t rank) {
  const std::uint64_t key = Key(left, right);
  std::size_t at = Start(key);
  std::size_t probes = 0;
  for (; slots_[at] != kEmpty; at = (at + 1) & mask_) {
    if (slots_[at] >> kRankBits == key) return Inserted::kPresent;
    if (++probes > kLongestProbe) return Inserted::kCrowded;
  }
  slots_[at] = key << kRankBits | rank;
  return Inserted::kYes;
}

ByteBpe::ByteBpe(const std::array<TokenId, 256>& byte_ids, PairRanks ranks,
                 std::vector<TokenId> result_of_rank)
    : byte_ids_(byte_ids), ranks_(std::move(ranks)), result_of_rank_(std::move(result_of_rank)) {}

void ByteBpe::Encode(std::string_view piece, std::vector<TokenId>& out) const {
  if (piece.size() <= kShortPiece) {
    EncodeShort(piece, out);
  } else {
    EncodeLong(piece, out);
  }
}

void ByteBpe::EncodeShort(std::string_view piece, std::vector<TokenId>& out) const {
  if (piece.empty()) return;
  std::array<TokenId, kShortPiece> ids;
  std::array<std::uint32_t, kShortPiece> ranks;  // ranks[i]: of (ids[i], ids[i + 1])
  std::size_t count = piece.size();
  for (std::size_t i = 0; i < count; ++i) ids[i] = IdOfByte(piece[i]);
  for (std::size_t i = 0; i + 1 < count; ++i) ranks[i] = ranks_.Find(ids[i], ids[i + 1]);
  while (count > 1) {
    const auto pairs_end = ranks.begin() + static_cast<std::ptrdiff_t>(count - 1);
    const auto lowest = std::min_element(ranks.begin(), pairs_end);
    if (*lowest == PairRanks::kNone) break;
    const auto at = static_cast<std::size_t>(lowest - ranks.begin());
    ids[at] = result_of_rank_[*lowest];
    std::copy(ids.begin() + static_cast<std::ptrdiff_t>(at) + 2,
              ids.begin() + static_cast<std::ptrdiff_t>(count),
              ids.begin() + static_cast<std::ptrdiff_t>(at) + 1);
    std::copy(lowest + 1, pairs_end, lowest);
    --count;
    if (at + 1 < count) ranks[at] = ranks_.Find(ids[at], ids[at + 1]);
    if (at > 0) ranks[at - 1] = ranks_.Find(ids[at - 1], ids[at]);
  }
  out.insert(out.end(), ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(count));
}

void ByteBpe::EncodeLong(std::string_view piece, std::vector<TokenId>& out) const {
  MergeList list(piece.size());
  std::vector<std::uint64_t> heap;  // smallest on top; stale entries are skipped when they surface
  for (std::uint32_t at = 0; at < list.size(); ++at) list[at].id = IdOfByte(piece[at]);

  const auto rank_pair = [&](std::uint32_t at) {
    const std::uint32_t next = list[at].next;
    const std::uint32_t rank =
        next == MergeList::kEnd ? PairRanks::kNone : ranks_.Find(list[at].id, list[next].id);
    list[at].rank = rank;
    return rank;
  };
  const auto push = [&](std::uint32_t at) {
    const std::uint32_t rank = rank_pair(at);
    if (rank == PairRanks::kNone) return;
    heap.push_back(Candidate(rank, at));
    std::push_heap(heap.begin(), heap.end(), std::greater<>());
  };

  heap.reserve(piece.size());
  for (std::uint32_t at = 0; at < list.size(); ++at) {
    if (const std::uint32_t rank = rank_pair(at); rank != PairRanks::kNone) {
      heap.push_back(Candidate(rank, at));
    }
  }
  std::make_heap(heap.begin(), heap.end(), std::greater<>());

  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), std::greater<>());
    const auto rank = static_cast<std::uint32_t>(heap.back() >> 32);
    const auto at = static_cast<std::uint32_t>(heap.back());
    heap.pop_back();
    if (list[at].rank != rank) continue;  // the pair has merged with something else since
    list[at].id = result_of_rank_[rank];
    list.RemoveNext(at);
    push(at);
    if (list[at].previous != MergeList::kEnd) push(list[at].previous);
  }
  for (std::uint32_t at = 0; at != MergeList::kEnd; at = list[at].next) out.push_back(list[at].id);
}

}  // namespace codegen::tokenizer
