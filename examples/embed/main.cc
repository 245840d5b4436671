// SPDX-License-Identifier: Apache-2.0
//
// The smallest program that completes code: embed MODEL-FOLDER [PROMPT]
#include <codegen/codegen.h>

#include <cstdio>
#include <iostream>
#include <string_view>

int main(int argc, char** argv) {
  if (argc < 2) {
    std::cerr << "usage: embed MODEL-FOLDER [PROMPT]\n";
    return 2;
  }
  auto model = codegen::Model::Load(argv[1]);
  if (!model.ok()) {
    std::cerr << model.status() << '\n';
    return 1;
  }
  auto session = codegen::Session::Create(*model);
  if (!session.ok()) {
    std::cerr << session.status() << '\n';
    return 1;
  }

  const char* prompt =
      argc > 2 ? argv[2] : "def find(items, target):\n    for i, item in enumerate(items):\n";
  auto completion =
      session->Complete({.prompt = prompt, .max_new_tokens = 48, .stop = {.strings = {"\n\n"}}},
                        [](std::string_view text) {
                          std::fwrite(text.data(), 1, text.size(), stdout);
                          return codegen::Next::kContinue;
                        });
  if (!completion.ok()) {
    std::cerr << completion.status() << '\n';
    return 1;
  }
  std::printf("\n(%d tokens, %s)\n", completion->usage.completion_tokens,
              codegen::FinishReasonName(completion->finish_reason));
}
