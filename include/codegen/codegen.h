// SPDX-License-Identifier: Apache-2.0
//
// codegen: Salesforce's CodeGen models inside a C++ program. This header includes all the others.
//
//   auto model = codegen::Model::Load("path/to/hf-folder");
//   auto session = codegen::Session::Create(*model);
//   auto completion = session->Complete({.prompt = "def fib(n):"});
#ifndef CODEGEN_CODEGEN_H_
#define CODEGEN_CODEGEN_H_

#include "codegen/batcher.h"      // IWYU pragma: export
#include "codegen/benchmark.h"    // IWYU pragma: export
#include "codegen/metrics.h"      // IWYU pragma: export
#include "codegen/model.h"        // IWYU pragma: export
#include "codegen/options.h"      // IWYU pragma: export
#include "codegen/request.h"      // IWYU pragma: export
#include "codegen/session.h"      // IWYU pragma: export
#include "codegen/thread_pool.h"  // IWYU pragma: export
#include "codegen/tokenizer.h"    // IWYU pragma: export
#include "codegen/version.h"      // IWYU pragma: export

#endif  // CODEGEN_CODEGEN_H_
