// SPDX-License-Identifier: Apache-2.0
#include "cuda/gemm_tuning.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "base/file.h"
#include "base/new_file.h"
#include "codegen/options.h"
#include "support/simt/runtime/control.h"
#include "support/simt/runtime/cublaslt.h"
#include "support/status_is.h"
#include "support/temp_folder.h"

namespace codegen::cuda {
namespace {

using testing::IsOk;
using testing::StatusIs;
using testing::TempFolder;
using enum absl::StatusCode;

const TuningOrigin kOrigin = {.device = "Some GPU", .multiprocessors = 132, .blas = "13.1.0"};

cublasLtMatmulAlgo_t AlgorithmOf(std::uint64_t number) {
  cublasLtMatmulAlgo_t algorithm = {};
  for (std::uint64_t& each : algorithm.data) each = number++ * 0x9E3779B97F4A7C15U;
  return algorithm;
}

GemmTuning SomeTuning() {
  GemmTuning tuning;
  std::uint64_t number = 0;
  for (const std::int64_t rows : {80, 512, 8192})
    for (const GemmEpilogue epilogue :
         {GemmEpilogue::kNone, GemmEpilogue::kBias, GemmEpilogue::kGelu, GemmEpilogue::kGeluBias})
      for (const cudaDataType_t type : {CUDA_R_16BF, CUDA_R_16F, CUDA_R_32F})
        tuning[{.rows = rows,
                .outputs = 24,
                .inputs = 8,
                .epilogue = epilogue,
                .operand_type = type,
                .result_type = CUDA_R_32F}] = AlgorithmOf(number++);
  return tuning;
}

void ExpectEqual(const GemmTuning& found, const GemmTuning& expected) {
  EXPECT_EQ(found.size(), expected.size());
  for (const auto& [shape, algorithm] : expected) {
    const auto same = found.find(shape);
    ASSERT_NE(same, found.end());
    EXPECT_TRUE(std::ranges::equal(same->second.data, algorithm.data));
  }
}

// A file of one product, with one thing in it replaced.
std::string FileWith(const std::string& what, const std::string& by) {
  std::string text =
      R"({"codegen_tuning": 1, "device": "Some GPU", "multiprocessors": 132, "cublaslt": "13.1.0",)"
      R"( "products": [{"rows": 80, "outputs": 24, "inputs": 8, "epilogue": "bias", )"
      R"("operands": "bf16", "results": "f32", "algorithm": ")" +
      std::string(128, '0') + "\"}]}";
  text.replace(text.find(what), what.size(), by);
  return text;
}

class TuningFile : public ::testing::Test {
 protected:
  absl::StatusOr<GemmTuning> Read(const std::string& text) {
    EXPECT_THAT(base::WriteNewFile(folder_.path(), "tuning", text, base::Taken::kReplaced), IsOk());
    return ReadTuning(path(), kOrigin);
  }
  std::string path() const { return folder_.Path("tuning"); }

