// SPDX-License-Identifier: Apache-2.0
#include "cuda/gemm_tuning.h"

#include <cuda_runtime_api.h>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <filesystem>
#include <iterator>
#include <limits>
#include <span>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/file.h"
#include "base/json.h"
#include "base/new_file.h"
#include "base/quote.h"
#include "codegen/options.h"
#include "cuda/check.h"
#include "cuda/gemm.h"

namespace codegen::cuda {
namespace {

constexpr std::int64_t kTuningFormat = 1;

template <class Value>
struct Named {
  std::string_view name;
  Value value;
};

constexpr Named<GemmEpilogue> kEpilogueNames[] = {{"none", GemmEpilogue::kNone},
                                                  {"bias", GemmEpilogue::kBias},
                                                  {"gelu", GemmEpilogue::kGelu},
                                                  {"gelu_bias", GemmEpilogue::kGeluBias}};
constexpr Named<cudaDataType_t> kTypeNames[] = {
    {"bf16", CUDA_R_16BF}, {"f16", CUDA_R_16F}, {"f32", CUDA_R_32F}};

template <class Value>
std::string_view NameOf(std::span<const Named<Value>> names, Value value) {
  return std::ranges::find(names, value, &Named<Value>::value)->name;
}

// The fields of an object, each of which must be there and be what it should.
class TuningFields {
 public:
  // `where` is what messages begin with.
  TuningFields(std::string where, simdjson::dom::object fields)
      : where_(std::move(where)), fields_(fields) {}

  absl::StatusOr<std::int64_t> Integer(std::string_view name, std::int64_t most) const {
    std::int64_t value = 0;
    if (!fields_[name].get_int64().get(value) && value >= 1 && value <= most) return value;
    return Unlike(name, fmt::format("an integer in [1, {}]", most));
  }

  absl::StatusOr<std::string_view> Text(std::string_view name) const {
    std::string_view text;
    if (!fields_[name].get_string().get(text)) return text;
    return Unlike(name, "a string");
  }

  template <class Value>
  absl::StatusOr<Value> OneOf(std::string_view name, std::span<const Named<Value>> names) const {
    CODEGEN_ASSIGN_OR_RETURN(const std::string_view text, Text(name));
    const auto found = std::ranges::find(names, text, &Named<Value>::name);
    if (found != names.end()) return found->value;
    return absl::DataLossError(fmt::format("{}: \"{}\" is {}, which is none of its values", where_,
                                           name, base::Quote(text)));
  }

  absl::Status Unlike(std::string_view name, std::string_view expected) const {
    return absl::DataLossError(fmt::format("{}: expected \"{}\", {}", where_, name, expected));
  }

 private:
  std::string where_;
  simdjson::dom::object fields_;
};

absl::StatusOr<cublasLtMatmulAlgo_t> ParseAlgorithm(const TuningFields& fields) {
  constexpr std::size_t kDigits = 16;  // of one of its numbers
  cublasLtMatmulAlgo_t algorithm = {};
  CODEGEN_ASSIGN_OR_RETURN(std::string_view digits, fields.Text("algorithm"));
  const auto expected = [&] {
    return fields.Unlike("algorithm",
                         fmt::format("{} hexadecimal digits", kDigits * std::size(algorithm.data)));
  };
  if (digits.size() != kDigits * std::size(algorithm.data)) return expected();
  for (std::uint64_t& number : algorithm.data) {
    const char* const end = digits.data() + kDigits;
    const auto [stopped, error] = std::from_chars(digits.data(), end, number, 16);
    if (error != std::errc() || stopped != end) return expected();
    digits.remove_prefix(kDigits);
  }
  return algorithm;
}

absl::StatusOr<GemmShape> ParseShape(const TuningFields& fields) {
  constexpr std::int64_t kMost = std::numeric_limits<std::int32_t>::max();
  GemmShape shape;
  CODEGEN_ASSIGN_OR_RETURN(shape.rows, fields.Integer("rows", Limits::context));
  CODEGEN_ASSIGN_OR_RETURN(shape.outputs, fields.Integer("outputs", kMost));
  CODEGEN_ASSIGN_OR_RETURN(shape.inputs, fields.Integer("inputs", kMost));
  CODEGEN_ASSIGN_OR_RETURN(shape.epilogue, fields.OneOf<GemmEpilogue>("epilogue", kEpilogueNames));
  CODEGEN_ASSIGN_OR_RETURN(shape.operand_type,
                           fields.OneOf<cudaDataType_t>("operands", kTypeNames));
  CODEGEN_ASSIGN_OR_RETURN(shape.result_type, fields.OneOf<cudaDataType_t>("results", kTypeNames));
  if (shape.rows == RowBucket(shape.rows)) return shape;
  return fields.Unlike("rows", "a number of rows that there are plans for");
}

absl::StatusOr<GemmTuning> ParseProducts(const std::string& name, simdjson::dom::array products) {
  GemmTuning tuning;
  std::size_t index = 0;
  for (const simdjson::dom::element product : products) {
    const std::string where = fmt::format("{}: product {}", name, index++);
    simdjson::dom::object object;
    if (product.get_object().get(object)) {
      return absl::DataLossError(
          fmt::format("{}: expected an object, found {}", where, base::JsonTypeName(product)));
    }
    const TuningFields fields(where, object);
    CODEGEN_ASSIGN_OR_RETURN(const GemmShape shape, ParseShape(fields));
    CODEGEN_ASSIGN_OR_RETURN(const cublasLtMatmulAlgo_t algorithm, ParseAlgorithm(fields));
    if (!tuning.emplace(shape, algorithm).second)
      return absl::DataLossError(fmt::format("{}: the same as one before", where));
  }
  return tuning;
}

std::string ProductLine(const GemmShape& shape, const cublasLtMatmulAlgo_t& algorithm) {
  std::string line = fmt::format(
      R"({{"rows": {}, "outputs": {}, "inputs": {}, "epilogue": "{}", "operands": "{}", )"
      R"("results": "{}", "algorithm": ")",
      shape.rows, shape.outputs, shape.inputs, NameOf<GemmEpilogue>(kEpilogueNames, shape.epilogue),
      NameOf<cudaDataType_t>(kTypeNames, shape.operand_type),
      NameOf<cudaDataType_t>(kTypeNames, shape.result_type));
  for (const std::uint64_t number : algorithm.data) line += fmt::format("{:016x}", number);
  return line + "\"}";
}

// In an order that depends on what there is alone.
std::string TuningText(const TuningOrigin& origin, const GemmTuning& tuning) {
  std::vector<std::pair<GemmShape, cublasLtMatmulAlgo_t>> sorted(tuning.begin(), tuning.end());
  std::ranges::sort(sorted, {}, [](const auto& entry) {
    const auto& [rows, outputs, inputs, epilogue, operand_type, result_type] = entry.first;
    return std::tuple(outputs, inputs, epilogue, operand_type, result_type, rows);
  });
  std::string text = fmt::format(
      R"({{"codegen_tuning": {}, "device": "{}", "multiprocessors": {}, "cublaslt": "{}",)"
      "\n\"products\": [",
      kTuningFormat, origin.device, origin.multiprocessors, origin.blas);
  const char* separator = "\n";
  for (const auto& [shape, algorithm] : sorted)
    text += std::exchange(separator, ",\n") + ProductLine(shape, algorithm);
  return text + "\n]}\n";
}

}  // namespace

