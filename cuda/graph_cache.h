// SPDX-License-Identifier: Apache-2.0
//
// The graphs of the kinds of steps that came last. A graph takes memory of the device that no
// budget knows of, so there are only so many, and the one that was not needed for longest goes.
#ifndef CODEGEN_CUDA_GRAPH_CACHE_H_
#define CODEGEN_CUDA_GRAPH_CACHE_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <utility>

#include "base/check.h"
#include "cuda/graph.h"

namespace codegen::cuda {

template <class Key>
class GraphCache {
 public:
  // Requires: most >= 1.
  explicit GraphCache(std::size_t most) : most_(most) { CODEGEN_DCHECK(most >= 1); }

  // The graph of `key`, which was needed just now; null if there is none. Valid until the next Add.
  const Graph* Find(const Key& key) {
    const auto found = kept_.find(key);
    if (found == kept_.end()) return nullptr;
    found->second.used = ++uses_;
    return &found->second.graph;
  }

  // Requires: there is none of `key`, and no graph is running.
  const Graph& Add(const Key& key, Graph graph) {
    if (kept_.size() >= most_) {
      kept_.erase(
          std::ranges::min_element(kept_, {}, [](const auto& entry) { return entry.second.used; }));
    }
    const auto [added, is_new] = kept_.emplace(key, Kept{std::move(graph), ++uses_});
    CODEGEN_DCHECK(is_new);
    return added->second.graph;
  }

  std::size_t size() const { return kept_.size(); }

 private:
  struct Kept {
    Graph graph;
    std::uint64_t used;  // the number of that use
  };

  std::size_t most_;
  std::uint64_t uses_ = 0;
  std::map<Key, Kept> kept_;
};

}  // namespace codegen::cuda

#endif  // CODEGEN_CUDA_GRAPH_CACHE_H_
