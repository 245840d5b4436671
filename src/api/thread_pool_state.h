// SPDX-License-Identifier: Apache-2.0
//
// What a ThreadPool is inside.
#ifndef CODEGEN_API_THREAD_POOL_STATE_H_
#define CODEGEN_API_THREAD_POOL_STATE_H_

#include <memory>

#include "base/thread_pool.h"
#include "codegen/thread_pool.h"

namespace codegen {

struct ThreadPool::State {
  std::unique_ptr<base::ThreadPool> pool;
};

}  // namespace codegen

#endif  // CODEGEN_API_THREAD_POOL_STATE_H_
