// SPDX-License-Identifier: Apache-2.0
#include "model/saved_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/check.h"
#include "base/quote.h"
#include "codegen/options.h"

namespace codegen::model {
namespace {

constexpr WeightFormat kHeldFormats[] = {WeightFormat::kF32, WeightFormat::kBf16,
                                         WeightFormat::kF16, WeightFormat::kInt8,
                                         WeightFormat::kInt4};

constexpr const char* kTokenizers[] = {"none", "files", "codegen25"};  // by SavedTokenizer

std::optional<WeightFormat> HeldFormatOf(std::string_view name) {
  for (const WeightFormat format : kHeldFormats)
    if (name == WeightFormatName(format)) return format;
  return std::nullopt;
}

// Reads the fields of the metadata, counting those that it knows.
class Fields {
 public:
  explicit Fields(const SavedHeader::Metadata& metadata) : metadata_(metadata) {}

  absl::StatusOr<std::string> Text(const std::string& key) {
    const auto found = metadata_.find(key);
    if (found == metadata_.end())
      return absl::DataLossError(fmt::format("model.safetensors: metadata lacks \"{}\"", key));
    ++known_;
    return found->second;
  }

  absl::StatusOr<WeightFormat> Format(const std::string& key) {
    CODEGEN_ASSIGN_OR_RETURN(const std::string text, Text(key));
    if (const auto format = HeldFormatOf(text)) return *format;
    if (text == WeightFormatName(WeightFormat::kAuto)) return WeightFormat::kAuto;
    return Malformed(key, "auto, f32, bf16, f16, int8 or int4", text);
  }

  absl::StatusOr<std::string> Fingerprint(const std::string& key) {
    CODEGEN_ASSIGN_OR_RETURN(std::string text, Text(key));
    const bool digits = text.find_first_not_of("0123456789abcdef") == std::string::npos;
    if (text.size() == 16 && digits) return text;
    return Malformed(key, "16 hexadecimal digits", text);
  }

  absl::StatusOr<int> Count(const std::string& key) {
    CODEGEN_ASSIGN_OR_RETURN(const std::string text, Text(key));
    int count = -1;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), count);
    const bool whole = error == std::errc() && end == text.data() + text.size();
    if (whole && count >= 0 && count <= Limits::width) return count;
    return Malformed(key, fmt::format("a number in [0, {}]", Limits::width), text);
  }

  absl::StatusOr<SavedTokenizer> Tokenizer(const std::string& key) {
    CODEGEN_ASSIGN_OR_RETURN(const std::string text, Text(key));
    // string_view: GCC 12 at -O3 takes a comparison of the string for a use before its birth.
    const auto* const found = std::ranges::find(kTokenizers, std::string_view(text));
    if (found != std::end(kTokenizers))
      return static_cast<SavedTokenizer>(found - std::begin(kTokenizers));
    return Malformed(key, "none, files or codegen25", text);
  }

  // A field from the future may change what the others mean.
  absl::Status CheckAllKnown() const {
    std::size_t own = 0;
    for (const auto& [key, value] : metadata_) own += key.starts_with("codegen.") ? 1U : 0U;
    if (own == known_) return absl::OkStatus();
    return absl::UnimplementedError(fmt::format(
        "model.safetensors: metadata has {} fields of \"codegen.\", this version knows {}", own,
        known_));
  }

 private:
  static absl::Status Malformed(const std::string& key, const std::string& expected,
                                const std::string& found) {
    return absl::DataLossError(
        fmt::format("model.safetensors: metadata \"{}\": expected {}, found {}", key, expected,
                    base::Quote(found)));
  }

  const SavedHeader::Metadata& metadata_;
  std::size_t known_ = 0;
};

