// SPDX-License-Identifier: Apache-2.0
//
// Puts an emulated kernel into a stream of the pretend device: the emulated half of cuda/launch.h.
#ifndef CODEGEN_TESTS_SUPPORT_SIMT_LAUNCH_H_
#define CODEGEN_TESTS_SUPPORT_SIMT_LAUNCH_H_

#include <driver_types.h>

#include <tuple>
#include <type_traits>
#include <utility>

#include "support/simt/grid.h"
#include "support/simt/runtime/streams.h"

namespace codegen::simt {

// The parameters are copied now, and live as long as the launch does.
template <class... P, class... A>
cudaError_t EnqueueKernel(void (*kernel)(P...), const GridShape& shape, const char* name,
                          cudaStream_t stream, A&&... arguments) {
  static_assert((std::is_trivially_copyable_v<P> && ...), "a device copies parameters as bytes");
  if (const cudaError_t error = CheckShape(shape); error != cudaSuccess) return error;
  if (shape.shared_bytes > DynamicSharedLimit(reinterpret_cast<const void*>(kernel)))
    return cudaErrorInvalidValue;
  const std::tuple<P...> parameters(std::forward<A>(arguments)...);
  const auto work = [=] {
    if (!RunGrid(shape, name, [&] { std::apply(kernel, parameters); }))
      ReportFault(cudaErrorLaunchFailure);
  };
  return Enqueue(stream, work, name);
}

}  // namespace codegen::simt

#endif  // CODEGEN_TESTS_SUPPORT_SIMT_LAUNCH_H_
