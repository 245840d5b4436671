// SPDX-License-Identifier: Apache-2.0
//
// What the emulator found wrong with a kernel.
#ifndef CODEGEN_TESTS_SUPPORT_SIMT_DIAGNOSTICS_H_
#define CODEGEN_TESTS_SUPPORT_SIMT_DIAGNOSTICS_H_

#include <string>
#include <vector>

namespace codegen::simt {

// A line of a kernel. As a default argument, Here() is the line of the caller.
// (std::source_location is missing in clang 14.)
struct Place {
  const char* file = "";
  int line = 0;

  static constexpr Place Here(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
    return {file, line};
  }
};

bool operator==(const Place& a, const Place& b);
std::string ToString(const Place& place);

// Returns and forgets what was found since the last call, by any thread: one text per failed
// launch, "gemm.cuh:41: block (0,1,0) thread 7: __syncwarp: ..., in gemm". A test that does not
// expect any should find none when it ends.
std::vector<std::string> TakeDiagnostics();

void AddDiagnostic(std::string text);

}  // namespace codegen::simt

#endif  // CODEGEN_TESTS_SUPPORT_SIMT_DIAGNOSTICS_H_
