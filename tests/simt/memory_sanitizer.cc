// SPDX-License-Identifier: Apache-2.0
//
// Kernels under clang's memory sanitizer, which wants every line of a program compiled with it, and
// so a program of its own without GoogleTest (memory_sanitizer.cmake): it knows of every word of
// shared memory whether somebody wrote it, whatever poison it holds.
//
//   memory_sanitizer nothing|uninitialised|barrier|wait
#include <sanitizer/msan_interface.h>

#include <cstring>
#include <vector>

#include "simt/product.cuh"
#include "simt/sum.cuh"
#include "support/simt/grid.h"

namespace codegen::cuda {
namespace {

template <class T>
void CheckInitialised(const std::vector<T>& values) {
  __msan_check_mem_is_initialized(values.data(), values.size() * sizeof(T));
}

template <Plant kPlant>
void RunSum() {
  const std::vector<float> x(1500, 1.0F);
  std::vector<float> sums(3);
  simt::RunGrid({.grid = dim3(3), .block = dim3(128)}, "sum",
                [&] { SumKernel<kPlant>(sums.data(), x.data(), 500); });
  CheckInitialised(sums);
}

template <Plant kPlant>
void RunProduct() {
  constexpr int kM = 83;
  const std::vector<__nv_bfloat16> a(kM * kDepth, __float2bfloat16(1));
  const std::vector<__nv_bfloat16> b(kTile * kDepth, __float2bfloat16(2));
  std::vector<float> c(kM * kTile);
  const ProductArgs args{c.data(), a.data(), b.data(), kM, kTile, kDepth};
  simt::RunGrid(
      {.grid = dim3(1, 2), .block = dim3(kProductThreads), .shared_bytes = kProductShared},
      "product", [&] { ProductKernel<kPlant>(args); });
  CheckInitialised(c);
}

bool RunNamed(const char* plant) {
  const auto is = [&](const char* name) { return std::strcmp(plant, name) == 0; };
  if (is("nothing")) {
    RunSum<Plant::kNothing>();
    RunProduct<Plant::kNothing>();
  } else if (is("uninitialised")) {
    RunSum<Plant::kReadsUninitialised>();
  } else if (is("barrier")) {
    RunSum<Plant::kNoBarrierBeforeRead>();
  } else if (is("wait")) {
    RunProduct<Plant::kNoWait>();
  } else {
    return false;
  }
  return true;
}

// Under every schedule. False: the plant has no such name.
bool RunUnderAll(const char* plant) {
  for (const simt::Schedule& schedule : simt::AllSchedules()) {
    const simt::ScopedSchedule use(schedule);
    if (!RunNamed(plant)) return false;
  }
  return true;
}

}  // namespace
}  // namespace codegen::cuda

int main(int argc, char** argv) { return argc == 2 && codegen::cuda::RunUnderAll(argv[1]) ? 0 : 2; }
