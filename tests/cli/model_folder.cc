// SPDX-License-Identifier: Apache-2.0
#include "cli/model_folder.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <bit>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>
#include <vector>

#include "tokenizer/tokenizer_file.h"

namespace codegen::testing {
namespace {

// Gathers tensors and gives them the form of a safetensors file: the header's size, the header, the
// bytes.
class Weights {
 public:
  void Add(const std::string& name, const std::vector<int>& shape, float mean, float deviation) {
    std::size_t count = 1;
    for (const int size : shape) count *= static_cast<std::size_t>(size);
    const std::size_t begin = bytes_.size();
    std::uniform_real_distribution<float> unit(-1.0F, 1.0F);
    for (std::size_t i = 0; i < count; ++i)
      Append(std::bit_cast<std::uint32_t>(mean + deviation * unit(random_)));
    header_[name] = {{"dtype", "F32"}, {"shape", shape}, {"data_offsets", {begin, bytes_.size()}}};
  }

  std::string File() const {
    const std::string header = header_.dump();
    std::string size;
    for (std::size_t i = 0; i < 8; ++i) size.push_back(static_cast<char>(header.size() >> (8 * i)));
    return size + header + bytes_;
  }

 private:
  void Append(std::uint32_t bits) {
    for (int i = 0; i < 4; ++i) bytes_.push_back(static_cast<char>(bits >> (8 * i)));
  }

  std::mt19937 random_{20220325};
  nlohmann::json header_;
  std::string bytes_;
};

void AddNorm(const std::string& name, Weights& weights) {
  weights.Add(name + ".weight", {32}, 1.0F, 0.2F);
  weights.Add(name + ".bias", {32}, 0.0F, 0.2F);
}

void AddBlock(const std::string& name, Weights& weights) {
  AddNorm(name + ".ln_1", weights);
  weights.Add(name + ".attn.qkv_proj.weight", {96, 32}, 0.0F, 0.4F);
  weights.Add(name + ".attn.out_proj.weight", {32, 32}, 0.0F, 0.4F);
  weights.Add(name + ".mlp.fc_in.weight", {128, 32}, 0.0F, 0.4F);
  weights.Add(name + ".mlp.fc_in.bias", {128}, 0.0F, 0.2F);
  weights.Add(name + ".mlp.fc_out.weight", {32, 128}, 0.0F, 0.2F);
  weights.Add(name + ".mlp.fc_out.bias", {32}, 0.0F, 0.2F);
}

std::string TinyWeights() {
  Weights weights;
  weights.Add("transformer.wte.weight", {300, 32}, 0.0F, 1.0F);
  AddBlock("transformer.h.0", weights);
  AddBlock("transformer.h.1", weights);
  AddNorm("transformer.ln_f", weights);
  weights.Add("lm_head.weight", {300, 32}, 0.0F, 0.5F);
  weights.Add("lm_head.bias", {300}, 0.0F, 0.2F);
  return weights.File();
}

std::string TinyTokenizer() {
  tokenizer::TokenizerFile file;
  file.Merge("d", "e").Merge("de", "f").Added("<|endoftext|>", kEndOfText, true, false);
  return file.Json();
}

}  // namespace

ScratchFolder::ScratchFolder()
    : path_((std::filesystem::temp_directory_path() / "codegen_cli_XXXXXX").string()) {
  EXPECT_NE(mkdtemp(path_.data()), nullptr);
}

ScratchFolder::~ScratchFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::string ScratchFolder::Write(const std::string& name, std::string_view bytes) const {
  const std::string path = path_ + "/" + name;
  std::ofstream(path, std::ios::binary)
      .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  return path;
}

TokenizerFolder::TokenizerFolder() { Write("tokenizer.json", TinyTokenizer()); }

IdsModelFolder::IdsModelFolder() {
  Write("config.json", kTinyConfig);
  Write("model.safetensors", TinyWeights());
}

ModelFolder::ModelFolder() { Write("tokenizer.json", TinyTokenizer()); }

}  // namespace codegen::testing
