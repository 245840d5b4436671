// SPDX-License-Identifier: Apache-2.0
#ifndef CODEGEN_TESTS_SUPPORT_SIMT_RUNTIME_CURRENT_H_
#define CODEGEN_TESTS_SUPPORT_SIMT_RUNTIME_CURRENT_H_

namespace codegen::simt {

// The device that cudaSetDevice chose for this thread.
int CurrentDevice();

// Makes it 0 for every thread.
void ForgetCurrentDevices();

}  // namespace codegen::simt

#endif  // CODEGEN_TESTS_SUPPORT_SIMT_RUNTIME_CURRENT_H_
