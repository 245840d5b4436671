// SPDX-License-Identifier: Apache-2.0
//
// A quantile is as good as the buckets: the estimate and the true value lie in the same one. Within
// it observations are taken to be spread evenly, as Prometheus' histogram_quantile does, so that
// what a host computes here is what its dashboard shows.
#include "metrics/histogram.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

#include "base/check.h"
#include "codegen/metrics.h"

namespace codegen {
namespace {

// Sizes and times are not negative, so the first bucket begins at 0 unless its bound is below that.
double LowerBound(const std::vector<double>& bounds, std::size_t bucket) {
  return bucket == 0 ? std::min(0.0, bounds[0]) : bounds[bucket - 1];
}

}  // namespace

double Histogram::Quantile(double q) const {
  if (count == 0 || bounds.empty()) return 0;
  const double rank = (q > 0 ? std::min(q, 1.0) : 0.0) * static_cast<double>(count);
  std::uint64_t below = 0;  // observations in the buckets before
  for (std::size_t bucket = 0; bucket < std::min(bounds.size(), counts.size()); ++bucket) {
    const std::uint64_t here = counts[bucket];
    if (here > 0 && static_cast<double>(below + here) >= rank) {
      const double share = (rank - static_cast<double>(below)) / static_cast<double>(here);
      return std::lerp(LowerBound(bounds, bucket), bounds[bucket], share);
    }
    below += here;
  }
  return bounds.back();
}

namespace metrics {

Histogram MakeHistogram(std::vector<double> bounds) {
  CODEGEN_DCHECK(std::ranges::adjacent_find(bounds, std::ranges::greater_equal()) == bounds.end());
  Histogram histogram{.bounds = std::move(bounds)};
  histogram.counts.resize(histogram.bounds.size() + 1);
  return histogram;
}

void Observe(double value, Histogram& histogram) {
  if (std::isnan(value)) return;
  const auto bound = std::ranges::lower_bound(histogram.bounds, value);
  ++histogram.counts[static_cast<std::size_t>(bound - histogram.bounds.begin())];
  ++histogram.count;
  histogram.sum += value;
}

}  // namespace metrics
}  // namespace codegen
