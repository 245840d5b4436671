// SPDX-License-Identifier: Apache-2.0
//
// Events in Chrome's trace format, for chrome://tracing and Perfetto: what the device did and what
// a request went through, on one axis of time. Numbers and fixed words only; nothing of what a
// request says.
#ifndef CODEGEN_METRICS_TRACE_H_
#define CODEGEN_METRICS_TRACE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "codegen/request.h"

namespace codegen::metrics {

// Each event is one JSON object, complete in itself ("ph":"X"), in microseconds of the steady
// clock. Steps share the lane ("tid") 0; a request has the lane of its id, which therefore is not
// 0.

// A step of the device that computed `rows` tokens of `samples` samples.
std::string StepEvent(Time begin, Time end, int rows, int samples);

// The phases of request `id`, in order: "queued" until scheduled, "prefill" until the first token,
// "decode". The end of the request cuts short the phase that it found; later ones did not happen
// and have no event. Requires: `timeline` is that of a request that is done.
std::vector<std::string> RequestEvents(std::uint64_t id, const Timeline& timeline);

}  // namespace codegen::metrics

#endif  // CODEGEN_METRICS_TRACE_H_