// Which object of weight_table.h each matrix of a published model becomes part of.
std::map<std::string, std::string> ObjectNames(const ModelConfig& config) {
  const OuterNames outer = Outer(config);
  std::map<std::string, std::string> names = {{outer.embedding.name, "embedding"},
                                              {outer.head.name, "head"}};
  for (int i = 0; i < config.layers; ++i) {
    const std::string block = fmt::format("blocks.{}.", i);
    if (config.architecture == Architecture::kCodeGen) {
      const CodeGenLayerNames layer = CodeGenLayer(config, i);
      names.insert({{layer.qkv.name, block + "qkv"},
                    {layer.out.name, block + "out"},
                    {layer.up.name, block + "up"},
                    {layer.down.name, block + "down"}});
    } else {
      const LlamaLayerNames layer = LlamaLayer(config, i);
      names.insert({{layer.q.name, block + "qkv"},
                    {layer.k.name, block + "qkv"},
                    {layer.v.name, block + "qkv"},
                    {layer.out.name, block + "out"},
                    {layer.gate.name, block + "gate_up"},
                    {layer.up.name, block + "gate_up"},
                    {layer.down.name, block + "down"}});
    }
  }
  return names;
}

}  // namespace

bool SavedHeader::IsIn(const Metadata& metadata) {
  const auto format = metadata.find("format");
  return format != metadata.end() && format->second == "codegen";
}

absl::StatusOr<SavedHeader> SavedHeader::Parse(const Metadata& metadata) {
  Fields fields(metadata);
  SavedHeader header;
  CODEGEN_ASSIGN_OR_RETURN(header.layout, fields.Text("codegen.layout"));
  CODEGEN_ASSIGN_OR_RETURN(header.weights, fields.Format("codegen.weights"));
  CODEGEN_ASSIGN_OR_RETURN(header.head_weights, fields.Format("codegen.head_weights"));
  CODEGEN_ASSIGN_OR_RETURN(header.fingerprint, fields.Fingerprint("codegen.fingerprint"));
  CODEGEN_ASSIGN_OR_RETURN(header.qkv_groups, fields.Count("codegen.qkv_groups"));
  CODEGEN_ASSIGN_OR_RETURN(header.tokenizer, fields.Tokenizer("codegen.tokenizer"));
  CODEGEN_RETURN_IF_ERROR(fields.CheckAllKnown());
  return header;
}

SavedHeader::Metadata SavedHeader::ToMetadata() const {
  return {{"format", "codegen"},
          {"codegen.layout", layout},
          {"codegen.weights", WeightFormatName(weights)},
          {"codegen.head_weights", WeightFormatName(head_weights)},
          {"codegen.fingerprint", fingerprint},
          {"codegen.qkv_groups", fmt::to_string(qkv_groups)},
          {"codegen.tokenizer", kTokenizers[static_cast<int>(tokenizer)]}};
}

absl::StatusOr<SavedModel> SavedModel::Create(const ModelConfig& config,
                                              checkpoint::Checkpoint checkpoint) {
  CODEGEN_ASSIGN_OR_RETURN(SavedHeader header, SavedHeader::Parse(checkpoint.metadata()));
  SavedModel saved(std::move(header), std::move(checkpoint));
  CODEGEN_RETURN_IF_ERROR(saved.FindFormats(config));
  return saved;
}

SavedModel::SavedModel(SavedHeader header, checkpoint::Checkpoint checkpoint)
    : header_(std::move(header)), checkpoint_(std::move(checkpoint)) {}

absl::Status SavedModel::FindFormats(const ModelConfig& config) {
  object_of_ = ObjectNames(config);
  for (const auto& [tensor, object] : object_of_) {
    for (const WeightFormat format : kHeldFormats) {
      const std::string name = fmt::format("{}.{}", object, WeightFormatName(format));
      if (!checkpoint_.tensors().contains(name)) continue;
      const WeightFormat first = formats_.emplace(object, format).first->second;
      if (first == format) continue;
      return absl::InvalidArgumentError(
          fmt::format("{}: tensors \"{}.{}\" and \"{}\" exclude each other", checkpoint_.source(),
                      object, WeightFormatName(first), name));
    }
    if (formats_.contains(object)) continue;
    return absl::InvalidArgumentError(
        fmt::format("{}: tensor \"{}.FORMAT\" is missing, with FORMAT f32, bf16, f16, int8 or int4",
                    checkpoint_.source(), object));
  }
  return absl::OkStatus();
}

WeightFormat SavedModel::StoredFormat(const ExpectedTensor& tensor) const {
  return formats_.at(object_of_.at(tensor.name));
}

}  // namespace codegen::model
