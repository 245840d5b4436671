// SPDX-License-Identifier: Apache-2.0
#include "metrics/histogram.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <random>
#include <vector>

#include "codegen/metrics.h"

namespace codegen::metrics {
namespace {

using testing::ElementsAre;

TEST(Histogram, BeginsEmptyWithOneBucketMoreThanBounds) {
  const Histogram histogram = MakeHistogram({1, 2, 4});

  EXPECT_THAT(histogram.bounds, ElementsAre(1, 2, 4));
  EXPECT_THAT(histogram.counts, ElementsAre(0, 0, 0, 0));
  EXPECT_EQ(histogram.count, 0U);
  EXPECT_EQ(histogram.sum, 0);
}

TEST(Histogram, CountsAValueInTheBucketThatEndsAtIt) {
  Histogram histogram = MakeHistogram({1, 2, 4});

  for (const double value : {1.0, 2.0, 4.0}) Observe(value, histogram);

  EXPECT_THAT(histogram.counts, ElementsAre(1, 1, 1, 0));
}

TEST(Histogram, CountsAValueBetweenBoundsBelowTheUpperOne) {
  Histogram histogram = MakeHistogram({1, 2, 4});

  for (const double value : {-1.0, 0.0, 0.5, 1.5, 2.5, 3.9}) Observe(value, histogram);

  EXPECT_THAT(histogram.counts, ElementsAre(3, 1, 2, 0));
}

TEST(Histogram, CountsWhatIsBeyondAllBoundsInTheLastBucket) {
  Histogram histogram = MakeHistogram({1, 2, 4});

  Observe(std::nextafter(4.0, 5.0), histogram);
  Observe(std::numeric_limits<double>::infinity(), histogram);

  EXPECT_THAT(histogram.counts, ElementsAre(0, 0, 0, 2));
}

TEST(Histogram, AddsUpCountAndSum) {
  Histogram histogram = MakeHistogram({1, 2, 4});

  for (const double value : {0.5, 1.5, 8.0}) Observe(value, histogram);

  EXPECT_EQ(histogram.count, 3U);
  EXPECT_EQ(histogram.sum, 10.0);
}

TEST(Histogram, IgnoresNaN) {
  Histogram histogram = MakeHistogram({1, 2, 4});

  Observe(std::numeric_limits<double>::quiet_NaN(), histogram);

  EXPECT_THAT(histogram.counts, ElementsAre(0, 0, 0, 0));
  EXPECT_EQ(histogram.count, 0U);
  EXPECT_EQ(histogram.sum, 0);
}

TEST(Histogram, HasNoQuantileWithoutObservations) {
  EXPECT_EQ(MakeHistogram({1, 2}).Quantile(0.5), 0);
  EXPECT_EQ(Histogram().Quantile(0.5), 0);
}

TEST(Histogram, HasNoQuantileWithoutBounds) {
  Histogram histogram = MakeHistogram({});

  Observe(3, histogram);

  EXPECT_EQ(histogram.count, 1U);
  EXPECT_EQ(histogram.Quantile(0.5), 0);
}

TEST(Histogram, InterpolatesQuantilesWithinTheBucket) {
  Histogram histogram = MakeHistogram({10, 20});
  for (int i = 0; i < 4; ++i) Observe(15, histogram);

  EXPECT_EQ(histogram.Quantile(0), 10);
  EXPECT_EQ(histogram.Quantile(0.25), 12.5);
  EXPECT_EQ(histogram.Quantile(0.5), 15);
  EXPECT_EQ(histogram.Quantile(1), 20);
}

TEST(Histogram, InterpolatesTheFirstBucketFromZero) {
  Histogram histogram = MakeHistogram({10, 20});

  Observe(3, histogram);

  EXPECT_EQ(histogram.Quantile(0.5), 5);
}

TEST(Histogram, DoesNotInterpolateANegativeFirstBucket) {
  Histogram histogram = MakeHistogram({-10, 20});

  Observe(-11, histogram);

  EXPECT_EQ(histogram.Quantile(0.5), -10);
}

TEST(Histogram, AnswersTheLastBoundForQuantilesBeyondIt) {
  Histogram histogram = MakeHistogram({10, 20});

  Observe(5, histogram);
  Observe(1000, histogram);

  EXPECT_EQ(histogram.Quantile(0.5), 10);
  EXPECT_EQ(histogram.Quantile(0.9), 20);
}

TEST(Histogram, ClampsTheShareOfAQuantile) {
  Histogram histogram = MakeHistogram({10, 20, 30});

  Observe(15, histogram);

  EXPECT_EQ(histogram.Quantile(-1), histogram.Quantile(0));
  EXPECT_EQ(histogram.Quantile(2), histogram.Quantile(1));
  EXPECT_EQ(histogram.Quantile(std::numeric_limits<double>::quiet_NaN()), histogram.Quantile(0));
}

// The smallest of the sorted values that the share `q` of them does not exceed.
double SortedQuantile(const std::vector<double>& sorted, double q) {
  const auto rank = static_cast<std::size_t>(std::ceil(q * static_cast<double>(sorted.size())));
  return sorted[std::max<std::size_t>(rank, 1) - 1];
}

// The width of the bucket that `value` lies in.
double WidthAt(const std::vector<double>& bounds, double value) {
  const auto upper = std::ranges::lower_bound(bounds, value);
  return upper == bounds.begin() ? *upper : *upper - *(upper - 1);
}

TEST(Histogram, EstimatesQuantilesWithinABucketOfSortedData) {
  std::mt19937 random(1);
  std::vector<double> bounds;
  for (int i = 1; i <= 40; ++i) bounds.push_back(i * i * 0.01);
  for (const std::size_t size : {1U, 2U, 3U, 10U, 1000U}) {
    Histogram histogram = MakeHistogram(bounds);
    std::vector<double> values(size);
    for (double& value : values) value = std::uniform_real_distribution(0.0, 16.0)(random);
    for (const double value : values) Observe(value, histogram);
    std::ranges::sort(values);

    double last = 0;
    for (double q = 0; q <= 1; q += 1.0 / 64) {
      const double truth = SortedQuantile(values, q);
      const double estimate = histogram.Quantile(q);
      EXPECT_NEAR(estimate, truth, WidthAt(bounds, truth)) << "q " << q << " of " << size;
      EXPECT_GE(estimate, last) << "q " << q << " of " << size;
      last = estimate;
    }
  }
}

}  // namespace
}  // namespace codegen::metrics
