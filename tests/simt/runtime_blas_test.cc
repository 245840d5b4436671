// SPDX-License-Identifier: Apache-2.0
//
// The rules of cuBLASLt that its substitute enforces; that it multiplies right is seen by
// tests/cuda/gemm_test.cc.
#include <cublasLt.h>
#include <gtest/gtest.h>

#include <array>
#include <cstdint>

#include "simt/runtime_calls.h"
#include "support/simt/runtime/cublaslt.h"

namespace codegen::simt {
namespace {

struct Matrix {
  cudaDataType type = CUDA_R_16BF;
  std::uint64_t rows = 16;
  std::uint64_t columns = 16;
  std::int64_t stride = 16;
};

struct Question {
  cublasComputeType_t compute = CUBLAS_COMPUTE_32F;
  cublasOperation_t transpose_a = CUBLAS_OP_T;
  cublasOperation_t transpose_b = CUBLAS_OP_N;
  cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
  Matrix a, b, c, d;
  std::uint64_t workspace_bytes = std::uint64_t{32} << 20;
};

// The objects of one product, which is 16 x 16 x 16 and allowed unless asked otherwise.
class SimtBlas : public testing::Test {
 protected:
  void SetUp() override {
    Reset();
    ASSERT_EQ(blas_.Create(&context_), CUBLAS_STATUS_SUCCESS);
  }
  void TearDown() override {
    Forget();
    blas_.Destroy(context_);
    Reset();
  }

  cublasStatus_t Ask(const Question& question) {
    Forget();
    blas_.MatmulDescCreate(&product_, question.compute, CUDA_R_32F);
    Set(CUBLASLT_MATMUL_DESC_TRANSA, question.transpose_a);
    Set(CUBLASLT_MATMUL_DESC_TRANSB, question.transpose_b);
    Set(CUBLASLT_MATMUL_DESC_EPILOGUE, question.epilogue);
    const Matrix* matrices[] = {&question.a, &question.b, &question.c, &question.d};
    for (std::size_t i = 0; i < 4; ++i)
      blas_.MatrixLayoutCreate(&layouts_[i], matrices[i]->type, matrices[i]->rows,
                               matrices[i]->columns, matrices[i]->stride);
    blas_.MatmulPreferenceCreate(&preference_);
    blas_.MatmulPreferenceSetAttribute(preference_, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                       &question.workspace_bytes, sizeof(std::uint64_t));
    return blas_.MatmulAlgoGetHeuristic(context_, product_, layouts_[0], layouts_[1], layouts_[2],
                                        layouts_[3], preference_, 3, found_.data(), &count_);
  }

  template <class Value>
  void Set(cublasLtMatmulDescAttributes_t attribute, Value value) {
    EXPECT_EQ(blas_.MatmulDescSetAttribute(product_, attribute, &value, sizeof value),
              CUBLAS_STATUS_SUCCESS);
  }

  struct Call {
    std::ptrdiff_t shift = 0;  // of x, in elements
    std::size_t algorithm = 0;
    std::size_t workspace_bytes = std::size_t{32} << 20;
  };

  cublasStatus_t Multiply(const Call& call) {
    constexpr std::size_t kElements = 1024;
    const float one = 1;
    const float zero = 0;
    auto* w = DeviceArray<std::uint16_t>(kElements);
    auto* x = DeviceArray<std::uint16_t>(kElements) + call.shift;
    auto* y = DeviceArray<std::uint16_t>(kElements);
    return blas_.Matmul(context_, product_, &one, w, layouts_[0], x, layouts_[1], &zero, y,
                        layouts_[2], y, layouts_[3], &found_[call.algorithm].algo,
                        DeviceArray<char>(call.workspace_bytes), call.workspace_bytes, nullptr);
  }

  void Forget() {
    if (product_ == nullptr) return;
    blas_.MatmulDescDestroy(product_);
    for (const cublasLtMatrixLayout_t layout : layouts_) blas_.MatrixLayoutDestroy(layout);
    blas_.MatmulPreferenceDestroy(preference_);
    product_ = nullptr;
  }

