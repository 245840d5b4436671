// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/pickle_machine.h"

#include <fmt/format.h>
#include <simdjson.h>

#include <algorithm>
#include <array>
#include <type_traits>
#include <utility>

#include "base/check.h"
#include "base/quote.h"
#include "checkpoint/little_endian.h"
#include "codegen/options.h"

namespace codegen::checkpoint {
namespace {

// A state dict of Limits::tensors takes about 40 opcodes and 13 memo numbers a tensor; its dict is
// filled by 1000 pairs at a time.
constexpr std::int64_t kMaxOpcodes = 5'000'000;
constexpr std::int64_t kMaxMemo = 2'000'000;
constexpr std::int64_t kMaxStack = 100'000;
constexpr std::int64_t kMaxMarks = 64;
// A few more pairs than tensors: the _metadata of modules.
constexpr std::int64_t kMaxPairs = std::int64_t{4} * Limits::tensors;
// Keys are decimal numbers. They are copied for each tensor, and so must be short.
constexpr std::size_t kMaxKeyBytes = 32;

constexpr int kMinProtocol = 2;
constexpr int kMaxProtocol = 4;

}  // namespace

struct PickleMachine::HandlerTable {
  std::array<Handler, 256> of = {};

  constexpr HandlerTable() {
    of[0x80] = &PickleMachine::Protocol;
    of[0x95] = &PickleMachine::Frame;
    of['.'] = &PickleMachine::Stop;

    of['N'] = &PickleMachine::None;
    of[0x88] = &PickleMachine::True;
    of[0x89] = &PickleMachine::False;
    of['J'] = &PickleMachine::Integer<std::int32_t>;
    of['K'] = &PickleMachine::Integer<std::uint8_t>;
    of['M'] = &PickleMachine::Integer<std::uint16_t>;
    of[0x8a] = &PickleMachine::LongInteger;
    of['G'] = &PickleMachine::Float;
    of['U'] = &PickleMachine::Text<std::uint8_t>;   // SHORT_BINSTRING
    of[0x8c] = &PickleMachine::Text<std::uint8_t>;  // SHORT_BINUNICODE
    of['X'] = &PickleMachine::Text<std::uint32_t>;
    of[0x8d] = &PickleMachine::Text<std::uint64_t>;

    of['('] = &PickleMachine::Mark;
    of[')'] = &PickleMachine::EmptyTuple;
    of['t'] = &PickleMachine::Tuple;
    of[0x85] = &PickleMachine::ShortTuple<1>;
    of[0x86] = &PickleMachine::ShortTuple<2>;
    of[0x87] = &PickleMachine::ShortTuple<3>;
    of[']'] = &PickleMachine::EmptyList;
    of['}'] = &PickleMachine::EmptyDict;
    of['a'] = &PickleMachine::Append;
    of['e'] = &PickleMachine::Appends;
    of['s'] = &PickleMachine::SetItem;
    of['u'] = &PickleMachine::SetItems;

    of['h'] = &PickleMachine::Get<std::uint8_t>;
    of['j'] = &PickleMachine::Get<std::uint32_t>;
    of['q'] = &PickleMachine::Put<std::uint8_t>;
    of['r'] = &PickleMachine::Put<std::uint32_t>;
    of[0x94] = &PickleMachine::Memoize;

    of['c'] = &PickleMachine::Global;
    of[0x93] = &PickleMachine::StackGlobal;
    of['Q'] = &PickleMachine::PersistentId;
    of['R'] = &PickleMachine::Reduce;
    of[0x81] = &PickleMachine::Reduce;  // NEWOBJ: the same for a class
    of['b'] = &PickleMachine::Build;
  }
};

const PickleMachine::HandlerTable PickleMachine::kHandlers;

absl::StatusOr<PickleValue> PickleMachine::Run() {
  if (!pickle_.starts_with('\x80')) return Malformed("expected a pickle of protocol 2 or later");
  for (std::int64_t opcodes = 0; !stopped_; ++opcodes) {
    if (opcodes == kMaxOpcodes) return Exhausted("opcodes", kMaxOpcodes);
    CODEGEN_RETURN_IF_ERROR(Step());
  }
  return Pop();
}

absl::Status PickleMachine::Step() {
  opcode_at_ = at_;
  CODEGEN_ASSIGN_OR_RETURN(const std::string_view opcode, Take(1));
  const unsigned code = static_cast<unsigned char>(opcode[0]);
  const Handler handler = kHandlers.of[code];
  if (handler == nullptr)
    return Refused(fmt::format("opcode 0x{:02x}, which no state dict needs", code));
  return (this->*handler)();
}

absl::Status PickleMachine::Protocol() {
  CODEGEN_ASSIGN_OR_RETURN(const std::string_view byte, Take(1));
  const int protocol = static_cast<unsigned char>(byte[0]);
  if (protocol >= kMinProtocol && protocol <= kMaxProtocol) return absl::OkStatus();
  return Malformed(
      fmt::format("protocol {}, expected {} to {}", protocol, kMinProtocol, kMaxProtocol));
}

// A frame only says how much to read ahead.
absl::Status PickleMachine::Frame() {
  CODEGEN_ASSIGN_OR_RETURN(const std::string_view bytes, Take(8));
  if (LittleEndian<std::uint64_t>(bytes, 0) > pickle_.size() - at_)
    return Malformed("a frame leads out of the pickle");
  return absl::OkStatus();
}

absl::Status PickleMachine::Stop() {
  if (stack_.size() != 1 || !marks_.empty())
    return Malformed(fmt::format("{} values at the end, expected 1", stack_.size()));
  if (at_ != pickle_.size())
    return Malformed(fmt::format("{} bytes after the end", pickle_.size() - at_));
  stopped_ = true;
  return absl::OkStatus();
}

template <class Stored>
absl::Status PickleMachine::Integer() {
  CODEGEN_ASSIGN_OR_RETURN(const std::string_view bytes, Take(sizeof(Stored)));
  const auto stored = LittleEndian<std::make_unsigned_t<Stored>>(bytes, 0);
  return Push({.kind = Kind::kInt, .number = static_cast<Stored>(stored)});
}

// LONG1: a length, then that many bytes of two's complement.
absl::Status PickleMachine::LongInteger() {
  CODEGEN_ASSIGN_OR_RETURN(const std::string_view length, Take(1));
  CODEGEN_ASSIGN_OR_RETURN(const std::string_view bytes,
                           Take(LittleEndian<std::uint8_t>(length, 0)));
  if (bytes.size() > sizeof(std::int64_t))
    return Malformed(fmt::format("an integer of {} bytes, expected at most 8", bytes.size()));
  const bool negative = !bytes.empty() && (static_cast<unsigned char>(bytes.back()) & 0x80) != 0;
  std::string extended(sizeof(std::int64_t), negative ? '\xFF' : '\0');
  std::ranges::copy(bytes, extended.begin());
  const std::uint64_t bits = LittleEndian<std::uint64_t>(extended, 0);
  return Push({.kind = Kind::kInt, .number = static_cast<std::int64_t>(bits)});
}

absl::Status PickleMachine::Float() {
  CODEGEN_RETURN_IF_ERROR(Take(sizeof(double)).status());
  return Push({.kind = Kind::kFloat});
}

template <class Length>
absl::Status PickleMachine::Text() {
  CODEGEN_ASSIGN_OR_RETURN(const std::string_view length, Take(sizeof(Length)));
  CODEGEN_ASSIGN_OR_RETURN(const std::string_view text, Take(LittleEndian<Length>(length, 0)));
  if (!simdjson::validate_utf8(text.data(), text.size()))
    return Malformed("a string that is not UTF-8");
  return Push({.kind = Kind::kText, .text = text});
}

absl::Status PickleMachine::Mark() {
  if (marks_.size() == kMaxMarks) return Exhausted("nested marks", kMaxMarks);
  marks_.push_back(stack_.size());
  return absl::OkStatus();
}

absl::Status PickleMachine::Tuple() {
  CODEGEN_ASSIGN_OR_RETURN(std::vector<PickleValue> items, PopToMark());
  return PushTuple(std::move(items));
}

template <std::size_t kSize>
absl::Status PickleMachine::ShortTuple() {
  std::vector<PickleValue> items(kSize);
  for (std::size_t i = kSize; i-- > 0;) {
    CODEGEN_ASSIGN_OR_RETURN(items[i], Pop());
  }
  return PushTuple(std::move(items));
}

absl::Status PickleMachine::EmptyDict() {
  tables_.dicts.emplace_back();
  return Push({.kind = Kind::kDict, .index = tables_.dicts.size() - 1, .oldest = births_++});
}

absl::Status PickleMachine::Append() {
  CODEGEN_ASSIGN_OR_RETURN(const PickleValue item, Pop());
  return AddItems({&item, 1});
}

absl::Status PickleMachine::Appends() {
  CODEGEN_ASSIGN_OR_RETURN(const std::vector<PickleValue> items, PopToMark());
  return AddItems(items);
}

absl::Status PickleMachine::SetItem() {
  std::array<PickleValue, 2> pair;
  CODEGEN_ASSIGN_OR_RETURN(pair[1], Pop());
  CODEGEN_ASSIGN_OR_RETURN(pair[0], Pop());
  return AddPairs(pair);
}

absl::Status PickleMachine::SetItems() {
  CODEGEN_ASSIGN_OR_RETURN(const std::vector<PickleValue> items, PopToMark());
  return AddPairs(items);
}

template <class Index>
absl::Status PickleMachine::Get() {
  CODEGEN_ASSIGN_OR_RETURN(const std::string_view bytes, Take(sizeof(Index)));
  const std::uint64_t index = LittleEndian<Index>(bytes, 0);
  if (index >= memo_.size() || !memo_[index])
    return Malformed(fmt::format("memo {} is used before it is set", index));
  return Push(*memo_[index]);
}

template <class Index>
absl::Status PickleMachine::Put() {
  CODEGEN_ASSIGN_OR_RETURN(const std::string_view bytes, Take(sizeof(Index)));
  return PutAt(LittleEndian<Index>(bytes, 0));
}

absl::Status PickleMachine::PutAt(std::uint64_t index) {
  if (index >= std::uint64_t{kMaxMemo}) return Exhausted("memo numbers", kMaxMemo);
  CODEGEN_ASSIGN_OR_RETURN(const PickleValue top, Pop());
  if (index >= memo_.size()) memo_.resize(index + 1);
  memo_[index] = top;
  return Push(top);
}

absl::Status PickleMachine::Global() {
  CODEGEN_ASSIGN_OR_RETURN(const std::string_view module, TakeLine());
  CODEGEN_ASSIGN_OR_RETURN(const std::string_view name, TakeLine());
  return PushGlobal(module, name);
}

absl::Status PickleMachine::StackGlobal() {
  CODEGEN_ASSIGN_OR_RETURN(const PickleValue name, Pop());
  CODEGEN_ASSIGN_OR_RETURN(const PickleValue module, Pop());
  if (module.kind != Kind::kText || name.kind != Kind::kText)
    return Malformed("a global that is not named by two strings");
  return PushGlobal(module.text, name.text);
}

absl::Status PickleMachine::PushGlobal(std::string_view module, std::string_view name) {
  const std::optional<TorchGlobal> global = FindTorchGlobal(module, name);
  if (!global) {
    return Refused(fmt::format("object {} of module {}, which no state dict needs",
                               base::Quote(name), base::Quote(module)));
  }
  return Push({.kind = Kind::kGlobal, .global = *global});
}

absl::Status PickleMachine::PersistentId() {
  CODEGEN_ASSIGN_OR_RETURN(const std::span<const PickleValue> id, PopTuple());
  const bool matches = id.size() == 5 && id[0].text == "storage" && id[1].kind == Kind::kGlobal &&
                       id[1].global.kind == TorchGlobal::Kind::kStorage &&
                       id[2].kind == Kind::kText && id[3].kind == Kind::kText &&
                       id[4].kind == Kind::kInt;
  if (!matches) return Malformed("a persistent id that is not ('storage', type, key, place, size)");
  if (id[2].text.size() > kMaxKeyBytes)
    return Malformed(fmt::format("a storage key of {} bytes", id[2].text.size()));
  tables_.storages.push_back(
      {.key = id[2].text, .dtype = id[1].global.dtype, .elements = id[4].number});
  return Push({.kind = Kind::kStorage, .index = tables_.storages.size() - 1});
}

absl::Status PickleMachine::Reduce() {
  CODEGEN_ASSIGN_OR_RETURN(const std::span<const PickleValue> arguments, PopTuple());
  CODEGEN_ASSIGN_OR_RETURN(const PickleValue callee, Pop());
  if (callee.kind != Kind::kGlobal)
    return Malformed(fmt::format("a call of {}", PickleKindName(callee.kind)));
  switch (callee.global.kind) {
    case TorchGlobal::Kind::kOrderedDict:
      if (arguments.empty()) return EmptyDict();
      return Refused("an OrderedDict made with arguments");
    case TorchGlobal::Kind::kRebuildTensor:
      return RebuildTensor(arguments);
    case TorchGlobal::Kind::kRebuildParameter:
      return RebuildParameter(arguments);
    case TorchGlobal::Kind::kStorage:
      break;
  }
  return Refused("a call of a storage type");
}

absl::Status PickleMachine::RebuildTensor(std::span<const PickleValue> arguments) {
  const bool matches = (arguments.size() == 6 || arguments.size() == 7) &&
                       arguments[0].kind == Kind::kStorage && arguments[1].kind == Kind::kInt &&
                       arguments[4].kind == Kind::kBool && arguments[5].kind == Kind::kDict;
  std::optional<std::vector<std::int64_t>> shape;
  std::optional<std::vector<std::int64_t>> strides;
  if (matches) {
    shape = Integers(arguments[2]);
    strides = Integers(arguments[3]);
  }
  if (!shape || !strides)
    return Malformed("_rebuild_tensor_v2 without (storage, offset, size, stride, bool, dict)");
  for (const std::size_t rank : {shape->size(), strides->size()})
    if (rank > std::size_t{Limits::tensor_rank})
      return Exhausted("dimensions", Limits::tensor_rank);
  if (tables_.tensors.size() == std::size_t{Limits::tensors})
    return Exhausted("tensors", Limits::tensors);
  const PickledStorage& storage = tables_.storages[arguments[0].index];
  tables_.tensors.push_back({.name = {},
                             .storage = std::string(storage.key),
                             .dtype = storage.dtype,
                             .storage_elements = storage.elements,
                             .offset = arguments[1].number,
                             .shape = *std::move(shape),
                             .strides = *std::move(strides)});
  return Push({.kind = Kind::kTensor, .index = tables_.tensors.size() - 1});
}

absl::Status PickleMachine::RebuildParameter(std::span<const PickleValue> arguments) {
  if (arguments.size() != 3 || arguments[0].kind != Kind::kTensor)
    return Malformed("_rebuild_parameter without (tensor, bool, dict)");
  return Push(arguments[0]);
}

absl::Status PickleMachine::Build() {
  CODEGEN_ASSIGN_OR_RETURN(const PickleValue state, Pop());
  CODEGEN_ASSIGN_OR_RETURN(const PickleValue target, Pop());
  const bool is_metadata = target.kind == Kind::kDict && state.kind == Kind::kDict &&
                           tables_.dicts[state.index].size() == 1 &&
                           tables_.dicts[state.index].front().first.text == "_metadata";
  if (!is_metadata) {
    return Refused(fmt::format("state of {}, expected nothing but the _metadata of a dict",
                               PickleKindName(target.kind)));
  }
  return Push(target);
}

absl::Status PickleMachine::Push(const PickleValue& value) {
  if (stack_.size() == kMaxStack) return Exhausted("values on the stack", kMaxStack);
  stack_.push_back(value);
  return absl::OkStatus();
}

absl::Status PickleMachine::PushTuple(std::vector<PickleValue> items) {
  std::int64_t oldest = PickleValue::kNoContainer;
  for (const PickleValue& item : items) oldest = std::min(oldest, item.oldest);
  tables_.tuples.push_back(std::move(items));
  return Push({.kind = Kind::kTuple, .index = tables_.tuples.size() - 1, .oldest = oldest});
}

// A mark is a floor: nothing below it may be taken one by one.
absl::StatusOr<PickleValue> PickleMachine::Pop() {
  if (stack_.size() == (marks_.empty() ? 0 : marks_.back()))
    return Malformed("a value is taken that is not there");
  const PickleValue value = stack_.back();
  stack_.pop_back();
  return value;
}

absl::StatusOr<std::vector<PickleValue>> PickleMachine::PopToMark() {
  if (marks_.empty()) return Malformed("no mark to gather values from");
  const auto first = stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back());
  std::vector<PickleValue> items(first, stack_.end());
  stack_.erase(first, stack_.end());
  marks_.pop_back();
  return items;
}

