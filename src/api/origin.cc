// SPDX-License-Identifier: Apache-2.0
#include "api/origin.h"

#include <fmt/format.h>

#include <filesystem>
#include <system_error>

#include "base/check.h"
#include "tokenizer/load_tokenizer.h"

namespace codegen::api {
namespace {

absl::Status CheckWanted(const char* option, WeightFormat wanted, WeightFormat saved) {
  if (wanted == WeightFormat::kAuto || wanted == saved) return absl::OkStatus();
  return absl::InvalidArgumentError(fmt::format(
      "LoadOptions::{} is {}, but the folder holds a model saved with {}; load the model it was "
      "made of",
      option, WeightFormatName(wanted),
      saved == WeightFormat::kAuto ? "several formats" : WeightFormatName(saved)));
}

absl::Status CheckTensors(const char* key, WeightFormat said, WeightFormat found) {
  if (said == WeightFormat::kAuto || said == found) return absl::OkStatus();
  return absl::InvalidArgumentError(
      fmt::format("model.safetensors: metadata \"{}\" is {}, the tensors are {}", key,
                  WeightFormatName(said), WeightFormatName(found)));
}

}  // namespace

absl::StatusOr<LoadOptions> OptionsOfSaved(const model::SavedHeader& header,
                                           const LoadOptions& options) {
  if (options.device != Device::Cpu()) {
    return absl::UnimplementedError(
        fmt::format("LoadOptions::device is {}, but the folder holds a saved model, whose weights "
                    "lie as the CPU reads them; load the model it was made of",
                    DeviceName(options.device)));
  }
  CODEGEN_RETURN_IF_ERROR(CheckWanted("weights", options.weights, header.weights));
  CODEGEN_RETURN_IF_ERROR(CheckWanted("head_weights", options.head_weights, header.head_weights));
  if (!options.calibration.empty()) {
    return absl::InvalidArgumentError(
        "LoadOptions::calibration is given, but the folder holds a saved model, whose weights are "
        "rounded already; load the model it was made of");
  }
  if (options.qkv_groups != 0 && options.qkv_groups != header.qkv_groups) {
    return absl::InvalidArgumentError(
        fmt::format("LoadOptions::qkv_groups is {}, but the folder holds a model saved with {}",
                    options.qkv_groups, header.qkv_groups));
  }
  LoadOptions saved = options;
  saved.weights = WeightFormat::kAuto;
  saved.head_weights = WeightFormat::kAuto;
  saved.qkv_groups = header.qkv_groups;
  return saved;
}

void FindTokenizer(const std::string& folder, const LoadOptions& options,
                   const model::ModelConfig& config, model::SavedTokenizer saved, Origin& origin) {
  using model::SavedTokenizer;
  const bool own = options.tokenizer_folder.empty();
  if (own && saved == SavedTokenizer::kNone && !tokenizer::HasTokenizerFiles(folder)) return;
  const bool codegen25 = own ? saved == SavedTokenizer::kCodeGen25 : model::IsCodeGen25(config);
  origin.tokenizer = codegen25 ? SavedTokenizer::kCodeGen25 : SavedTokenizer::kFiles;
  std::error_code ignored;  // then the path stays as it is
  const std::string& source = own ? folder : options.tokenizer_folder;
  const std::filesystem::path absolute = std::filesystem::absolute(source, ignored);
  origin.tokenizer_folder = ignored ? source : absolute.string();
}

absl::Status CheckSavedFormats(const model::SavedHeader& header, const ModelInfo& info) {
  CODEGEN_RETURN_IF_ERROR(CheckTensors("codegen.weights", header.weights, info.weights));
  return CheckTensors("codegen.head_weights", header.head_weights, info.head_weights);
}

}  // namespace codegen::api