  const cuda::BlasFunctions blas_ = PretendBlas();
  cublasLtHandle_t context_ = nullptr;
  cublasLtMatmulDesc_t product_ = nullptr;
  std::array<cublasLtMatrixLayout_t, 4> layouts_ = {};
  cublasLtMatmulPreference_t preference_ = nullptr;
  std::array<cublasLtMatmulHeuristicResult_t, 3> found_ = {};
  int count_ = 0;
};

TEST_F(SimtBlas, OffersThreeAlgorithms) {
  EXPECT_EQ(Ask({}), CUBLAS_STATUS_SUCCESS);

  EXPECT_EQ(count_, 3);
}

TEST_F(SimtBlas, OffersOnlyAlgorithmsWithinTheWorkspace) {
  EXPECT_EQ(Ask({.workspace_bytes = std::uint64_t{4} << 20}), CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(count_, 2);

  EXPECT_EQ(Ask({.workspace_bytes = 0}), CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(count_, 1);
}

TEST_F(SimtBlas, WantsTheFirstTransposedAndTheSecondNot) {
  EXPECT_EQ(Ask({.transpose_a = CUBLAS_OP_N}), CUBLAS_STATUS_NOT_SUPPORTED);
  EXPECT_EQ(Ask({.transpose_b = CUBLAS_OP_T}), CUBLAS_STATUS_NOT_SUPPORTED);
}

TEST_F(SimtBlas, WantsTypesThatGoTogether) {
  const Matrix half = {.type = CUDA_R_16F};
  const Matrix single = {.type = CUDA_R_32F};

  EXPECT_EQ(Ask({.a = half}), CUBLAS_STATUS_NOT_SUPPORTED);
  EXPECT_EQ(Ask({.c = half, .d = half}), CUBLAS_STATUS_NOT_SUPPORTED);
  EXPECT_EQ(Ask({.a = single, .b = single}), CUBLAS_STATUS_NOT_SUPPORTED);
  EXPECT_EQ(Ask({.c = single, .d = single}), CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(Ask({.compute = CUBLAS_COMPUTE_16F}), CUBLAS_STATUS_NOT_SUPPORTED);
}

TEST_F(SimtBlas, WantsSizesThatGoTogether) {
  EXPECT_EQ(Ask({.a = {.rows = 8}}), CUBLAS_STATUS_INVALID_VALUE);
  EXPECT_EQ(Ask({.a = {.columns = 8}}), CUBLAS_STATUS_INVALID_VALUE);
  EXPECT_EQ(Ask({.b = {.columns = 8}}), CUBLAS_STATUS_INVALID_VALUE);
  EXPECT_EQ(Ask({.c = {.stride = 24}}), CUBLAS_STATUS_INVALID_VALUE);
}

TEST_F(SimtBlas, WantsLeadingDimensionsThatHoldAColumn) {
  EXPECT_EQ(Ask({.b = {.stride = 8}}), CUBLAS_STATUS_INVALID_VALUE);
  EXPECT_EQ(Ask({.b = {.stride = 24}}), CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(Ask({.b = {.stride = 20}}), CUBLAS_STATUS_NOT_SUPPORTED) << "40 bytes";
}

TEST_F(SimtBlas, KnowsFourEpilogues) {
  EXPECT_EQ(Ask({.epilogue = CUBLASLT_EPILOGUE_GELU_BIAS}), CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(Ask({.epilogue = CUBLASLT_EPILOGUE_RELU}), CUBLAS_STATUS_NOT_SUPPORTED);
}

TEST_F(SimtBlas, WantsTheAlignmentThatWasPromised) {
  ASSERT_EQ(Ask({}), CUBLAS_STATUS_SUCCESS);

  EXPECT_EQ(Multiply({}), CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(Multiply({.shift = 64}), CUBLAS_STATUS_INVALID_VALUE) << "128 of 256 bytes";
  EXPECT_EQ(Multiply({.shift = 128}), CUBLAS_STATUS_SUCCESS);
}

TEST_F(SimtBlas, WantsTheWorkspaceOfTheAlgorithm) {
  ASSERT_EQ(Ask({}), CUBLAS_STATUS_SUCCESS);

  EXPECT_EQ(Multiply({.algorithm = 2, .workspace_bytes = 8 << 20}), CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(Multiply({.algorithm = 2, .workspace_bytes = (8 << 20) - 1}),
            CUBLAS_STATUS_INVALID_VALUE);
  EXPECT_EQ(Multiply({.algorithm = 0, .workspace_bytes = 0}), CUBLAS_STATUS_SUCCESS);
}

TEST_F(SimtBlas, WantsABiasWhereItAddsOne) {
  ASSERT_EQ(Ask({.epilogue = CUBLASLT_EPILOGUE_BIAS}), CUBLAS_STATUS_SUCCESS);

  EXPECT_EQ(Multiply({}), CUBLAS_STATUS_INVALID_VALUE);
  Set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, static_cast<const void*>(DeviceArray<std::uint16_t>(16)));
  EXPECT_EQ(Multiply({}), CUBLAS_STATUS_SUCCESS);
}

TEST_F(SimtBlas, RefusesAttributesOfTheWrongSize) {
  ASSERT_EQ(Ask({}), CUBLAS_STATUS_SUCCESS);
  const std::int64_t wide = CUBLAS_OP_T;

  EXPECT_EQ(blas_.MatmulDescSetAttribute(product_, CUBLASLT_MATMUL_DESC_TRANSA, &wide, sizeof wide),
            CUBLAS_STATUS_INVALID_VALUE);
}

TEST_F(SimtBlas, NeedsADriver) {
  Reset({.driver = Driver::kMissing});
  cublasLtHandle_t context = nullptr;

  EXPECT_EQ(blas_.Create(&context), CUBLAS_STATUS_NOT_INITIALIZED);
}

}  // namespace
}  // namespace codegen::simt