absl::StatusOr<std::span<const PickleValue>> PickleMachine::PopTuple() {
  CODEGEN_ASSIGN_OR_RETURN(const PickleValue value, Pop());
  if (value.kind != Kind::kTuple)
    return Malformed(fmt::format("expected a tuple, found {}", PickleKindName(value.kind)));
  return std::span<const PickleValue>(tables_.tuples[value.index]);
}

absl::Status PickleMachine::AddItems(std::span<const PickleValue> items) {
  CODEGEN_ASSIGN_OR_RETURN(const PickleValue list, Pop());
  if (list.kind != Kind::kList)
    return Malformed(fmt::format("items are added to {}", PickleKindName(list.kind)));
  for (const PickleValue& item : items) CODEGEN_RETURN_IF_ERROR(CheckYounger(item, list));
  return Push(list);
}

absl::Status PickleMachine::AddPairs(std::span<const PickleValue> keys_and_values) {
  CODEGEN_ASSIGN_OR_RETURN(const PickleValue dict, Pop());
  if (dict.kind != Kind::kDict)
    return Malformed(fmt::format("items are set in {}", PickleKindName(dict.kind)));
  if (keys_and_values.size() % 2 != 0) return Malformed("a key without a value");
  pairs_ += static_cast<std::int64_t>(keys_and_values.size() / 2);
  if (pairs_ > kMaxPairs) return Exhausted("items of dicts", kMaxPairs);
  for (std::size_t i = 0; i < keys_and_values.size(); i += 2) {
    CODEGEN_RETURN_IF_ERROR(CheckYounger(keys_and_values[i], dict));
    CODEGEN_RETURN_IF_ERROR(CheckYounger(keys_and_values[i + 1], dict));
    tables_.dicts[dict.index].emplace_back(keys_and_values[i], keys_and_values[i + 1]);
  }
  return Push(dict);
}

