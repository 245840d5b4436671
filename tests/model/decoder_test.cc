// SPDX-License-Identifier: Apache-2.0
//
// Both architectures over the reference backend, against numbers computed by an independent
// program.
#include "model/decoder.h"

#include <gtest/gtest.h>

#include <numeric>

#include "model/loader.h"
#include "support/reference_backend.h"
#include "support/sine_model.h"

namespace codegen::model {
namespace {

using testing::ReferenceBackend;
using testing::ReferenceDevice;

// One sequence from its start, in pages out of order; logits of its last token.
template <class Layer>
std::vector<float> LastLogits(const ModelConfig& config, const std::vector<int>& prompt) {
  ReferenceDevice device;
  RowInspector inspector(RowInspector::Finite::kRequire);
  const testing::SineSource source(config);
  const LoadPlan plan{.config = config};
  auto weights = Loader<ReferenceDevice>(device, source, inspector, plan).template Load<Layer>();
  EXPECT_TRUE(weights.ok()) << weights.status();
  std::vector<ReferenceDevice::KvLayer> kv;
  for (int i = 0; i < config.layers; ++i) kv.push_back(*device.MakeKvLayer(3, config.heads));
  auto activations = MakeActivations(device, config, static_cast<std::int64_t>(prompt.size()), 1);
  std::vector<std::int32_t> positions(prompt.size());
  std::iota(positions.begin(), positions.end(), 0);
  const std::vector<std::int32_t> first_row = {0, static_cast<std::int32_t>(prompt.size())};
  const std::vector<std::int32_t> first_page = {0, 2};
  const std::vector<std::int32_t> pages = {2, 0};
  const std::vector<std::int32_t> logit_rows = {static_cast<std::int32_t>(prompt.size()) - 1};
  ReferenceBackend backend(device);

  Forward(backend, *weights, {prompt, positions, first_row, first_page, pages, logit_rows}, kv,
          *activations);

  std::vector<float> logits(static_cast<std::size_t>(config.vocabulary));
  device.Download(activations->logits, logits);
  return logits;
}

// The published numbers have six decimals; weights are rounded to float32, which moves a logit by
// less than 1e-6.
void ExpectClose(const std::vector<float>& found, const std::vector<double>& expected) {
  ASSERT_EQ(found.size(), expected.size());
  for (std::size_t i = 0; i < found.size(); ++i)
    EXPECT_NEAR(found[i], expected[i], 2e-6) << "logit " << i;
}

TEST(Decoder, ComputesCodeGenWithFourGroups) {
  ExpectClose(
      LastLogits<CodeGenLayerOf<ReferenceDevice>>(testing::TinyCodeGen(4), testing::TinyPrompt()),
      testing::TinyCodeGenLogits(4));
}

TEST(Decoder, ComputesCodeGenWithEightGroups) {
  ExpectClose(
      LastLogits<CodeGenLayerOf<ReferenceDevice>>(testing::TinyCodeGen(8), testing::TinyPrompt()),
      testing::TinyCodeGenLogits(8));
}

TEST(Decoder, ComputesLlama) {
  ExpectClose(
      LastLogits<LlamaLayerOf<ReferenceDevice>>(testing::TinyLlama(), testing::TinyPrompt()),
      testing::TinyLlamaLogits());
}

}  // namespace
}  // namespace codegen::model
