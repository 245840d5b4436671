// SPDX-License-Identifier: Apache-2.0
#include "input.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <utility>

namespace cli {
namespace {

constexpr std::size_t kLineBytes{codegen::Limits::prompt_bytes};

// Returns all of `stream`. `name` is what an error calls it.
absl::StatusOr<std::string> ReadAll(std::FILE* stream, std::string_view name) {
  std::string text;
  char block[65'536];
  while (const std::size_t bytes = std::fread(block, 1, sizeof block, stream)) {
    text.append(block, bytes);
    if (std::cmp_greater(text.size(), codegen::Limits::prompt_bytes)) {
      return absl::InvalidArgumentError(
          fmt::format("{}: longer than {} bytes", name, codegen::Limits::prompt_bytes));
    }
  }
  if (std::ferror(stream)) return absl::ErrnoToStatus(errno, std::string(name));
  return text;
}

}  // namespace

absl::StatusOr<std::string> ReadFile(const std::string& name) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(name.c_str(), "rb"),
                                                             std::fclose);
  if (!file) return absl::ErrnoToStatus(errno, name);
  return ReadAll(file.get(), name);
}

absl::StatusOr<std::string> ReadText(const Flags& flags) {
  if (flags.text) return *flags.text;
  if (flags.text_file) return ReadFile(*flags.text_file);
  return ReadAll(stdin, "standard input");
}

absl::StatusOr<std::vector<codegen::TokenId>> ReadTokenIds(const Flags& flags) {
  if (flags.token_ids) return *flags.token_ids;
  const absl::StatusOr<std::string> text = ReadText(flags);
  if (!text.ok()) return text.status();
  std::optional<std::vector<codegen::TokenId>> ids = ParseTokenIds(*text);
  if (!ids) return absl::InvalidArgumentError("standard input: expected token ids, e.g. 1,2,3");
  return *std::move(ids);
}

absl::StatusOr<codegen::Request> ReadRequest(const Flags& flags) {
  codegen::Request request = flags.request;
  if (flags.token_ids) {
    request.prompt_ids = *flags.token_ids;
    return request;
  }
  absl::StatusOr<std::string> text = ReadText(flags);
  if (!text.ok()) return text.status();
  request.prompt = *std::move(text);
  return request;
}

absl::Status CheckInput(const Flags& flags) {
  const int inputs =
      flags.text.has_value() + flags.text_file.has_value() + flags.token_ids.has_value();
  if (inputs > 1)
    return absl::InvalidArgumentError("more than one input: give the text, the file or the ids");
  if (inputs > 0 && flags.json_lines) {
    return absl::InvalidArgumentError(
        "--json-lines reads its requests from standard input: give no other input");
  }
  return absl::OkStatus();
}

absl::Status CheckModel(const Flags& flags) {
  if (flags.model.empty()) return absl::InvalidArgumentError("--model: expected a folder");
  return absl::OkStatus();
}

std::optional<absl::StatusOr<std::string>> Lines::Next() {
  std::string line;
  bool fits = true;
  int byte = std::getc(stream_);
  if (byte == EOF) return std::nullopt;
  for (; byte != EOF && byte != '\n'; byte = std::getc(stream_)) {
    fits = fits && line.size() < kLineBytes;
    if (fits) line.push_back(static_cast<char>(byte));
  }
  if (fits) return line;
  return absl::InvalidArgumentError(fmt::format("line longer than {} bytes", kLineBytes));
}

}  // namespace cli
