// SPDX-License-Identifier: Apache-2.0
//
// Model::Save. The weights are written last: until the folder has a model.safetensors it holds no
// model, and what is there of a Save that failed is what the next one would write.
#include <absl/status/status.h>
#include <absl/status/statusor.h>
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <new>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "api/model_state.h"
#include "base/check.h"
#include "base/file.h"
#include "base/new_file.h"
#include "base/no_memory.h"
#include "checkpoint/safetensors_writer.h"
#include "codegen/model.h"
#include "model/saved_model.h"
#include "tokenizer/load_tokenizer.h"

namespace codegen {
namespace {

using Files = std::map<std::string, std::string>;  // contents by name

// All files that go beside the weights.
absl::StatusOr<Files> ReadOriginals(const api::Origin& origin) {
  Files files = {{"config.json", origin.config_json}};
  if (origin.tokenizer_folder.empty()) return files;
  const std::vector<std::string> names = tokenizer::TokenizerFiles(origin.tokenizer_folder);
  if (names.empty()) {
    return absl::NotFoundError(
        fmt::format("the tokenizer's files are no longer in \"{}\"", origin.tokenizer_folder));
  }
  for (const std::string& name : names) {
    CODEGEN_ASSIGN_OR_RETURN(
        files[name],
        base::ReadFile(base::JoinPath(origin.tokenizer_folder, name), Limits::tokenizer_bytes));
  }
  return files;
}

// Whether `name` is in the folder with these bytes already, or not at all, which is as well.
absl::StatusOr<bool> HasSame(const std::string& folder, const std::string& name,
                             std::string_view bytes) {
  const std::string path = base::JoinPath(folder, name);
  if (!base::Exists(path)) return false;
  const absl::StatusOr<std::string> found =
      base::ReadFile(path, static_cast<std::int64_t>(bytes.size()));
  if (found.ok() && *found == bytes) return true;
  return absl::FailedPreconditionError(
      fmt::format("the folder has another {} already; nothing is written over", name));
}

// A model or a tokenizer of another origin would be loaded instead of, or with, this one.
absl::Status CheckFolder(const std::string& folder, const Files& files) {
  for (const char* name : {"model.safetensors", "model.safetensors.index.json", "pytorch_model.bin",
                           "pytorch_model.bin.index.json"}) {
    if (!base::Exists(base::JoinPath(folder, name))) continue;
    return absl::FailedPreconditionError(
        fmt::format("the folder holds a model already: {}; nothing is written over", name));
  }
  for (const std::string& name : tokenizer::TokenizerFileNames()) {
    if (files.contains(name) || !base::Exists(base::JoinPath(folder, name))) continue;
    return absl::FailedPreconditionError(
        fmt::format("the folder has a {}, which is not of this model's tokenizer", name));
  }
  return absl::OkStatus();
}

absl::Status WriteFiles(const std::string& folder, const Files& files) {
  for (const auto& [name, bytes] : files) {
    CODEGEN_ASSIGN_OR_RETURN(const bool there, HasSame(folder, name, bytes));
    if (!there) CODEGEN_RETURN_IF_ERROR(base::WriteNewFile(folder, name, bytes));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status Model::Save(const std::string& folder) const try {
  if (!state_->origin) {
    return absl::FailedPreconditionError(
        "a Random model cannot be saved: it has no values worth keeping");
  }
  CODEGEN_ASSIGN_OR_RETURN(const model::SavedTensors saved, state_->on_device.model->Tensors());
  CODEGEN_ASSIGN_OR_RETURN(const Files files, ReadOriginals(*state_->origin));
  CODEGEN_RETURN_IF_ERROR(base::MakeFolder(folder));
  CODEGEN_RETURN_IF_ERROR(CheckFolder(folder, files));
  CODEGEN_RETURN_IF_ERROR(WriteFiles(folder, files));
  const model::SavedHeader header{.layout = saved.layout,
                                  .weights = info().weights,
                                  .head_weights = info().head_weights,
                                  .fingerprint = info().fingerprint,
                                  .qkv_groups = info().qkv_groups,
                                  .tokenizer = state_->origin->tokenizer};
  return checkpoint::WriteSafetensors(folder, "model.safetensors", header.ToMetadata(),
                                      saved.tensors);
} catch (const std::bad_alloc&) {
  return base::NoMemory("no memory to save the model");
}

}  // namespace codegen
