// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/checkpoint.h"

#include <fmt/format.h>

#include <cstddef>
#include <filesystem>
#include <optional>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/quote.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/shard_index.h"
#include "checkpoint/torch_file.h"

namespace codegen::checkpoint {
namespace {

using Tensors = std::map<std::string, TensorEntry>;

// One of the names under which weights are published.
struct Source {
  const char* name;
  enum class Kind { kSafetensors, kTorch } kind;
  enum class Form { kFile, kIndex } form;
};

// In the search order of transformers' from_pretrained.
constexpr Source kSources[] = {
    {"model.safetensors", Source::Kind::kSafetensors, Source::Form::kFile},
    {"model.safetensors.index.json", Source::Kind::kSafetensors, Source::Form::kIndex},
    {"pytorch_model.bin", Source::Kind::kTorch, Source::Form::kFile},
    {"pytorch_model.bin.index.json", Source::Kind::kTorch, Source::Form::kIndex},
};

bool Allows(FileFormats formats, Source::Kind kind) {
  return kind == Source::Kind::kSafetensors ? formats.safetensors : formats.torch_pickle;
}

// Only the last part of the path: messages show no more of the machine than they must.
std::string FolderName(const std::string& folder) {
  std::filesystem::path path(folder);
  if (!path.has_filename()) path = path.parent_path();
  return path.filename().string();
}

absl::Status CheckFolder(const std::string& folder) {
  std::error_code error;
  const auto type = std::filesystem::status(folder, error).type();
  switch (type) {
    case std::filesystem::file_type::directory:
      return absl::OkStatus();
    case std::filesystem::file_type::not_found:
      return absl::NotFoundError(fmt::format("{}: no such folder", FolderName(folder)));
    case std::filesystem::file_type::none:
      return absl::PermissionDeniedError(
          fmt::format("{}: {}", FolderName(folder), error.message()));
    default:
      return absl::InvalidArgumentError(fmt::format("{}: not a folder", FolderName(folder)));
  }
}

absl::Status NothingFound(const std::string& folder, FileFormats formats) {
  std::string message = fmt::format("{}: no weights found; looked for", FolderName(folder));
  std::string switched_off;
  for (const Source& source : kSources) {
    if (Allows(formats, source.kind)) {
      message += fmt::format(" {}", source.name);
    } else if (base::Exists(base::JoinPath(folder, source.name))) {
      switched_off +=
          fmt::format("; {} is there, but LoadOptions::formats forbids its format", source.name);
    }
  }
  if (!formats.safetensors && !formats.torch_pickle)
    message += " nothing, since LoadOptions::formats allows no format";
  return absl::NotFoundError(message + switched_off);
}

// The first file that is there decides: one that cannot be read is an error, never a reason to try
// a laxer format.
absl::StatusOr<Source> FindSource(const std::string& folder, FileFormats formats) {
  CODEGEN_RETURN_IF_ERROR(CheckFolder(folder));
  for (const Source& source : kSources) {
    if (Allows(formats, source.kind) && base::Exists(base::JoinPath(folder, source.name)))
      return source;
  }
  return NothingFound(folder, formats);
}

absl::StatusOr<Safetensors> ReadFile(const std::string& path, Source::Kind kind) {
  CODEGEN_ASSIGN_OR_RETURN(const std::shared_ptr<const base::File> file, base::File::Open(path));
  if (kind == Source::Kind::kSafetensors) return ReadSafetensors(file);
  CODEGEN_ASSIGN_OR_RETURN(std::vector<TensorEntry> tensors, ListTorchFile(file));
  return Safetensors{.tensors = std::move(tensors)};
}

absl::Status AddTensors(std::vector<TensorEntry> entries, Tensors& tensors) {
  for (TensorEntry& entry : entries) {
    const auto [at, is_new] = tensors.try_emplace(entry.name);
    if (!is_new) {
      return absl::InvalidArgumentError(fmt::format("tensor {} is in two files: {} and {}",
                                                    base::Quote(entry.name),
                                                    at->second.file->name(), entry.file->name()));
    }
    at->second = std::move(entry);
  }
  return absl::OkStatus();
}

// Every tensor of the index must be where the index says. A shard may hold tensors that the index
// leaves out: they are listed like all others.
absl::Status CheckIndex(const ShardIndex& index, const char* index_name, const Tensors& tensors) {
  for (const auto& [name, file] : index.file_of) {
    const auto found = tensors.find(name);
    const bool is_missing = found == tensors.end();
    if (!is_missing && found->second.file->name() == file) continue;
    return absl::DataLossError(
        fmt::format("{}: tensor {}: expected in {}, found in {}", index_name, base::Quote(name),
                    file, is_missing ? std::string("no shard") : found->second.file->name()));
  }
  return absl::OkStatus();
}

absl::StatusOr<Tensors> ListShards(const std::string& folder, const Source& source) {
  CODEGEN_ASSIGN_OR_RETURN(const ShardIndex index,
                           ReadShardIndex(base::JoinPath(folder, source.name)));
  Tensors tensors;
  for (const std::string& file : index.files) {
    CODEGEN_ASSIGN_OR_RETURN(Safetensors contents,
                             ReadFile(base::JoinPath(folder, file), source.kind));
    CODEGEN_RETURN_IF_ERROR(AddTensors(std::move(contents.tensors), tensors));
    if (tensors.size() > std::size_t{Limits::tensors}) {
      return absl::ResourceExhaustedError(
          fmt::format("{}: more tensors than the limit of {}", source.name, Limits::tensors));
    }
  }
  CODEGEN_RETURN_IF_ERROR(CheckIndex(index, source.name, tensors));
  return tensors;
}

}  // namespace

absl::StatusOr<Checkpoint> Checkpoint::Open(const std::string& folder, FileFormats formats) {
  Checkpoint checkpoint;
  CODEGEN_ASSIGN_OR_RETURN(const Source source, FindSource(folder, formats));
  checkpoint.source_ = source.name;
  if (source.form == Source::Form::kIndex) {
    CODEGEN_ASSIGN_OR_RETURN(checkpoint.tensors_, ListShards(folder, source));
    return checkpoint;
  }
  CODEGEN_ASSIGN_OR_RETURN(Safetensors contents,
                           ReadFile(base::JoinPath(folder, source.name), source.kind));
  checkpoint.metadata_ = std::move(contents.metadata);
  CODEGEN_RETURN_IF_ERROR(AddTensors(std::move(contents.tensors), checkpoint.tensors_));
  return checkpoint;
}

}  // namespace codegen::checkpoint
