// SPDX-License-Identifier: Apache-2.0
//
// Work recorded once and launched many times, at the cost of one launch.
//
//   auto graph = Graph::Capture(stream, [&] { return PutOneStepInto(stream); });
//   for (...) { ...; graph->Launch(stream); }
//
// A graph keeps every address and number that it was recorded with; whatever changes from step to
// step is read from memory whose address does not.
#ifndef CODEGEN_CUDA_GRAPH_H_
#define CODEGEN_CUDA_GRAPH_H_

#include <absl/functional/function_ref.h>
#include <absl/status/status.h>
#include <absl/status/statusor.h>
#include <driver_types.h>

#include <memory>
#include <type_traits>

#include "cuda/stream.h"

namespace codegen::cuda {

class Graph {
 public:
  // Records what `record` puts into `stream`, none of which runs. `record` must not allocate, copy
  // pageable memory or wait for the device. Other streams take part if they wait for an event of
  // `stream` and `stream` in the end for one of theirs. Other threads may do what they like
  // meanwhile, but not with these streams. Returns the error of `record`, or what CUDA found, and
  // lets through what `record` throws.
  static absl::StatusOr<Graph> Capture(const Stream& stream,
                                       absl::FunctionRef<absl::Status()> record);

  // Puts the work behind what `stream` holds. One launch of a graph waits for the last.
  absl::Status Launch(const Stream& stream) const;

 private:
  struct Destroy {
    void operator()(cudaGraphExec_t graph) const;
  };

  explicit Graph(cudaGraphExec_t graph) : graph_(graph) {}

  std::unique_ptr<std::remove_pointer_t<cudaGraphExec_t>, Destroy> graph_;
};

}  // namespace codegen::cuda

#endif  // CODEGEN_CUDA_GRAPH_H_
