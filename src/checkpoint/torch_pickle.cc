// SPDX-License-Identifier: Apache-2.0
//
// What torch.save pickles for a model is a dict from names to tensors (OrderedDict of
// Module.state_dict()); training scripts wrap it in {"state_dict": that, "epoch": 3, ...}.
#include "checkpoint/torch_pickle.h"

#include <fmt/format.h>

#include <map>
#include <utility>

#include "base/check.h"
#include "base/quote.h"
#include "checkpoint/pickle_machine.h"
#include "codegen/options.h"

namespace codegen::checkpoint {
namespace {

using Kind = PickleValue::Kind;
using NamedValues = std::map<std::string_view, PickleValue>;

absl::StatusOr<NamedValues> ReadDict(const PickleTables& tables, const PickleValue& value,
                                     const std::string& file) {
  if (value.kind != Kind::kDict) {
    return absl::InvalidArgumentError(
        fmt::format("{}: expected a dict of tensors, found {}", file, PickleKindName(value.kind)));
  }
  NamedValues values;
  for (const auto& [key, item] : tables.dicts[value.index]) {
    if (key.kind != Kind::kText) {
      return absl::InvalidArgumentError(
          fmt::format("{}: a dict with {} for a name", file, PickleKindName(key.kind)));
    }
    if (!values.emplace(key.text, item).second) {
      return absl::DataLossError(
          fmt::format("{}: tensor {} appears twice", file, base::Quote(key.text)));
    }
  }
  return values;
}

absl::StatusOr<NamedValues> StateDict(const PickleTables& tables, const PickleValue& top,
                                      const std::string& file) {
  CODEGEN_ASSIGN_OR_RETURN(NamedValues values, ReadDict(tables, top, file));
  const auto nested = values.find("state_dict");
  if (nested == values.end() || nested->second.kind != Kind::kDict) return values;
  return ReadDict(tables, nested->second, file);
}

}  // namespace

absl::StatusOr<std::vector<PickledTensor>> MatchTorchPickle(std::string_view pickle,
                                                            const std::string& file) {
  PickleMachine machine(pickle, file);
  CODEGEN_ASSIGN_OR_RETURN(const PickleValue top, machine.Run());
  CODEGEN_ASSIGN_OR_RETURN(const NamedValues values, StateDict(machine.tables(), top, file));
  if (values.size() > std::size_t{Limits::tensors}) {
    return absl::ResourceExhaustedError(
        fmt::format("{}: {} tensors, limit {}", file, values.size(), Limits::tensors));
  }
  std::vector<PickledTensor> tensors;
  for (const auto& [name, value] : values) {
    if (value.kind != Kind::kTensor) {
      return absl::InvalidArgumentError(fmt::format("{}: {}: expected a tensor, found {}", file,
                                                    base::Quote(name), PickleKindName(value.kind)));
    }
    tensors.push_back(machine.tables().tensors[value.index]);
    tensors.back().name = name;
  }
  return tensors;
}

}  // namespace codegen::checkpoint
