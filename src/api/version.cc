// SPDX-License-Identifier: Apache-2.0
#include "codegen/version.h"

#define CODEGEN_TEXT_INNER(x) #x
#define CODEGEN_TEXT(x) CODEGEN_TEXT_INNER(x)

namespace codegen {

const char* Version() {
  return CODEGEN_TEXT(CODEGEN_VERSION_MAJOR) "." CODEGEN_TEXT(
      CODEGEN_VERSION_MINOR) "." CODEGEN_TEXT(CODEGEN_VERSION_PATCH);
}

}  // namespace codegen