absl::Status PickleMachine::CheckYounger(const PickleValue& item,
                                         const PickleValue& container) const {
  if (item.oldest > container.oldest) return absl::OkStatus();
  return Malformed("a container is put into itself, or into a younger one");
}

absl::StatusOr<std::string_view> PickleMachine::Take(std::uint64_t bytes) {
  if (bytes > pickle_.size() - at_) {
    return Malformed(
        fmt::format("{} bytes expected, {} left (truncated?)", bytes, pickle_.size() - at_));
  }
  const std::string_view taken = pickle_.substr(at_, bytes);
  at_ += taken.size();
  return taken;
}

absl::StatusOr<std::string_view> PickleMachine::TakeLine() {
  const std::size_t end = pickle_.find('\n', at_);
  if (end == std::string_view::npos) return Malformed("a name without an end (truncated?)");
  CODEGEN_ASSIGN_OR_RETURN(const std::string_view line, Take(end + 1 - at_));
  return line.substr(0, line.size() - 1);
}

std::optional<std::vector<std::int64_t>> PickleMachine::Integers(const PickleValue& value) const {
  if (value.kind != Kind::kTuple) return std::nullopt;
  std::vector<std::int64_t> integers;
  for (const PickleValue& item : tables_.tuples[value.index]) {
    if (item.kind != Kind::kInt) return std::nullopt;
    integers.push_back(item.number);
  }
  return integers;
}

absl::Status PickleMachine::Malformed(std::string_view what) const {
  return absl::DataLossError(
      fmt::format("{}: malformed pickle at byte {}: {}", file_, opcode_at_, what));
}

absl::Status PickleMachine::Refused(std::string_view what) const {
  return absl::InvalidArgumentError(
      fmt::format("{}: unsupported pickle at byte {}: {}", file_, opcode_at_, what));
}

absl::Status PickleMachine::Exhausted(std::string_view what, std::int64_t limit) const {
  return absl::ResourceExhaustedError(fmt::format(
      "{}: pickle with too many {} at byte {}, limit {}", file_, what, opcode_at_, limit));
}

}  // namespace codegen::checkpoint
