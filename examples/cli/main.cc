// SPDX-License-Identifier: Apache-2.0
//
// The program `codegen`: Salesforce's CodeGen models from the command line, and an example of the
// library's API.
//
// Results go to standard output, errors to standard error on one line. Exits with 0, 2 for wrong
// usage, else 1.

#include <fmt/format.h>

#include <csignal>
#include <cstdio>
#include <string>
#include <vector>

#include "command.h"
#include "output.h"

namespace cli {
namespace {

constexpr int kFailure = 1;
constexpr int kWrongUsage = 2;

std::vector<Command> Commands() {
  return {CompleteCommand(), ScoreCommand(), TokenizeCommand(), DetokenizeCommand(),
          InfoCommand(),     BenchCommand(), QuantizeCommand()};
}

// Prints on one line, whatever bytes a file name or flag in `message` may hold.
void PrintError(std::string message) {
  for (char& byte : message) {
    if (static_cast<unsigned char>(byte) < 0x20 || byte == 0x7f) byte = ' ';
  }
  std::fprintf(stderr, "%s\n", message.c_str());
}

int Fail(const absl::Status& status) {
  if (status.ok()) return 0;
  if (absl::IsCancelled(status))
    return kFailure;  // the reader of our output went away and needs no telling
  PrintError(fmt::format("codegen: {}: {}", absl::StatusCodeToString(status.code()),
                         std::string(status.message())));
  return kFailure;
}

int RefuseUsage(std::string_view program, std::string_view message) {
  PrintError(fmt::format("{}: {} (see {} --help)", program, message, program));
  return kWrongUsage;
}

std::string Help() {
  std::string text =
      "codegen runs Salesforce's CodeGen models.\n\nUsage: codegen COMMAND [FLAGS]\n\nCommands:\n";
  for (const Command& command : Commands())
    text += fmt::format("  {:11} {}\n", command.name, command.summary);
  return text +
         "\n'codegen COMMAND --help' describes a command, 'codegen --version' prints the "
         "version.\n\nExample:\n  " +
         std::string(CompleteCommand().example) + "\n";
}

std::string Help(const Command& command) {
  return fmt::format("codegen {}: {}.\n\n{}\nFlags, with their defaults:\n{}\nExample:\n  {}\n",
                     command.name, command.summary, command.details, DescribeFlags(command.flags),
                     command.example);
}

int RunCommand(const Command& command, int argc, char** argv) {
  const std::string program = fmt::format("codegen {}", command.name);
  const absl::StatusOr<Flags> flags = ParseFlags(command.flags, argc, argv);
  if (!flags.ok()) return RefuseUsage(program, std::string(flags.status().message()));
  if (flags->help) return Fail(Write(Help(command)));
  const absl::Status usage = command.check(*flags);
  if (!usage.ok()) return RefuseUsage(program, std::string(usage.message()));
  return Fail(command.run(*flags));
}

int Main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);  // a closed pipe is an error of Write
  const std::string_view name = argc > 1 ? argv[1] : "";
  if (name == "--help" || name == "-h") return Fail(Write(Help()));
  if (name == "--version") return Fail(Write(fmt::format("{}\n", codegen::Version())));
  for (const Command& command : Commands()) {
    if (name == command.name) return RunCommand(command, argc - 1, argv + 1);
  }
  return RefuseUsage(
      "codegen", name.empty() ? "expected a command" : fmt::format("unknown command \"{}\"", name));
}

}  // namespace
}  // namespace cli

int main(int argc, char** argv) { return cli::Main(argc, argv); }
