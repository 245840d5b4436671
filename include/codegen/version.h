// SPDX-License-Identifier: Apache-2.0
//
// Semantic versioning: source compatible within a major version, before 1.0 within a minor one.
#ifndef CODEGEN_VERSION_H_
#define CODEGEN_VERSION_H_

#include "codegen/export.h"

#define CODEGEN_VERSION_MAJOR 0
#define CODEGEN_VERSION_MINOR 1
#define CODEGEN_VERSION_PATCH 0

namespace codegen {

// Returns the version of the linked library, "major.minor.patch", which may differ from that of the
// headers.
CODEGEN_EXPORT const char* Version();

}  // namespace codegen

#endif  // CODEGEN_VERSION_H_
