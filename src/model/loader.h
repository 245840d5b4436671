// SPDX-License-Identifier: Apache-2.0
//
// Moves the tensors of a source onto a device, in the layout and order that the blocks read. Tensor
// by tensor and row by row: beyond the weights themselves a load needs a few rows of memory per
// thread. Of a shard (shard.h), each rank reads its rows only, but of matrices split by columns
// all.
#ifndef CODEGEN_MODEL_LOADER_H_
#define CODEGEN_MODEL_LOADER_H_

#include <algorithm>
#include <functional>
#include <span>
#include <utility>
#include <vector>

#include "base/check.h"
#include "model/codegen_block.h"
#include "model/llama_block.h"
#include "model/qkv_layout.h"
#include "model/shard.h"
#include "model/tensor_source.h"

namespace codegen::model {

// What a load is told besides the weights.
struct LoadPlan {
  ModelConfig config = {};  // of the whole model
  Shard shard = {};         // the part to load
  WantedFormats formats = {};
  // May be empty; called after each matrix, and ends the load if it fails.
  std::function<absl::Status(std::int64_t elements)> on_tensor = {};
  std::vector<TokenId> calibration = {};  // of CalibratedLoader; empty: as Loader does
};

// `Maker` makes the objects of D as D itself does, or in another way.
template <backend::DeviceConcept D, class Maker = D>
class Loader {
 public:
  // All four must outlive the loader.
  Loader(Maker& maker, const TensorSource& source, RowInspector& inspector, const LoadPlan& plan)
      : maker_(maker), source_(source), inspector_(inspector), plan_(plan) {}

  // Errors: as TensorSource::Open and the device's Make functions.
  template <class Layer>
  absl::StatusOr<Weights<D, Layer>> Load() {
    return Load<Layer>(
        [this](const typename D::Embedding&, int index) { return LoadLayer<Layer>(index); });
  }

  // The same with the layers that layer_of(embedding, index) returns, called in their order.
  template <class Layer, class LayerOf>
  absl::StatusOr<Weights<D, Layer>> Load(const LayerOf& layer_of) {
    const ModelConfig& config = plan_.config;
    const OuterNames names = Outer(config);
    CODEGEN_ASSIGN_OR_RETURN(auto embedding, Embedding(names.embedding));
    std::vector<Layer> layers;
    for (int i = 0; i < config.layers; ++i) {
      CODEGEN_ASSIGN_OR_RETURN(Layer layer, layer_of(std::as_const(embedding), i));
      layers.push_back(std::move(layer));
    }
    CODEGEN_ASSIGN_OR_RETURN(auto final_norm, Norm(names.final_gain, names.final_bias));
    const std::int64_t head_rows = HeadRows(config, plan_.shard.count);
    CODEGEN_ASSIGN_OR_RETURN(auto head, MatrixRows(names.head, names.head_bias, head_rows));
    return Weights<D, Layer>{ShardOf(config, plan_.shard.count), std::move(embedding),
                             std::move(layers), std::move(final_norm), std::move(head)};
  }

  // One layer, its matrices made in the order of weight_table.h.
  template <class Layer>
  absl::StatusOr<Layer> LoadLayer(int index) {
    return LoadLayer(index, static_cast<Layer*>(nullptr));
  }

 private:
  absl::StatusOr<CodeGenLayerOf<D>> LoadLayer(int index, CodeGenLayerOf<D>*) {
    const ModelConfig& config = plan_.config;
    const CodeGenLayerNames names = CodeGenLayer(config, index);
    CODEGEN_ASSIGN_OR_RETURN(auto norm, Norm(names.norm_gain, names.norm_bias));
    CODEGEN_ASSIGN_OR_RETURN(backend::MatrixSource grouped, Open(names.qkv));
    CODEGEN_ASSIGN_OR_RETURN(
        auto qkv, Weight(Heads(UngroupedQkv(std::move(grouped), config.heads, config.qkv_groups)),
                         {}, Format(names.qkv)));
    CODEGEN_ASSIGN_OR_RETURN(auto out, MatrixColumns(names.out, {}));
    CODEGEN_ASSIGN_OR_RETURN(auto up, MatrixRows(names.up, names.up_bias, PartOf(names.up.rows())));
    CODEGEN_ASSIGN_OR_RETURN(auto down, MatrixColumns(names.down, names.down_bias));
    return CodeGenLayerOf<D>{std::move(norm), std::move(qkv), std::move(out), std::move(up),
                             std::move(down)};
  }

  absl::StatusOr<LlamaLayerOf<D>> LoadLayer(int index, LlamaLayerOf<D>*) {
    const LlamaLayerNames names = LlamaLayer(plan_.config, index);
    CODEGEN_ASSIGN_OR_RETURN(auto attention_norm, Norm(names.attention_norm, {}));
    CODEGEN_ASSIGN_OR_RETURN(auto qkv, StackedMatrix({names.q, names.k, names.v}));
    CODEGEN_ASSIGN_OR_RETURN(auto out, MatrixColumns(names.out, {}));
    CODEGEN_ASSIGN_OR_RETURN(auto mlp_norm, Norm(names.mlp_norm, {}));
    CODEGEN_ASSIGN_OR_RETURN(auto gate_up, StackedMatrix({names.gate, names.up}));
    CODEGEN_ASSIGN_OR_RETURN(auto down, MatrixColumns(names.down, {}));
    return LlamaLayerOf<D>{std::move(attention_norm), std::move(qkv),     std::move(out),
                           std::move(mlp_norm),       std::move(gate_up), std::move(down)};
  }

  // A tensor of which this rank reads some rows, and the others the rest.
  absl::StatusOr<backend::MatrixSource> Open(const ExpectedTensor& tensor) {
    CODEGEN_ASSIGN_OR_RETURN(backend::MatrixSource source, source_.Open(tensor));
    return inspector_.Inspect(tensor.name, std::move(source));
  }

