// SPDX-License-Identifier: Apache-2.0
//
// A model.safetensors that holds a model as it lies in memory: what it says of itself, and which
// format each of its matrices has.
//
//   __metadata__  "format": "codegen", and
//                 "codegen.layout"        the device's name for the order of the bytes
//                 "codegen.weights"       of the blocks, a WeightFormatName; "auto" where they
//                 differ "codegen.head_weights"  of the output matrix "codegen.fingerprint"
//                 ModelInfo::fingerprint "codegen.qkv_groups"    of the model that was saved; 0 for
//                 LLaMA-type models "codegen.tokenizer"     "files" as they are, "codegen25" built
//                 from GPT-2's, "none"
//   tensors       every object of weight_table.h in its parts (backend/savable.h), "object.part":
//                 "blocks.0.qkv.int8", "blocks.0.qkv.scales", "final_norm.gain"
#ifndef CODEGEN_MODEL_SAVED_MODEL_H_
#define CODEGEN_MODEL_SAVED_MODEL_H_

#include <absl/status/statusor.h>

#include <map>
#include <string>
#include <string_view>

#include "checkpoint/checkpoint.h"
#include "model/tensor_source.h"

namespace codegen::model {

enum class SavedTokenizer { kNone, kFiles, kCodeGen25 };

// What a saved model says of itself.
struct SavedHeader {
  using Metadata = std::map<std::string, std::string>;

  std::string layout = {};
  WeightFormat weights = WeightFormat::kAuto;
  WeightFormat head_weights = WeightFormat::kAuto;
  std::string fingerprint = {};
  int qkv_groups = 0;
  SavedTokenizer tokenizer = SavedTokenizer::kNone;

  // Whether `metadata` is that of a saved model, sound or not.
  static bool IsIn(const Metadata& metadata);
  // Errors: DATA_LOSS naming the field (missing, unknown, or not what it must be); UNIMPLEMENTED (a
  // field that this version does not know).
  static absl::StatusOr<SavedHeader> Parse(const Metadata& metadata);
  Metadata ToMetadata() const;
};

// The tensors of a saved model.
class SavedModel : public StoredFormats {
 public:
  // Errors: as SavedHeader::Parse; INVALID_ARGUMENT naming a matrix that is missing or there twice.
  static absl::StatusOr<SavedModel> Create(const ModelConfig& config,
                                           checkpoint::Checkpoint checkpoint);

  const SavedHeader& header() const { return header_; }
  const checkpoint::Checkpoint& checkpoint() const { return checkpoint_; }

  WeightFormat StoredFormat(const ExpectedTensor& tensor) const override;
  // Of a matrix of weight_table.h.
  WeightFormat FormatOf(const std::string& object) const { return formats_.at(object); }

 private:
  SavedModel(SavedHeader header, checkpoint::Checkpoint checkpoint);
  absl::Status FindFormats(const ModelConfig& config);

  SavedHeader header_;
  checkpoint::Checkpoint checkpoint_;
  std::map<std::string, std::string> object_of_;  // by the name of the published tensor
  std::map<std::string, WeightFormat> formats_;   // by object
};

}  // namespace codegen::model

#endif  // CODEGEN_MODEL_SAVED_MODEL_H_
