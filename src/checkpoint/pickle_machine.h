// SPDX-License-Identifier: Apache-2.0
//
// The stack machine of the pickle format, cut down to what describes a dict of tensors.
//
// The format, from CPython's Lib/pickletools.py: a program of one-byte opcodes that push scalars,
// gather what lies above the last mark into a container, name globals, apply them (REDUCE), and
// keep values under numbers (the memo). Unpickling normally imports and calls whatever the program
// names, which is why loading a pickle is running it, and why "safe" unpicklers that call a chosen
// few have been broken more than once. This machine calls nothing: a global is an enum value
// (torch_globals.h), and REDUCE of it on arguments is a pattern to recognise:
//
//   OrderedDict ()                                                      -> an empty dict
//   _rebuild_tensor_v2 (storage, offset, size, stride, bool, dict, ...) -> a tensor
//   _rebuild_parameter (tensor, bool, dict)                             -> that tensor
//   BINPERSID ('storage', <Type>Storage, key, location, elements)       -> a storage
//   BUILD of a dict with {'_metadata': ...}                             -> the dict, unchanged
//
// Anything else is refused by name. The opcodes are those of protocol 2, which torch.save writes,
// and what protocol 4 adds for the same data. Nothing recurses, and every table is bounded.
//
// A container may be put only into an older one. Every tree is built that way, and no cycle can be:
// along "contains" lists and dicts only get younger (a tuple counts as the oldest it leads to).
#ifndef CODEGEN_CHECKPOINT_PICKLE_MACHINE_H_
#define CODEGEN_CHECKPOINT_PICKLE_MACHINE_H_

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/pickle_values.h"

namespace codegen::checkpoint {

class PickleMachine {
 public:
  // `pickle` must outlive the machine and its values; `file` begins the messages.
  PickleMachine(std::string_view pickle, const std::string& file) : pickle_(pickle), file_(file) {}

  // Runs the program once and returns its result. Errors: as MatchTorchPickle.
  absl::StatusOr<PickleValue> Run();

  const PickleTables& tables() const { return tables_; }

 private:
  using Kind = PickleValue::Kind;
  using Handler = absl::Status (PickleMachine::*)();
  struct HandlerTable;  // opcode -> handler
  static const HandlerTable kHandlers;

  absl::Status Step();
  absl::Status Protocol();
  absl::Status Frame();
  absl::Status Stop();

  absl::Status None() { return Push({}); }
  absl::Status True() { return Push({.kind = Kind::kBool, .number = 1}); }
  absl::Status False() { return Push({.kind = Kind::kBool}); }
  template <class Stored>
  absl::Status Integer();
  absl::Status LongInteger();
  absl::Status Float();
  template <class Length>
  absl::Status Text();

  absl::Status Mark();
  absl::Status EmptyTuple() { return PushTuple({}); }
  absl::Status Tuple();
  template <std::size_t kSize>
  absl::Status ShortTuple();
  absl::Status EmptyList() { return Push({.kind = Kind::kList, .oldest = births_++}); }
  absl::Status EmptyDict();
  absl::Status Append();
  absl::Status Appends();
  absl::Status SetItem();
  absl::Status SetItems();

  template <class Index>
  absl::Status Get();
  template <class Index>
  absl::Status Put();
  absl::Status Memoize() { return PutAt(memo_.size()); }

  absl::Status Global();
  absl::Status StackGlobal();
  absl::Status PersistentId();
  absl::Status Reduce();
  absl::Status Build();
  absl::Status RebuildTensor(std::span<const PickleValue> arguments);
  absl::Status RebuildParameter(std::span<const PickleValue> arguments);

  absl::Status Push(const PickleValue& value);
  absl::Status PushTuple(std::vector<PickleValue> items);
  absl::Status PushGlobal(std::string_view module, std::string_view name);
  absl::Status PutAt(std::uint64_t index);
  absl::StatusOr<PickleValue> Pop();
  absl::StatusOr<std::vector<PickleValue>> PopToMark();
  // The items of a tuple; they stay where they are.
  absl::StatusOr<std::span<const PickleValue>> PopTuple();
  absl::Status AddItems(std::span<const PickleValue> items);
  absl::Status AddPairs(std::span<const PickleValue> keys_and_values);
  absl::Status CheckYounger(const PickleValue& item, const PickleValue& container) const;
  absl::StatusOr<std::string_view> Take(std::uint64_t bytes);
  absl::StatusOr<std::string_view> TakeLine();
  // The items of a tuple of integers, or nothing.
  std::optional<std::vector<std::int64_t>> Integers(const PickleValue& value) const;

  absl::Status Malformed(std::string_view what) const;
  absl::Status Refused(std::string_view what) const;
  absl::Status Exhausted(std::string_view what, std::int64_t limit) const;

  std::string_view pickle_;
  const std::string& file_;
  std::size_t at_ = 0;
  std::size_t opcode_at_ = 0;
  bool stopped_ = false;
  std::int64_t births_ = 0;  // lists and dicts made so far
  std::int64_t pairs_ = 0;   // in all dicts
  std::vector<PickleValue> stack_;
  std::vector<std::size_t> marks_;  // heights of the stack
  std::vector<std::optional<PickleValue>> memo_;
  PickleTables tables_;
};

}  // namespace codegen::checkpoint

#endif  // CODEGEN_CHECKPOINT_PICKLE_MACHINE_H_