  // A tensor that every rank reads whole: the first one inspects it for all.
  absl::StatusOr<backend::MatrixSource> OpenShared(const ExpectedTensor& tensor) {
    return plan_.shard.rank == 0 ? Open(tensor) : source_.Open(tensor);
  }

  // This rank's part of something that is split evenly.
  std::int64_t PartOf(std::int64_t whole) const { return whole / plan_.shard.count; }

  // The rows of this rank, of which every rank has as many.
  backend::MatrixSource Part(backend::MatrixSource source, std::int64_t rows) const {
    return RowsOf(std::move(source), plan_.shard.rank * rows, rows);
  }

  // The heads of this rank in [query; key; value].
  backend::MatrixSource Heads(const backend::MatrixSource& qkv) const {
    const std::int64_t width = plan_.config.attention_width();
    std::vector<backend::MatrixSource> parts;
    for (int kind = 0; kind < 3; ++kind)
      parts.push_back(Part(RowsOf(qkv, kind * width, width), PartOf(width)));
    return Stacked(std::move(parts));
  }

  WeightFormat Format(const ExpectedTensor& tensor) const {
    return HeldFormat(source_, tensor, plan_.formats);
  }

  // Reads a vector whole; an unnamed one is empty.
  absl::StatusOr<std::vector<float>> Vector(const ExpectedTensor& tensor) {
    std::vector<float> values;
    if (tensor.name.empty()) return values;
    CODEGEN_ASSIGN_OR_RETURN(const backend::MatrixSource source, OpenShared(tensor));
    values.resize(static_cast<std::size_t>(tensor.elements()));
    CODEGEN_RETURN_IF_ERROR(source.read(0, 1, values));
    return values;
  }

  absl::StatusOr<typename D::Norm> Norm(const ExpectedTensor& gain, const ExpectedTensor& bias) {
    CODEGEN_ASSIGN_OR_RETURN(const std::vector<float> gains, Vector(gain));
    CODEGEN_ASSIGN_OR_RETURN(const std::vector<float> biases, Vector(bias));
    return maker_.MakeNorm(gains, biases, plan_.config.norm_epsilon);
  }

  absl::StatusOr<typename D::Embedding> Embedding(const ExpectedTensor& tensor) {
    CODEGEN_ASSIGN_OR_RETURN(const backend::MatrixSource source, OpenShared(tensor));
    CODEGEN_ASSIGN_OR_RETURN(auto embedding, maker_.MakeEmbedding(source, Format(tensor)));
    if (plan_.shard.rank == 0) CODEGEN_RETURN_IF_ERROR(Report(source));
    return embedding;
  }

  absl::StatusOr<typename D::Weight> Weight(const backend::MatrixSource& source,
                                            std::span<const float> bias, WeightFormat format) {
    CODEGEN_ASSIGN_OR_RETURN(auto weight, maker_.MakeWeight(source, bias, format));
    CODEGEN_RETURN_IF_ERROR(Report(source));
    return weight;
  }

  // This rank's `rows` rows of a matrix, and what is added to their products.
  absl::StatusOr<typename D::Weight> MatrixRows(const ExpectedTensor& tensor,
                                                const ExpectedTensor& bias, std::int64_t rows) {
    CODEGEN_ASSIGN_OR_RETURN(backend::MatrixSource source, Open(tensor));
    CODEGEN_ASSIGN_OR_RETURN(std::vector<float> biases, Vector(bias));
    if (!biases.empty()) {
      biases.resize(static_cast<std::size_t>(plan_.shard.count * rows));
      biases.erase(biases.begin(), biases.begin() + plan_.shard.rank * rows);
      biases.resize(static_cast<std::size_t>(rows));
    }
    return Weight(Part(std::move(source), rows), biases, Format(tensor));
  }

  // This rank's columns of a matrix. The bias is added by the first rank.
  absl::StatusOr<typename D::Weight> MatrixColumns(const ExpectedTensor& tensor,
                                                   const ExpectedTensor& bias) {
    CODEGEN_ASSIGN_OR_RETURN(backend::MatrixSource source, OpenShared(tensor));
    CODEGEN_ASSIGN_OR_RETURN(std::vector<float> biases, Vector(bias));
    if (plan_.shard.rank > 0) std::ranges::fill(biases, 0.0F);
    const std::int64_t part = PartOf(source.columns);
    return Weight(ColumnsOf(std::move(source), plan_.shard.rank * part, part), biases,
                  Format(tensor));
  }

  // This rank's rows of each, one part above the other. The widest format among the parts holds all
  // of them exactly.
  absl::StatusOr<typename D::Weight> StackedMatrix(const std::vector<ExpectedTensor>& tensors) {
    std::vector<backend::MatrixSource> parts;
    WeightFormat format = Format(tensors.front());
    for (const ExpectedTensor& tensor : tensors) {
      CODEGEN_ASSIGN_OR_RETURN(backend::MatrixSource part, Open(tensor));
      const std::int64_t rows = PartOf(part.rows);
      parts.push_back(Part(std::move(part), rows));
      if (Format(tensor) != format) format = WeightFormat::kF32;
    }
    return Weight(Stacked(std::move(parts)), {}, format);
  }

  absl::Status Report(const backend::MatrixSource& source) const {
    return plan_.on_tensor ? plan_.on_tensor(source.rows * source.columns) : absl::OkStatus();
  }

  Maker& maker_;
  const TensorSource& source_;
  RowInspector& inspector_;
  const LoadPlan& plan_;
};

}  // namespace codegen::model

#endif  // CODEGEN_MODEL_LOADER_H_
