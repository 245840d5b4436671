// SPDX-License-Identifier: Apache-2.0
//
// Pickle programs, opcode by opcode, with the compounds of torch.save.
#ifndef CODEGEN_TESTS_SUPPORT_PICKLE_WRITER_H_
#define CODEGEN_TESTS_SUPPORT_PICKLE_WRITER_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "support/zip_writer.h"

namespace codegen::testing {

// The arguments of _rebuild_tensor_v2 that vary.
struct PickledView {
  std::string storage_type = "FloatStorage";
  std::string key = "0";
  std::int64_t elements = 0;  // of the storage
  std::int64_t offset = 0;
  std::vector<std::int64_t> shape;
  std::vector<std::int64_t> strides;
};

class PickleWriter {
 public:
  explicit PickleWriter(int protocol = 2) { Raw("\x80").Little(protocol, 1); }

  const std::string& bytes() const { return bytes_; }

  PickleWriter& Raw(std::string_view bytes) {
    bytes_ += bytes;
    return *this;
  }
  PickleWriter& Little(std::int64_t value, int bytes) {
    AppendLittle(bytes_, static_cast<std::uint64_t>(value), bytes);
    return *this;
  }
  PickleWriter& Global(std::string_view module, std::string_view name) {
    return Raw("c").Raw(module).Raw("\n").Raw(name).Raw("\n");
  }
  PickleWriter& Text(std::string_view text) {
    return Raw("X").Little(static_cast<std::int64_t>(text.size()), 4).Raw(text);
  }
  PickleWriter& Int(std::int64_t value) {
    if (value >= 0 && value < 256) return Raw("K").Little(value, 1);
    if (value >= 0 && value < 65536) return Raw("M").Little(value, 2);
    if (value == static_cast<std::int32_t>(value)) return Raw("J").Little(value, 4);
    return Raw("\x8a").Little(8, 1).Little(value, 8);
  }
  PickleWriter& False() { return Raw("\x89"); }
  PickleWriter& Mark() { return Raw("("); }
  PickleWriter& Tuple() { return Raw("t"); }
  PickleWriter& EmptyTuple() { return Raw(")"); }
  PickleWriter& EmptyList() { return Raw("]"); }
  PickleWriter& EmptyDict() { return Raw("}"); }
  PickleWriter& Append() { return Raw("a"); }
  PickleWriter& SetItem() { return Raw("s"); }
  PickleWriter& SetItems() { return Raw("u"); }
  PickleWriter& Put(int index) { return Raw("q").Little(index, 1); }
  PickleWriter& Get(int index) { return Raw("h").Little(index, 1); }
  PickleWriter& Reduce() { return Raw("R"); }
  PickleWriter& Build() { return Raw("b"); }
  PickleWriter& PersistentId() { return Raw("Q"); }
  PickleWriter& Stop() { return Raw("."); }

  PickleWriter& OrderedDict() { return Global("collections", "OrderedDict").EmptyTuple().Reduce(); }
  PickleWriter& Integers(const std::vector<std::int64_t>& values) {
    Mark();
    for (const std::int64_t value : values) Int(value);
    return Tuple();
  }
  PickleWriter& Storage(const PickledView& view) {
    Mark().Text("storage").Global("torch", view.storage_type).Text(view.key).Text("cpu");
    return Int(view.elements).Tuple().PersistentId();
  }
  PickleWriter& Tensor(const PickledView& view) {
    Global("torch._utils", "_rebuild_tensor_v2").Mark().Storage(view).Int(view.offset);
    Integers(view.shape).Integers(view.strides);
    return False().OrderedDict().Tuple().Reduce();
  }
  PickleWriter& Parameter(const PickledView& view) {
    Global("torch._utils", "_rebuild_parameter").Mark().Tensor(view);
    return False().OrderedDict().Tuple().Reduce();
  }

 private:
  std::string bytes_;
};

}  // namespace codegen::testing

#endif  // CODEGEN_TESTS_SUPPORT_PICKLE_WRITER_H_
