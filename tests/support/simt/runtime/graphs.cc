// SPDX-License-Identifier: Apache-2.0
//
// Capture of streams into graphs, and graphs. A launch submits every node on its own, so that
// branches of a graph run in any order that its edges allow.
#include <cuda_runtime_api.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "support/simt/runtime/machine.h"

namespace codegen::simt {
namespace {

// Whether every node comes before the end of `stream`: whether all branches have been joined.
bool IsJoined(const std::vector<GraphNode>& nodes, const CUstream_st& stream) {
  std::vector<bool> joined(nodes.size());
  for (const std::size_t node : stream.frontier) joined[node] = true;
  for (std::size_t node = nodes.size(); node-- > 0;) {
    if (!joined[node]) return false;
    for (const std::size_t before : nodes[node].before) joined[before] = true;
  }
  return true;
}

void Release(Machine& machine, const std::shared_ptr<Capture>& capture) {
  capture->ended = true;
  for (const auto& [handle, stream] : machine.streams) {
    if (stream->capture != capture) continue;
    stream->capture = nullptr;
    stream->frontier.clear();
  }
  std::erase(machine.captures, capture);
}

cudaError_t EndCapture(Machine& machine, const CUstream_st& stream, cudaGraph_t* out) {
  *out = nullptr;
  const std::shared_ptr<Capture> capture = stream.capture;
  if (capture == nullptr) return cudaErrorIllegalState;
  if (capture->origin != &stream) return cudaErrorStreamCaptureUnmatched;
  if (capture->mode != cudaStreamCaptureModeRelaxed &&
      capture->thread != std::this_thread::get_id())
    return cudaErrorStreamCaptureWrongThread;
  const bool joined = IsJoined(capture->nodes, stream);
  Release(machine, capture);
  if (capture->invalid) return cudaErrorStreamCaptureInvalidated;
  if (!joined) return cudaErrorStreamCaptureUnjoined;

  auto graph = std::make_unique<CUgraph_st>(CUgraph_st{.nodes = std::move(capture->nodes)});
  *out = graph.get();
  machine.graphs.emplace(*out, std::move(graph));
  return cudaSuccess;
}

void Launch(Machine& machine, CUstream_st& stream, CUgraphExec_st& graph) {
  std::vector<OperationPtr> start = machine.Before(stream);
  start.push_back(graph.last);
  std::vector<OperationPtr> launched;
  for (const GraphNode& node : graph.nodes) {
    std::vector<OperationPtr> before = start;
    for (const std::size_t earlier : node.before) before.push_back(launched[earlier]);
    launched.push_back(machine.queue.Submit({.work = node.work, .name = node.name}, before));
  }
  launched.insert(launched.end(), start.begin(), start.end());
  stream.last = graph.last = machine.queue.Submit({.name = "end of a graph"}, launched);
}

}  // namespace
}  // namespace codegen::simt

using codegen::simt::Api;
using codegen::simt::Call;
using codegen::simt::Capture;
using codegen::simt::Capturing;
using codegen::simt::MachineLock;
using codegen::simt::ReleaseApi;

cudaError_t cudaStreamBeginCapture(cudaStream_t handle, cudaStreamCaptureMode mode) {
  return Api(Call::kOther, Capturing::kAllows, [&](MachineLock& machine) {
    CUstream_st* stream = machine->FindStream(handle);
    if (stream == nullptr) return cudaErrorInvalidResourceHandle;
    if (stream == &machine->default_stream) return cudaErrorStreamCaptureUnsupported;
    if (stream->capture != nullptr) return cudaErrorIllegalState;
    stream->capture = std::make_shared<Capture>();
    stream->capture->mode = mode;
    stream->capture->origin = stream;
    machine->captures.push_back(stream->capture);
    return cudaSuccess;
  });
}

// Whatever goes wrong, the capture has ended afterwards.
cudaError_t cudaStreamEndCapture(cudaStream_t handle, cudaGraph_t* out) {
  return ReleaseApi([&](MachineLock& machine) {
    const CUstream_st* stream = machine->FindStream(handle);
    if (stream == nullptr) return cudaErrorInvalidResourceHandle;
    const cudaError_t refused = machine->Admit(Call::kOther, Capturing::kAllows);
    const cudaError_t error = codegen::simt::EndCapture(*machine, *stream, out);
    if (refused == cudaSuccess) return error;
    machine->graphs.erase(*out);
    *out = nullptr;
    return refused;
  });
}

cudaError_t cudaStreamIsCapturing(cudaStream_t handle, cudaStreamCaptureStatus* out) {
  return Api(Call::kOther, Capturing::kAllows, [&](MachineLock& machine) {
    const CUstream_st* stream = machine->FindStream(handle);
    if (stream == nullptr) return cudaErrorInvalidResourceHandle;
    *out = cudaStreamCaptureStatusNone;
    if (stream->capture != nullptr)
      *out = stream->capture->invalid ? cudaStreamCaptureStatusInvalidated
                                      : cudaStreamCaptureStatusActive;
    return cudaSuccess;
  });
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* out, cudaGraph_t handle,
                                 unsigned long long /*flags*/) {
  return Api(Call::kOther, Capturing::kAllows, [&](MachineLock& machine) {
    const auto found = machine->graphs.find(handle);
    if (found == machine->graphs.end()) return cudaErrorInvalidValue;
    auto executable =
        std::make_unique<CUgraphExec_st>(CUgraphExec_st{.nodes = found->second->nodes});
    *out = executable.get();
    machine->executables.emplace(*out, std::move(executable));
    return cudaSuccess;
  });
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t handle, cudaStream_t stream_handle) {
  return Api(Call::kLaunch, Capturing::kAllows, [&](MachineLock& machine) {
    CUstream_st* stream = machine->FindStream(stream_handle);
    const auto found = machine->executables.find(handle);
    if (stream == nullptr || found == machine->executables.end())
      return cudaErrorInvalidResourceHandle;
    if (stream->capture != nullptr) {  // graphs within graphs are not pretended
      stream->capture->invalid = true;
      return cudaErrorStreamCaptureUnsupported;
    }
    codegen::simt::Launch(*machine, *stream, *found->second);
    ++machine->counters.graph_launches;
    return cudaSuccess;
  });
}

cudaError_t cudaGraphDestroy(cudaGraph_t handle) {
  return ReleaseApi([&](MachineLock& machine) {
    return machine->graphs.erase(handle) == 1 ? cudaSuccess : cudaErrorInvalidValue;
  });
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t handle) {
  return ReleaseApi([&](MachineLock& machine) {
    return machine->executables.erase(handle) == 1 ? cudaSuccess : cudaErrorInvalidValue;
  });
}
