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

// A window is the fresh bytes, and the tokens before them that their first bytes may change.
// GPT-2's tokens of letters are rarely longer than 16.
constexpr std::size_t kFreshBytes = 64;
constexpr std::size_t kBytesTakenBack = 16;

// Bytes that windows may encode in vain, per byte of the piece, before the heap takes over.
constexpr std::size_t kBudgetPerByte = 4;

// A short piece being merged: tokens in a doubly linked list over positions. The candidate at a
// position is one number, the rank of its merge with the right neighbour times 128 plus the
// position, so that the lowest number is the next merge. Finding it in plain order with four
// accumulators is three times as fast as std::min_element, whose branches are unpredictable here.
struct ShortPiece {
  static constexpr std::size_t kSize = 128;
  static constexpr std::uint32_t kNoMerge = ~std::uint32_t{0};

  explicit ShortPiece(std::size_t size) : padded_size((size + 3) / 4 * 4) {
    for (std::size_t at = 0; at < padded_size; ++at) {
      candidates[at] = kNoMerge;
      next[at] = static_cast<std::uint8_t>(at + 1);
      previous[at] = static_cast<std::uint8_t>(at - 1);
    }
  }

  void SetRank(std::size_t at, std::uint32_t rank) {
    candidates[at] = rank == PairRanks::kNone ? kNoMerge
                                              : rank * static_cast<std::uint32_t>(kSize) +
                                                    static_cast<std::uint32_t>(at);
  }

  std::uint32_t Lowest() const {
    std::array<std::uint32_t, 4> lowest = {kNoMerge, kNoMerge, kNoMerge, kNoMerge};
    for (std::size_t at = 0; at < padded_size; at += 4) {
      for (std::size_t i = 0; i < 4; ++i) lowest[i] = std::min(lowest[i], candidates[at + i]);
    }
    return std::min(std::min(lowest[0], lowest[1]), std::min(lowest[2], lowest[3]));
  }

  // Removes the right neighbour of `at`; `at` has no candidate until SetRank.
  void RemoveNext(std::size_t at) {
    const std::size_t removed = next[at];
    candidates[removed] = kNoMerge;
    candidates[at] = kNoMerge;
    next[at] = next[removed];
    if (next[at] < kSize) previous[next[at]] = static_cast<std::uint8_t>(at);
  }

  std::size_t padded_size;
  std::array<TokenId, kSize> ids;
  std::array<std::uint32_t, kSize> candidates;
  std::array<std::uint8_t, kSize> next;  // the piece's size or more at the end
  std::array<std::uint8_t, kSize> previous;
};

// A long piece being merged: tokens in a doubly linked list over positions, each with the rank of
// the merge with its right neighbour. A merge keeps the left position and removes the right one.
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
                 std::vector<TokenId> result_of_rank, std::vector<std::uint16_t> size_of_id)
    : byte_ids_(byte_ids),
      ranks_(std::move(ranks)),
      result_of_rank_(std::move(result_of_rank)),
      size_of_id_(std::move(size_of_id)) {}

void ByteBpe::Encode(std::string_view piece, std::vector<TokenId>& out) const {
  if (piece.size() <= kShortPiece) return EncodeShort(piece, out);
  const std::size_t before = out.size();
  if (EncodeByWindows(piece, out)) return;
  out.resize(before);
  EncodeByHeap(piece, out);
}

void ByteBpe::EncodeWhole(std::string_view piece, std::vector<TokenId>& out) const {
  if (piece.size() <= kShortPiece) {
    EncodeShort(piece, out);
  } else {
    EncodeByHeap(piece, out);
  }
}

bool ByteBpe::Fit(std::string_view piece, std::size_t at, TokenId left, TokenId right) const {
  std::vector<TokenId> pair;
  EncodeWhole(piece.substr(at - SizeOf(left), SizeOf(left) + SizeOf(right)), pair);
  return pair.size() == 2 && pair[0] == left && pair[1] == right;
}

bool ByteBpe::EncodeByWindows(std::string_view piece, std::vector<TokenId>& out) const {
  const std::size_t first = out.size();
  std::size_t budget = kBudgetPerByte * piece.size();
  std::vector<TokenId> window;
  for (std::size_t end = 0; end < piece.size();) {  // `out` stands for piece[0, end)
    const std::size_t window_end = std::min(end + kFreshBytes, piece.size());
    std::size_t begin = end;
    for (std::size_t back = kBytesTakenBack;; back *= 2) {
      while (out.size() > first && end - begin < back) {
        begin -= SizeOf(out.back());
        out.pop_back();
      }
      window.clear();
      EncodeWhole(piece.substr(begin, window_end - begin), window);
      if (out.size() == first || Fit(piece, begin, out.back(), window.front())) break;
      const std::size_t spent = window_end - begin + SizeOf(out.back()) + SizeOf(window.front());
      if (spent > budget) return false;
      budget -= spent;
    }
    out.insert(out.end(), window.begin(), window.end());
    end = window_end;
  }
  return true;
}

void ByteBpe::EncodeShort(std::string_view piece, std::vector<TokenId>& out) const {
  ShortPiece list(piece.size());
  for (std::size_t at = 0; at < piece.size(); ++at) list.ids[at] = IdOfByte(piece[at]);
  for (std::size_t at = 0; at + 1 < piece.size(); ++at) {
    list.SetRank(at, ranks_.Find(list.ids[at], list.ids[at + 1]));
  }
  for (std::uint32_t lowest = list.Lowest(); lowest != ShortPiece::kNoMerge;
       lowest = list.Lowest()) {
    const std::size_t at = lowest % kShortPiece;
    list.ids[at] = result_of_rank_[lowest / kShortPiece];
    list.RemoveNext(at);
    if (const std::size_t next = list.next[at]; next < piece.size()) {
      list.SetRank(at, ranks_.Find(list.ids[at], list.ids[next]));
    }
    if (at > 0) {
      const std::size_t previous = list.previous[at];
      list.SetRank(previous, ranks_.Find(list.ids[previous], list.ids[at]));
    }
  }
  for (std::size_t at = 0; at < piece.size(); at = list.next[at]) out.push_back(list.ids[at]);
}

void ByteBpe::EncodeByHeap(std::string_view piece, std::vector<TokenId>& out) const {
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