  TempFolder folder_;
};

TEST_F(TuningFile, KeepsWhatWasWritten) {
  for (const GemmTuning& tuning : {SomeTuning(), GemmTuning()}) {
    ASSERT_THAT(WriteTuning(path(), kOrigin, tuning), IsOk());

    const absl::StatusOr<GemmTuning> read = ReadTuning(path(), kOrigin);

    ASSERT_THAT(read, IsOk());
    ExpectEqual(*read, tuning);
  }
}

TEST_F(TuningFile, DependsOnWhatItHoldsAlone) {
  GemmTuning reversed;
  const GemmTuning tuning = SomeTuning();
  std::vector<std::pair<GemmShape, cublasLtMatmulAlgo_t>> entries(tuning.begin(), tuning.end());
  reversed.insert(entries.rbegin(), entries.rend());
  ASSERT_THAT(WriteTuning(path(), kOrigin, tuning), IsOk());
  const std::string text = *base::ReadFile(path(), Limits::tuning_bytes);

  ASSERT_THAT(WriteTuning(path(), kOrigin, reversed), IsOk());

  EXPECT_EQ(*base::ReadFile(path(), Limits::tuning_bytes), text);
}

TEST_F(TuningFile, IsEmptyWhereThereIsNone) {
  const absl::StatusOr<GemmTuning> read = ReadTuning(path(), kOrigin);

  ASSERT_THAT(read, IsOk());
  EXPECT_TRUE(read->empty());
}

TEST_F(TuningFile, CountsForWhatItWasMeasuredWithAlone) {
  ASSERT_THAT(Read(FileWith("80", "80")), IsOk());
  EXPECT_EQ(Read(FileWith("80", "80"))->size(), 1U);

  for (const auto& [what, by] : std::vector<std::pair<std::string, std::string>>{
           {"Some GPU", "Some other GPU"},
           {"132", "114"},
           {"13.1.0", "13.1.1"},
           {R"("codegen_tuning": 1)", R"("codegen_tuning": 2)"}}) {
    const absl::StatusOr<GemmTuning> stale = Read(FileWith(what, by));
    ASSERT_THAT(stale, IsOk()) << by;
    EXPECT_TRUE(stale->empty()) << by;
  }
}

TEST_F(TuningFile, IsRefusedWhereItIsNotOne) {
  for (const char* text : {"", "not JSON", "[]", "{}", R"({"codegen_tuning": "1"})",
                           R"({"codegen_tuning": 0})", R"({"codegen_tuning": 1})"}) {
    EXPECT_THAT(Read(text), StatusIs(kDataLoss, "tuning")) << text;
  }
  EXPECT_THAT(ReadTuning(folder_.path(), kOrigin), StatusIs(kInvalidArgument));
}

TEST_F(TuningFile, IsRefusedByField) {
  const std::string digits(128, '0');
  for (const auto& [what, by, message] :
       std::vector<std::tuple<std::string, std::string, std::string>>{
           {"\"Some GPU\"", "7", "tuning: expected \"device\", a string"},
           {"\"device\"", "\"other\"", "expected \"device\", a string"},
           {"132", "-132", "expected \"multiprocessors\", an integer in [1, 2147483647]"},
           {"132", "132.5", "expected \"multiprocessors\", an integer"},
           {"\"13.1.0\"", "[]", "expected \"cublaslt\", a string"},
           {"\"products\": [", "\"products\": 1, \"x\": [", "expected \"products\", an array"},
           {"[{", "[3, {", "product 0: expected an object, found integer"},
           {"80", "0", "product 0: expected \"rows\", an integer in [1, 1048576]"},
           {"80", "1048577", "product 0: expected \"rows\", an integer in [1, 1048576]"},
           {"80", "81", "product 0: expected \"rows\", a number of rows that there are plans for"},
           {"24", "2147483648", "product 0: expected \"outputs\", an integer in [1, 2147483647]"},
           {"\"inputs\": 8", "\"inputs\": \"8\"", "product 0: expected \"inputs\", an integer"},
           {"\"bias\"", "\"relu\"", "product 0: \"epilogue\" is \"relu\", which is none of its"},
           {"\"bf16\"", "\"f64\"", "product 0: \"operands\" is \"f64\", which is none of its"},
           {"\"f32\"", "null", "product 0: expected \"results\", a string"},
           {digits, digits + "0", "product 0: expected \"algorithm\", 128 hexadecimal digits"},
           {digits, digits.substr(1), "product 0: expected \"algorithm\", 128 hexadecimal digits"},
           {digits, "-" + digits.substr(1), "expected \"algorithm\", 128 hexadecimal digits"},
           {digits, digits.substr(1) + "g", "expected \"algorithm\", 128 hexadecimal digits"}}) {
    EXPECT_THAT(Read(FileWith(what, by)), StatusIs(kDataLoss, message)) << by;
  }
}

TEST_F(TuningFile, IsRefusedWithAProductTwice) {
  const std::string text = FileWith("80", "80");
  const std::size_t first = text.find("[{") + 1;
  const std::string product = text.substr(first, text.find("}]") + 1 - first);

  EXPECT_THAT(Read(FileWith("[{", "[" + product + ", {")),
              StatusIs(kDataLoss, "product 1: the same as one before"));
}

TEST_F(TuningFile, IsBoundedInSize) {
  EXPECT_THAT(Read(std::string(Limits::tuning_bytes + 1, ' ')), StatusIs(kResourceExhausted));

  GemmTuning large;
  for (int inputs = 1; inputs <= 5000; ++inputs)
    large[{.rows = 80, .outputs = 8, .inputs = inputs}] = AlgorithmOf(1);
  ASSERT_THAT(WriteTuning(path(), kOrigin, SomeTuning()), IsOk());
  EXPECT_THAT(WriteTuning(path(), kOrigin, large),
              StatusIs(kResourceExhausted, "tuning: 5000 products take"));
  ExpectEqual(*ReadTuning(path(), kOrigin), SomeTuning());
}

TEST_F(TuningFile, SaysWhyItCannotBeWritten) {
  EXPECT_THAT(WriteTuning(folder_.Path("nowhere/tuning"), kOrigin, {}), StatusIs(kNotFound));
  EXPECT_THAT(WriteTuning(folder_.path(), kOrigin, {}), StatusIs(kFailedPrecondition));
}

TEST(OriginOf, IsTheDeviceAndTheLibrary) {
  simt::Reset({.devices = 2});

  const absl::StatusOr<TuningOrigin> origin = OriginOf(1, simt::PretendBlas());

  ASSERT_THAT(origin, IsOk());
  EXPECT_EQ(
      *origin,
      (TuningOrigin{.device = "Pretend NVIDIA H200", .multiprocessors = 132, .blas = "13.1.0"}));
  EXPECT_THAT(OriginOf(2, simt::PretendBlas()), StatusIs(kFailedPrecondition));
  simt::Reset();
}

}  // namespace
}  // namespace codegen::cuda
