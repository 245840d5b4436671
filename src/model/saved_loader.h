// SPDX-License-Identifier: Apache-2.0
//
// Moves a saved model (saved_model.h) onto a device: makes all objects, holds the file against
// them, and reads each tensor straight into its place on all threads. What costs time is the copy
// alone; the file is read, not mapped, so that nobody can change weights in use.
#ifndef CODEGEN_MODEL_SAVED_LOADER_H_
#define CODEGEN_MODEL_SAVED_LOADER_H_

#include <fmt/format.h>

#include <cstdint>
#include <functional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "backend/savable.h"
#include "base/check.h"
#include "base/quote.h"
#include "base/thread_pool.h"
#include "model/saved_model.h"
#include "model/weight_table.h"
#include "model/weights.h"

namespace codegen::model {

// What loading a saved model is told besides the model.
struct SavedPlan {
  ModelConfig config = {};
  RowInspector::Finite finite = RowInspector::Finite::kRequire;
  // May be empty; called after each matrix, and ends the load if it fails.
  std::function<absl::Status(std::int64_t elements)> on_tensor = {};
};

// Errors: INVALID_ARGUMENT naming the tensor, what was expected and what was found.
absl::Status CheckPart(const checkpoint::Checkpoint& checkpoint, const std::string& name,
                       const backend::Part& part);

// Errors: INVALID_ARGUMENT naming a tensor that is none of `names`, which are all there.
absl::Status CheckNoOther(const checkpoint::Checkpoint& checkpoint, std::vector<std::string> names);

// Fills a part from its tensor. Errors: DATA_LOSS naming the tensor.
absl::Status ReadPart(const checkpoint::TensorEntry& tensor, RowInspector::Finite finite,
                      base::ThreadPool& pool, const backend::Part& part);

template <backend::SavableDevice D>
class SavedLoader {
 public:
  // All three must outlive the loader.
  SavedLoader(D& device, const SavedModel& saved, const SavedPlan& plan)
      : device_(device), saved_(saved), plan_(plan) {}

  // Errors: UNIMPLEMENTED (a layout that is not the device's); as CheckPart, CheckNoOther, ReadPart
  // and the device's Allocate.
  template <class Layer>
  absl::StatusOr<Weights<D, Layer>> Load() {
    CODEGEN_RETURN_IF_ERROR(CheckLayout());
    Weights<D, Layer> weights;
    weights.config = plan_.config;
    weights.layers.resize(static_cast<std::size_t>(plan_.config.layers));
    CODEGEN_RETURN_IF_ERROR(Allocate(weights));
    CODEGEN_RETURN_IF_ERROR(Check(weights));
    CODEGEN_RETURN_IF_ERROR(Read(weights));
    return weights;
  }

 private:
  absl::Status CheckLayout() const {
    if (saved_.header().layout == D::kLayout) return absl::OkStatus();
    return absl::UnimplementedError(fmt::format(
        "model.safetensors: saved in the layout {}, this version reads {}; save the model anew",
        base::Quote(saved_.header().layout), base::Quote(D::kLayout)));
  }

  template <class Weights>
  absl::Status Allocate(Weights& weights) {
    return VisitWeights(weights, [&]<class Object>(const WeightEntry& entry, Object& object) {
      backend::Outline outline = entry.outline;
      if constexpr (kIsMatrix<Object>) outline.format = saved_.FormatOf(entry.name);
      return device_.Allocate(outline, object);
    });
  }

  template <class Weights>
  absl::Status Check(Weights& weights) {
    std::vector<std::string> names;
    CODEGEN_RETURN_IF_ERROR(VisitWeights(weights, [&](const WeightEntry& entry, auto& object) {
      return VisitParts<D>(entry, object, [&](const std::string& name, const backend::Part& part) {
        names.push_back(name);
        return CheckPart(saved_.checkpoint(), name, part);
      });
    }));
    return CheckNoOther(saved_.checkpoint(), std::move(names));
  }

  template <class Weights>
  absl::Status Read(Weights& weights) {
    return VisitWeights(
        weights, [&]<class Object>(const WeightEntry& entry, Object& object) -> absl::Status {
          CODEGEN_RETURN_IF_ERROR(VisitParts<D>(entry, object, [&](const auto& name, auto& part) {
            return ReadPart(saved_.checkpoint().tensors().at(name), plan_.finite, device_.pool(),
                            part);
          }));
          if (kIsMatrix<Object> && plan_.on_tensor)
            return plan_.on_tensor(entry.outline.rows * entry.outline.columns);
          return absl::OkStatus();
        });
  }

  template <class Object>
  static constexpr bool kIsMatrix = !std::is_same_v<Object, typename D::Norm>;

  D& device_;
  const SavedModel& saved_;
  const SavedPlan& plan_;
};

}  // namespace codegen::model

#endif  // CODEGEN_MODEL_SAVED_LOADER_H_
