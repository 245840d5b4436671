// SPDX-License-Identifier: Apache-2.0
//
// What a command works on: text or token ids from a flag, a file or standard input.
#ifndef CODEGEN_EXAMPLES_CLI_INPUT_H_
#define CODEGEN_EXAMPLES_CLI_INPUT_H_

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include <cstdio>
#include <optional>
#include <string>
#include <vector>

#include "flags.h"

namespace cli {

// Returns all bytes of a file. Errors: INVALID_ARGUMENT (longer than Limits::prompt_bytes), else
// what the system says.
absl::StatusOr<std::string> ReadFile(const std::string& name);

// Returns the text that the flags give, else all of standard input. Errors: as ReadFile.
absl::StatusOr<std::string> ReadText(const Flags& flags);

// Returns the token ids that the flags give, else those of standard input. Errors: as ReadFile, and
// INVALID_ARGUMENT if they are not token ids.
absl::StatusOr<std::vector<codegen::TokenId>> ReadTokenIds(const Flags& flags);

// Returns the request of the flags with its prompt, text or ids. Errors: as ReadFile.
absl::StatusOr<codegen::Request> ReadRequest(const Flags& flags);

// Refuses more than one input, and any beside --json-lines. Errors: INVALID_ARGUMENT, naming the
// flags.
absl::Status CheckInput(const Flags& flags);

// Refuses flags without --model. Errors: INVALID_ARGUMENT.
absl::Status CheckModel(const Flags& flags);

// The lines of a stream, each as soon as it is complete; the last one may lack its line feed.
class Lines {
 public:
  explicit Lines(std::FILE* stream) : stream_(stream) {}

  // Returns the next line without its line feed, nothing at the end. A line longer than
  // Limits::prompt_bytes is passed over: INVALID_ARGUMENT.
  std::optional<absl::StatusOr<std::string>> Next();

 private:
  std::FILE* stream_;
};

}  // namespace cli

#endif  // CODEGEN_EXAMPLES_CLI_INPUT_H_
