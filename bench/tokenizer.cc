// SPDX-License-Identifier: Apache-2.0
//
// How fast text becomes ids and back, and that no megabyte is slow.
//
//   tokenizer_bench [--benchmark_filter=Code]
//
// Ordinary code is this project's own sources and scripts. The budgets: at least 20 MB/s of code on
// one core; at most 0.3 s for any hostile megabyte, which is 3.5 MB/s. Needs the published
// tokenizer files, in ../shared/data/tokenizers or the folder that CODEGEN_TOKENIZERS names.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/utf8.h"
#include "tokenizer/load_tokenizer.h"

namespace codegen::tokenizer {
namespace {

constexpr std::size_t kMegabyte = 1 << 20;

std::string TokenizersFolder() {
  const char* folder = std::getenv("CODEGEN_TOKENIZERS");
  return folder != nullptr ? folder : CODEGEN_SOURCE_DIR "/../shared/data/tokenizers";
}

using Vocabularies = std::vector<std::pair<std::string, std::shared_ptr<const Vocabulary>>>;

// Empty where the published files are not.
Vocabularies Load() {
  const std::string folder = TokenizersFolder();
  Vocabularies vocabularies;
  for (const char* name : {"codegen1", "codegen2"}) {
    if (auto loaded = LoadTokenizer(folder + "/" + name); loaded.ok()) {
      vocabularies.emplace_back(name, *loaded);
    }
  }
  if (auto loaded = LoadCodeGen25Tokenizer(folder + "/codegen1"); loaded.ok()) {
    vocabularies.emplace_back("codegen25", *loaded);
  }
  return vocabularies;
}

std::string OrdinaryCode() {
  std::vector<std::filesystem::path> paths;
  for (const char* folder : {"/src", "/include", "/tests", "/bench", "/examples"}) {
    const std::filesystem::path root = CODEGEN_SOURCE_DIR + std::string(folder);
    if (!std::filesystem::exists(root)) continue;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(root)) {
      const auto extension = entry.path().extension();
      if (extension == ".cc" || extension == ".h" || extension == ".py") paths.push_back(entry);
    }
  }
  std::sort(paths.begin(), paths.end());
  std::string code;
  for (const auto& path : paths) {
    std::ifstream file(path, std::ios::binary);
    code.append(std::istreambuf_iterator<char>(file), {});
  }
  return code;
}

std::string Repeated(std::string_view unit) {
  std::string text;
  while (text.size() < kMegabyte) text.append(unit);
  return text;
}

// `draw` returns code points.
std::string Drawn(const std::function<char32_t(std::mt19937&)>& draw) {
  std::mt19937 random(1);
  std::string text;
  while (text.size() < kMegabyte) base::AppendUtf8(draw(random), text);
  return text;
}

char32_t AnyCodePoint(std::mt19937& random) {
  const auto value = static_cast<char32_t>(random() % 0x110000);
  return value >= 0xD800 && value < 0xE000 ? U'x' : value;
}

struct Text {
  const char* name;
  std::string text;
};

std::vector<Text> HostileTexts() {
  constexpr std::array<char32_t, 7> kSpaces = {U' ',      U'\t',     U'\n',    U'\r',
                                               U'\u00A0', U'\u2003', U'\u3000'};
  return {
      {"spaces", Repeated(" ")},
      {"tabs", Repeated("\t")},
      {"newlines", Repeated("\n")},
      {"letter_a", Repeated("a")},
      {"carets", Repeated("^")},
      {"digits", Repeated("0123456789")},
      {"quotes", Repeated("'")},
      {"masks_cut_short", Repeated("<mask_89")},
      {"words_without_spaces", Repeated("internationalizationConfiguration")},
      {"random_letters",
       Drawn([](auto& random) { return U'a' + static_cast<char32_t>(random() % 26); })},
      {"random_white_space",
       Drawn([&](auto& random) { return kSpaces[random() % kSpaces.size()]; })},
      {"random_cjk",
       Drawn([](auto& random) { return 0x4E00 + static_cast<char32_t>(random() % 0x5000); })},
      {"random_unicode", Drawn(AnyCodePoint)},
  };
}

void Encode(benchmark::State& state, const Vocabulary& vocabulary, const std::string& text) {
  std::size_t ids = 0;
  for (auto _ : state) {
    const auto encoded = vocabulary.Encode(text, AllowSpecial::kYes);
    ids = encoded->size();
    benchmark::DoNotOptimize(encoded->data());
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(text.size()) * state.iterations());
  state.counters["bytes_per_id"] = static_cast<double>(text.size()) / static_cast<double>(ids);
}

void Decode(benchmark::State& state, const Vocabulary& vocabulary, const std::string& text) {
  const auto ids = vocabulary.Encode(text, AllowSpecial::kNo);
  for (auto _ : state) benchmark::DoNotOptimize(vocabulary.Decode(*ids));
  state.SetBytesProcessed(static_cast<std::int64_t>(text.size()) * state.iterations());
}

void LoadFolder(benchmark::State& state, const std::string& folder) {
  for (auto _ : state) benchmark::DoNotOptimize(LoadTokenizer(folder));
}

void Register(const Vocabularies& vocabularies) {
  static const std::string code = OrdinaryCode();
  static const std::vector<Text> hostile = HostileTexts();
  for (const auto& [name, vocabulary] : vocabularies) {
    const Vocabulary& shared = *vocabulary;
    benchmark::RegisterBenchmark(("Code/encode/" + name).c_str(),
                                 [&shared](auto& state) { Encode(state, shared, code); });
    benchmark::RegisterBenchmark(("Code/decode/" + name).c_str(),
                                 [&shared](auto& state) { Decode(state, shared, code); });
    for (const Text& text : hostile) {
      benchmark::RegisterBenchmark(("Hostile/" + name + "/" + text.name).c_str(), [&](auto& state) {
        Encode(state, shared, text.text);
      })->Unit(benchmark::kMillisecond);
    }
  }
  benchmark::RegisterBenchmark("Load/codegen2", [](auto& state) {
    LoadFolder(state, TokenizersFolder() + "/codegen2");
  })->Unit(benchmark::kMillisecond);
}

}  // namespace
}  // namespace codegen::tokenizer

int main(int argc, char** argv) {
  const auto vocabularies = codegen::tokenizer::Load();
  if (vocabularies.empty()) {
    std::fprintf(stderr, "no tokenizers in %s\n", codegen::tokenizer::TokenizersFolder().c_str());
    return 1;
  }
  benchmark::Initialize(&argc, argv);
  codegen::tokenizer::Register(vocabularies);
  benchmark::RunSpecifiedBenchmarks();
}
