// SPDX-License-Identifier: Apache-2.0
//
// codegen quantize: writes a model in the form in which it is computed.

#include <fmt/format.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <string>
#include <system_error>
#include <utility>

#include "command.h"
#include "input.h"
#include "load.h"
#include "output.h"

namespace cli {
namespace {

// Bytes of the weight files that a folder is loaded from: the first kind that is there.
std::int64_t StoredBytes(const std::string& folder) {
  for (const char* ending : {".safetensors", ".bin"}) {
    std::int64_t bytes = 0;
    std::error_code ignored;
    for (const auto& entry : std::filesystem::directory_iterator(folder, ignored)) {
      if (entry.path().extension() == ending)
        bytes += static_cast<std::int64_t>(entry.file_size(ignored));
    }
    if (bytes > 0) return bytes;
  }
  return 0;
}

Json ToJson(const Flags& flags, const codegen::ModelInfo& info, double seconds) {
  return {{"output", flags.output},
          {"weights", codegen::WeightFormatName(info.weights)},
          {"head_weights", codegen::WeightFormatName(info.head_weights)},
          {"bytes_before", StoredBytes(flags.model)},
          {"bytes_after", StoredBytes(flags.output)},
          {"seconds", seconds},
          {"fingerprint", info.fingerprint}};
}

std::string Plain(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  return value.is_number_float() ? fmt::format("{:.3f}", value.get<double>()) : value.dump();
}

std::string ToTable(const Json& result) {
  std::string table;
  for (const auto& [key, value] : result.items()) {
    table += fmt::format("{:12} {}\n", key, Plain(value));
  }
  return table;
}

// The flags with the text of --calibration, if it is given.
absl::StatusOr<Flags> WithCalibration(Flags flags) {
  if (flags.calibration.empty()) return flags;
  absl::StatusOr<std::string> text = ReadFile(flags.calibration);
  if (!text.ok()) return text.status();
  if (text->empty())
    return absl::InvalidArgumentError(fmt::format("{}: is empty", flags.calibration));
  flags.load.calibration = *std::move(text);
  return flags;
}

absl::Status Run(const Flags& given) {
  const auto start = std::chrono::steady_clock::now();
  const absl::StatusOr<Flags> with_text = WithCalibration(given);
  if (!with_text.ok()) return with_text.status();
  const Flags& flags = *with_text;
  const absl::StatusOr<LoadedModel> loaded = LoadModel(flags);
  if (!loaded.ok()) return loaded.status();
  if (const absl::Status saved = loaded->model.Save(flags.output); !saved.ok()) return saved;
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  const Json result = ToJson(flags, loaded->model.info(), seconds.count());
  return flags.json ? WriteLine(result) : Write(ToTable(result));
}

absl::Status Check(const Flags& flags) {
  if (const absl::Status status = CheckModel(flags); !status.ok()) return status;
  if (flags.load.device != codegen::Device::Cpu())
    return absl::InvalidArgumentError("--device: a model is written from the CPU only");
  return flags.output.empty() ? absl::InvalidArgumentError("--output DIR is missing")
                              : absl::OkStatus();
}

}  // namespace

Command QuantizeCommand() {
  return {
      .name = "quantize",
      .summary = "write a model in another format, ready to be loaded",
      .details =
          R"(Converts to --weights and --head-weights (auto keeps what is stored) and writes a folder of
config.json, the tokenizer's files and one model.safetensors in the order in which weights are
computed with: it loads several times as fast, and computes the same to the bit. The folder is made
if it is not there; one that holds a model is left alone. With --calibration int4 weights are rounded
by what they are multiplied by while the model reads that text, at least 512 tokens of what it is
going to complete: more than half of the divergence that int4 costs is saved, for more time once.
--json prints {"output", "weights", "head_weights", "bytes_before", "bytes_after", "seconds",
  "fingerprint"}; bytes are those of the weight files.
)",
      .example =
          "codegen quantize --model codegen-350M-mono --weights int4 --output "
          "codegen-350M-mono-int4",
      .flags = {CommonFlags(), OutputFlags()},
      .check = Check,
      .run = Run};
}

}  // namespace cli