absl::StatusOr<TuningOrigin> OriginOf(int device, const BlasFunctions& blas) {
  cudaDeviceProp properties;
  CODEGEN_RETURN_IF_ERROR(
      Check(cudaGetDeviceProperties(&properties, device), "asking for the GPU's name"));
  TuningOrigin origin{.device = properties.name,
                      .multiprocessors = properties.multiProcessorCount,
                      .blas = BlasVersion(blas)};
  std::ranges::replace_if(
      origin.device, [](char c) { return c < ' ' || c > '~' || c == '"' || c == '\\'; }, '?');
  return origin;
}

absl::StatusOr<GemmTuning> ReadTuning(const std::string& path, const TuningOrigin& origin) {
  if (!base::Exists(path)) return GemmTuning();
  CODEGEN_ASSIGN_OR_RETURN(const base::JsonDocument document,
                           base::JsonDocument::Read(path, Limits::tuning_bytes));
  constexpr std::int64_t kMost = std::numeric_limits<std::int32_t>::max();
  const TuningFields fields(document.name(), document.root());
  CODEGEN_ASSIGN_OR_RETURN(const std::int64_t format, fields.Integer("codegen_tuning", kMost));
  if (format != kTuningFormat) return GemmTuning();
  CODEGEN_ASSIGN_OR_RETURN(const std::string_view device, fields.Text("device"));
  CODEGEN_ASSIGN_OR_RETURN(const std::int64_t multiprocessors,
                           fields.Integer("multiprocessors", kMost));
  CODEGEN_ASSIGN_OR_RETURN(const std::string_view blas, fields.Text("cublaslt"));
  simdjson::dom::array products;
  if (document.root()["products"].get_array().get(products))
    return fields.Unlike("products", "an array");
  CODEGEN_ASSIGN_OR_RETURN(GemmTuning tuning, ParseProducts(document.name(), products));
  const TuningOrigin found{.device = std::string(device),
                           .multiprocessors = static_cast<int>(multiprocessors),
                           .blas = std::string(blas)};
  return found == origin ? std::move(tuning) : GemmTuning();
}

absl::Status WriteTuning(const std::string& path, const TuningOrigin& origin,
                         const GemmTuning& tuning) {
  const std::filesystem::path parts(path);
  const std::string folder = parts.has_parent_path() ? parts.parent_path().string() : ".";
  const std::string name = parts.filename().string();
  const std::string text = TuningText(origin, tuning);
  if (static_cast<std::int64_t>(text.size()) > Limits::tuning_bytes) {
    return absl::ResourceExhaustedError(
        fmt::format("{}: {} products take {} bytes, more than the limit of {}", name, tuning.size(),
                    text.size(), Limits::tuning_bytes));
  }
  return base::WriteNewFile(folder, name, text, base::Taken::kReplaced);
}

}  // namespace codegen::cuda
