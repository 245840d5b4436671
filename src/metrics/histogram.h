// SPDX-License-Identifier: Apache-2.0
//
// How the value type Histogram is made and filled.
#ifndef CODEGEN_METRICS_HISTOGRAM_H_
#define CODEGEN_METRICS_HISTOGRAM_H_

#include <vector>

#include "codegen/metrics.h"

namespace codegen::metrics {

// Returns a histogram without observations. Requires: `bounds` ascend strictly.
Histogram MakeHistogram(std::vector<double> bounds);

// Counts `value` in the bucket whose upper bound is the first that is not below it. NaN has no
// bucket and would spoil the sum for good, so it is left out. Requires: `histogram` comes from
// MakeHistogram.
void Observe(double value, Histogram& histogram);

}  // namespace codegen::metrics

#endif  // CODEGEN_METRICS_HISTOGRAM_H_
