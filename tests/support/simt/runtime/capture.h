// SPDX-License-Identifier: Apache-2.0
//
// Work that a stream records instead of running it.
#ifndef CODEGEN_TESTS_SUPPORT_SIMT_RUNTIME_CAPTURE_H_
#define CODEGEN_TESTS_SUPPORT_SIMT_RUNTIME_CAPTURE_H_

#include <driver_types.h>

#include <cstddef>
#include <functional>
#include <string>
#include <thread>
#include <vector>

namespace codegen::simt {

struct GraphNode {
  std::function<void()> work;
  std::string name;
  std::vector<std::size_t> before;  // earlier nodes of the same graph
};

// From cudaStreamBeginCapture to cudaStreamEndCapture. Every stream that has joined, by waiting for
// an event recorded in another stream of the capture, refers to it.
struct Capture {
  cudaStreamCaptureMode mode = cudaStreamCaptureModeGlobal;
  std::thread::id thread = std::this_thread::get_id();
  cudaStream_t origin = nullptr;  // began it and has to end it
  std::vector<GraphNode> nodes;
  bool invalid = false;
  bool ended = false;

  // Whether a call of the present thread that may wait for the device would spoil it.
  bool Forbids() const {
    if (mode == cudaStreamCaptureModeThreadLocal) return thread == std::this_thread::get_id();
    return mode == cudaStreamCaptureModeGlobal;
  }
};

}  // namespace codegen::simt

#endif  // CODEGEN_TESTS_SUPPORT_SIMT_RUNTIME_CAPTURE_H_
