// SPDX-License-Identifier: Apache-2.0
#include "cuda/graph.h"

#include <cuda_runtime_api.h>

#include "base/check.h"
#include "cuda/check.h"

namespace codegen::cuda {
namespace {

struct DestroyRecording {
  void operator()(cudaGraph_t graph) const { static_cast<void>(cudaGraphDestroy(graph)); }
};
using Recording = std::unique_ptr<std::remove_pointer_t<cudaGraph_t>, DestroyRecording>;

// Ends the capture, and returns what was recorded.
absl::StatusOr<Recording> EndRecord(const Stream& stream) {
  cudaGraph_t graph = nullptr;
  const absl::Status ended = Check(cudaStreamEndCapture(stream.get(), &graph), "recording a graph");
  Recording recording(graph);
  CODEGEN_RETURN_IF_ERROR(ended);
  return recording;
}

// The capture ends whether `record` succeeds, fails or throws: the stream must be usable again.
absl::StatusOr<Recording> Record(const Stream& stream, absl::FunctionRef<absl::Status()> record) {
  // ThreadLocal, because in the global mode any thread of the host process that allocates or polls
  // meanwhile would spoil our capture, and we its call.
  CODEGEN_RETURN_IF_ERROR(
      Check(cudaStreamBeginCapture(stream.get(), cudaStreamCaptureModeThreadLocal),
            "beginning to record a graph"));
  absl::Status recorded;
  try {
    recorded = record();
  } catch (...) {
    EndRecord(stream).IgnoreError();
    throw;
  }
  absl::StatusOr<Recording> recording = EndRecord(stream);
  CODEGEN_RETURN_IF_ERROR(recorded);
  return recording;
}

}  // namespace

absl::StatusOr<Graph> Graph::Capture(const Stream& stream,
                                     absl::FunctionRef<absl::Status()> record) {
  CODEGEN_ASSIGN_OR_RETURN(const Recording recording, Record(stream, record));
  cudaGraphExec_t graph = nullptr;
  CODEGEN_RETURN_IF_ERROR(
      Check(cudaGraphInstantiate(&graph, recording.get(), 0), "preparing a graph"));
  return Graph(graph);
}

absl::Status Graph::Launch(const Stream& stream) const {
  return Check(cudaGraphLaunch(graph_.get(), stream.get()), "launching a graph");
}

void Graph::Destroy::operator()(cudaGraphExec_t graph) const {
  static_cast<void>(cudaGraphExecDestroy(graph));
}

}  // namespace codegen::cuda
