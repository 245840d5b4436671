// SPDX-License-Identifier: Apache-2.0
//
// Runs the program `codegen` as a shell would.
#ifndef CODEGEN_TESTS_CLI_PROGRAM_H_
#define CODEGEN_TESTS_CLI_PROGRAM_H_

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace codegen::testing {

using Json = nlohmann::ordered_json;  // keys in the order of the program's output

struct Outcome {
  int exit_code = -1;  // -1 if a signal ended it
  std::string out;
  std::string err;
};

using Arguments = std::vector<std::string>;

// Runs `codegen` with these arguments and all of `input` on standard input.
Outcome RunProgram(const Arguments& arguments, const std::string& input = "");

// The same of another program.
Outcome RunOther(const char* program, const Arguments& arguments);

// RunProgram with standard output going to the descriptor `out`.
Outcome RunProgramInto(int out, const Arguments& arguments);

// The program's only line of output, as JSON; a discarded value if it is anything else.
Json OutputOf(const Outcome& outcome);

// The program's output, each line as JSON.
std::vector<Json> LinesOf(const Outcome& outcome);

std::vector<std::string> KeysOf(const Json& object);

// A program that is spoken to line by line.
class Conversation {
 public:
  explicit Conversation(const Arguments& arguments);
  ~Conversation();
  Conversation(const Conversation&) = delete;
  Conversation& operator=(const Conversation&) = delete;

  void Say(const std::string& line);
  // Returns the next line, or what came of it within a minute.
  std::string Hear();
  // Ends the program's input and returns its exit code.
  int End();

 private:
  int pid_ = -1;
  int to_program_ = -1;
  int from_program_ = -1;
};

}  // namespace codegen::testing

#endif  // CODEGEN_TESTS_CLI_PROGRAM_H_
