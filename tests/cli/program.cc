// SPDX-License-Identifier: Apache-2.0
#include "cli/program.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <memory>
#include <sstream>

extern char** environ;

namespace codegen::testing {
namespace {

// A file without a name: what the program writes there can never fill a pipe and stop it.
class ScratchFile {
 public:
  ScratchFile() : file_(std::tmpfile(), std::fclose) {}

  int descriptor() const { return fileno(file_.get()); }

  void Write(const std::string& text) {
    std::fwrite(text.data(), 1, text.size(), file_.get());
    std::rewind(file_.get());
  }

  std::string Read() {
    std::rewind(file_.get());
    std::string text;
    std::array<char, 4096> block;
    while (const std::size_t bytes = std::fread(block.data(), 1, block.size(), file_.get())) {
      text.append(block.data(), bytes);
    }
    return text;
  }

 private:
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> file_;
};

int Spawn(const char* program, const Arguments& arguments, const std::array<int, 3>& descriptors) {
  std::vector<char*> argv = {const_cast<char*>(program)};
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);

  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  for (int i = 0; i < 3; ++i) {
    posix_spawn_file_actions_adddup2(&actions, descriptors[static_cast<std::size_t>(i)], i);
  }
  pid_t pid = -1;
  const int error = posix_spawn(&pid, program, &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  EXPECT_EQ(error, 0) << "cannot start " << program;
  return pid;
}

int ExitCode(int pid) {
  int status = 0;
  if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status)) return -1;
  return WEXITSTATUS(status);
}

Outcome RunToItsEnd(const char* program, const Arguments& arguments, const std::string& input) {
  ScratchFile in;
  ScratchFile out;
  ScratchFile err;
  in.Write(input);
  const int pid = Spawn(program, arguments, {in.descriptor(), out.descriptor(), err.descriptor()});
  const int exit_code = ExitCode(pid);
  return {exit_code, out.Read(), err.Read()};
}

}  // namespace

Outcome RunProgram(const Arguments& arguments, const std::string& input) {
  return RunToItsEnd(CODEGEN_PROGRAM, arguments, input);
}

Outcome RunOther(const char* program, const Arguments& arguments) {
  return RunToItsEnd(program, arguments, "");
}

Outcome RunProgramInto(int out, const Arguments& arguments) {
  ScratchFile in;
  ScratchFile err;
  const int pid = Spawn(CODEGEN_PROGRAM, arguments, {in.descriptor(), out, err.descriptor()});
  const int exit_code = ExitCode(pid);
  return {exit_code, "", err.Read()};
}

Json OutputOf(const Outcome& outcome) {
  const std::vector<Json> lines = LinesOf(outcome);
  return lines.size() == 1 && outcome.out.ends_with('\n') ? lines[0]
                                                          : Json(Json::value_t::discarded);
}

std::vector<Json> LinesOf(const Outcome& outcome) {
  std::vector<Json> lines;
  std::istringstream out(outcome.out);
  for (std::string line; std::getline(out, line);) {
    lines.push_back(Json::parse(line, nullptr, /*allow_exceptions=*/false));
  }
  return lines;
}

std::vector<std::string> KeysOf(const Json& object) {
  std::vector<std::string> keys;
  for (const auto& [key, value] : object.items()) keys.push_back(key);
  return keys;
}

Conversation::Conversation(const Arguments& arguments) {
  std::array<int, 2> in = {-1, -1};
  std::array<int, 2> out = {-1, -1};
  EXPECT_EQ(pipe2(in.data(), O_CLOEXEC) | pipe2(out.data(), O_CLOEXEC), 0);
  pid_ = Spawn(CODEGEN_PROGRAM, arguments, {in[0], out[1], STDERR_FILENO});
  close(in[0]);
  close(out[1]);
  to_program_ = in[1];
  from_program_ = out[0];
}

Conversation::~Conversation() {
  End();
  close(from_program_);
}

void Conversation::Say(const std::string& line) {
  const std::string text = line + "\n";
  EXPECT_EQ(write(to_program_, text.data(), text.size()), static_cast<ssize_t>(text.size()));
}

std::string Conversation::Hear() {
  constexpr int kMilliseconds = 60'000;
  std::string line;
  char byte = 0;
  pollfd ready = {from_program_, POLLIN, 0};
  while (poll(&ready, 1, kMilliseconds) == 1 && read(from_program_, &byte, 1) == 1) {
    if (byte == '\n') break;
    line.push_back(byte);
  }
  return line;
}

int Conversation::End() {
  if (to_program_ < 0) return -1;
  close(to_program_);
  to_program_ = -1;
  return ExitCode(pid_);
}

}  // namespace codegen::testing
