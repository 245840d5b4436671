// SPDX-License-Identifier: Apache-2.0
//
// Where the loader gets the elements of a tensor: from a checkpoint, or from a formula (random
// weights for benchmarks, the sine models of the tests).
#ifndef CODEGEN_MODEL_TENSOR_SOURCE_H_
#define CODEGEN_MODEL_TENSOR_SOURCE_H_

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include <atomic>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "backend/backend.h"
#include "checkpoint/checkpoint.h"
#include "codegen/options.h"
#include "model/model_config.h"
#include "model/weight_names.h"

namespace codegen::model {

class StoredFormats {
 public:
  virtual ~StoredFormats() = default;
  // The format that holds the tensor's values exactly; what WeightFormat::kAuto becomes.
  virtual WeightFormat StoredFormat(const ExpectedTensor& tensor) const = 0;
};

class TensorSource : public StoredFormats {
 public:
  // A vector is a matrix of one row. Errors: as checkpoint::RowReader.
  virtual absl::StatusOr<backend::MatrixSource> Open(const ExpectedTensor& tensor) const = 0;
};

// The tensors of a checkpoint, which must be those of `config`, neither fewer nor others, in the
// right shapes.
class CheckpointSource : public TensorSource {
 public:
  // Errors: INVALID_ARGUMENT naming the tensor (missing, unknown, of another shape), UNIMPLEMENTED
  // (dtype).
  static absl::StatusOr<CheckpointSource> Create(const ModelConfig& config,
                                                 checkpoint::Checkpoint checkpoint);

  absl::StatusOr<backend::MatrixSource> Open(const ExpectedTensor& tensor) const override;
  WeightFormat StoredFormat(const ExpectedTensor& tensor) const override;

 private:
  explicit CheckpointSource(checkpoint::Checkpoint checkpoint)
      : checkpoint_(std::move(checkpoint)) {}
  checkpoint::Checkpoint checkpoint_;
};

// Reproducible noise: matrices uniform in [-0.05, 0.05), gains around 1. Generated row by row, so
// that a model of any size needs no second copy.
class RandomSource : public TensorSource {
 public:
  absl::StatusOr<backend::MatrixSource> Open(const ExpectedTensor& tensor) const override;
  WeightFormat StoredFormat(const ExpectedTensor&) const override { return WeightFormat::kBf16; }
};

// Sums a hash of every row that is read, keyed by tensor and row, in any order and whichever way it
// is read; and refuses NaN and infinity.
class RowInspector {
 public:
  enum class Finite { kRequire, kIgnore };
  explicit RowInspector(Finite finite) : finite_(finite) {}

  // `source`, with each row inspected as it is read. The inspector must outlive the result.
  backend::MatrixSource Inspect(const std::string& name, backend::MatrixSource source);

  // 16 hexadecimal digits that depend on names, shapes and values of all that was read.
  std::string Fingerprint() const;

 private:
  struct Matrix {
    std::string name = {};
    std::int64_t columns = 0;
    WeightFormat stored = WeightFormat::kF32;
  };

  // Rows from `first` on, as floats or as stored.
  template <class Element>
  absl::Status InspectRows(const Matrix& matrix, std::int64_t first, std::span<const Element> rows);

  Finite finite_;
  std::atomic<std::uint64_t> sum_{0};
};

// What the matrices are asked to be held in; kAuto: as stored.
struct WantedFormats {
  WeightFormat blocks = WeightFormat::kAuto;
  WeightFormat outer = WeightFormat::kAuto;  // embedding and output matrix

  // LoadOptions::weights and head_weights, whose kAuto follows the former.
  static WantedFormats From(const LoadOptions& options);
};

// What a tensor is held in. Vectors are float32 always, an embedding at least int8.
WeightFormat HeldFormat(const StoredFormats& source, const ExpectedTensor& tensor,
                        const WantedFormats& wanted);

// Matrices one above the other. Requires: the same columns.
backend::MatrixSource Stacked(std::vector<backend::MatrixSource> parts);

}  // namespace codegen::model

#endif  // CODEGEN_MODEL_TENSOR_SOURCE_H_
