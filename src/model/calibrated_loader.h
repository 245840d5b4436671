// SPDX-License-Identifier: Apache-2.0
//
// A Loader that rounds the matrices of the blocks to int4 by what a text multiplies them by
// (calibration.h, quant/gptq.h). Block by block: the original is loaded as float32, the text goes
// through it, and then it is loaded again to be rounded. Beyond the weights a load needs one block
// in float32, a Hessian for each of its matrices, and the residual stream of the text.
#ifndef CODEGEN_MODEL_CALIBRATED_LOADER_H_
#define CODEGEN_MODEL_CALIBRATED_LOADER_H_

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "base/check.h"
#include "model/calibration.h"
#include "model/loader.h"
#include "quant/gptq.h"

namespace codegen::model {

// Makes the objects of one block on a device, its matrices rounded each by its Hessian.
template <CalibratedDevice D>
class CalibratedMaker {
 public:
  // `hessians` are of the matrices in the order in which they will be made.
  CalibratedMaker(D& device, std::vector<quant::Hessian> hessians)
      : device_(device), hessians_(std::move(hessians)) {}

  // Requires: `format` is kInt4. Errors: as Gptq::Create and D::MakeWeight.
  absl::StatusOr<typename D::Weight> MakeWeight(const backend::MatrixSource& source,
                                                std::span<const float> bias,
                                                [[maybe_unused]] WeightFormat format) {
    CODEGEN_DCHECK(format == WeightFormat::kInt4 && made_ < hessians_.size());
    CODEGEN_ASSIGN_OR_RETURN(const quant::Gptq gptq,
                             quant::Gptq::Create(std::move(hessians_[made_++]), device_.pool()));
    CODEGEN_DCHECK(gptq.inputs() == source.columns);
    const auto read = [&](std::int64_t first, std::int64_t count, std::span<std::uint8_t> codes,
                          std::span<quant::Int4Scale> scales) -> absl::Status {
      std::vector<float> rows(static_cast<std::size_t>(count * source.columns));
      CODEGEN_RETURN_IF_ERROR(source.read(first, count, rows));
      gptq.Round(rows, codes, scales);
      return absl::OkStatus();
    };
    return device_.MakeWeight(
        quant::Int4Source{.rows = source.rows, .columns = source.columns, .read = read}, bias);
  }

  absl::StatusOr<typename D::Norm> MakeNorm(std::span<const float> gain,
                                            std::span<const float> bias, float epsilon) {
    return device_.MakeNorm(gain, bias, epsilon);
  }

 private:
  D& device_;
  std::vector<quant::Hessian> hessians_;
  std::size_t made_ = 0;
};

template <backend::Backend B>
requires CalibratedDevice<typename B::Device>
class CalibratedLoader {
 public:
  using D = typename B::Device;

  // All must outlive the loader; the text is moved through the blocks on `exact`, which computes
  // in float32. Requires: plan.formats.blocks is kInt4, plan.calibration is not empty.
  CalibratedLoader(D& device, D& exact, const TensorSource& source, RowInspector& inspector,
                   const LoadPlan& plan)
      : device_(device), exact_(exact), source_(source), inspector_(inspector), plan_(plan) {}

  // Errors: as Loader::Load and Gptq::Create. Weights that are not finite are refused.
  template <class Layer>
  absl::StatusOr<Weights<D, Layer>> Load() {
    CODEGEN_ASSIGN_OR_RETURN(auto text,
                             Calibration<B>::Make(exact_, plan_.config, plan_.calibration));
    Loader<D> loader(device_, source_, inspector_, plan_);
    return loader.template Load<Layer>(
        [&](const typename D::Embedding& embedding, int index) -> absl::StatusOr<Layer> {
          if (index == 0) text.Embed(embedding);
          CODEGEN_ASSIGN_OR_RETURN(auto hessians, RunOriginal<Layer>(index, text));
          CalibratedMaker<D> maker(device_, std::move(hessians));
          Loader<D, CalibratedMaker<D>> rounding(maker, source_, inspector_, plan_);
          return rounding.template LoadLayer<Layer>(index);
        });
  }

 private:
  // Its own inspector: what is read twice counts once in the fingerprint.
  template <class Layer>
  absl::StatusOr<std::vector<quant::Hessian>> RunOriginal(int index, Calibration<B>& text) {
    const LoadPlan plan{.config = plan_.config, .formats = {.blocks = WeightFormat::kF32}};
    RowInspector inspector(RowInspector::Finite::kRequire);
    Loader<D> loader(exact_, source_, inspector, plan);
    CODEGEN_ASSIGN_OR_RETURN(const Layer layer, loader.template LoadLayer<Layer>(index));
    return text.Run(layer);
  }

  D& device_;
  D& exact_;
  const TensorSource& source_;
  RowInspector& inspector_;
  const LoadPlan& plan_;
};

}  // namespace codegen::model

#endif  // CODEGEN_MODEL_CALIBRATED_LOADER_H_
