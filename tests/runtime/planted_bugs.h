// SPDX-License-Identifier: Apache-2.0
//
// Which of the bugs in planted_bugs.cmake is active; -1 is none.
#ifndef CODEGEN_TESTS_RUNTIME_PLANTED_BUGS_H_
#define CODEGEN_TESTS_RUNTIME_PLANTED_BUGS_H_

namespace planted {

extern int active;

}  // namespace planted

#endif  // CODEGEN_TESTS_RUNTIME_PLANTED_BUGS_H_
