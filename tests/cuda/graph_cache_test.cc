// SPDX-License-Identifier: Apache-2.0
#include "cuda/graph_cache.h"

#include <gtest/gtest.h>

#include <optional>
#include <utility>
#include <vector>

#include "cuda/check.h"
#include "cuda/stream.h"
#include "support/simt/runtime/control.h"
#include "support/simt/runtime/streams.h"
#include "support/status_is.h"

namespace codegen::cuda {
namespace {

using testing::IsOk;

class GraphCacheTest : public ::testing::Test {
 protected:
  void SetUp() override {
    simt::Reset();
    stream_.emplace(*Stream::Create());
  }
  void TearDown() override {
    stream_.reset();
    EXPECT_EQ(simt::Count().live_graphs, 0);
    simt::Reset();
  }

  // One that logs a number.
  Graph Record(int number) {
    return *Graph::Capture(*stream_, [&] {
      return Check(simt::Enqueue(
                       stream_->get(), [this, number] { log_.push_back(number); }, "log"),
                   "logging");
    });
  }

  // What the graph of a key logs; nothing if there is none.
  std::vector<int> Logged(GraphCache<int>& cache, int key) {
    log_.clear();
    if (const Graph* const graph = cache.Find(key); graph != nullptr) {
      EXPECT_THAT(graph->Launch(*stream_), IsOk());
      EXPECT_THAT(stream_->Synchronize(), IsOk());
    }
    return log_;
  }

  std::optional<Stream> stream_;
  std::vector<int> log_;
};

TEST_F(GraphCacheTest, FindsWhatWasAdded) {
  GraphCache<int> cache(2);
  EXPECT_EQ(cache.Find(1), nullptr);

  const Graph& added = cache.Add(1, Record(10));
  cache.Add(2, Record(20));

  EXPECT_EQ(cache.Find(1), &added);
  EXPECT_EQ(Logged(cache, 1), std::vector<int>{10});
  EXPECT_EQ(Logged(cache, 2), std::vector<int>{20});
  EXPECT_EQ(cache.Find(3), nullptr);
}

TEST_F(GraphCacheTest, GivesUpTheOneNotNeededForLongest) {
  GraphCache<int> cache(3);
  for (const int key : {1, 2, 3}) cache.Add(key, Record(10 * key));
  cache.Find(1);
  cache.Find(2);

  cache.Add(4, Record(40));  // 3 goes
  cache.Add(5, Record(50));  // 1 goes

  EXPECT_EQ(cache.size(), 3U);
  EXPECT_EQ(simt::Count().live_graphs, 3);
  EXPECT_EQ(Logged(cache, 1), std::vector<int>{});
  EXPECT_EQ(Logged(cache, 2), std::vector<int>{20});
  EXPECT_EQ(Logged(cache, 3), std::vector<int>{});
  EXPECT_EQ(Logged(cache, 4), std::vector<int>{40});
  EXPECT_EQ(Logged(cache, 5), std::vector<int>{50});
}

TEST_F(GraphCacheTest, MayHoldASingleGraph) {
  GraphCache<int> cache(1);
  cache.Add(1, Record(10));
  cache.Add(2, Record(20));

  EXPECT_EQ(cache.Find(1), nullptr);
  EXPECT_EQ(Logged(cache, 2), std::vector<int>{20});
  EXPECT_EQ(simt::Count().live_graphs, 1);
}

}  // namespace
}  // namespace codegen::cuda
