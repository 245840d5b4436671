// SPDX-License-Identifier: Apache-2.0
//
// The commands of the program: each in the file of its name.
#ifndef CODEGEN_EXAMPLES_CLI_COMMAND_H_
#define CODEGEN_EXAMPLES_CLI_COMMAND_H_

#include <absl/status/status.h>

#include <string_view>
#include <vector>

#include "flags.h"

namespace cli {

struct Command {
  std::string_view name;
  std::string_view summary;  // one line
  std::string_view details;  // what it reads and prints; lines that end in a line feed
  std::string_view example;
  std::vector<FlagGroup> flags;
  absl::Status (*check)(const Flags&);  // an error is the user's: flags that do not go together
  absl::Status (*run)(const Flags&);
};

Command CompleteCommand();
Command ScoreCommand();
Command TokenizeCommand();
Command DetokenizeCommand();
Command InfoCommand();
Command BenchCommand();
Command QuantizeCommand();

}  // namespace cli

#endif  // CODEGEN_EXAMPLES_CLI_COMMAND_H_
