// SPDX-License-Identifier: Apache-2.0
//
// Tensor parallelism (Shoeybi et al. 2019): each rank holds a part of every block, and computes it
// as if it were a narrower block. Its sums with those of the others are the block's.
//
//   qkv, up, gate   split by rows: a rank has some of the heads, and some of the inner features
//   out, down       split by columns, to go with them; a bias, which is added once, is on rank 0
//   head            split by rows, a whole number of lines each: the last part ends with zeros
//   the rest        on every rank
#ifndef CODEGEN_MODEL_SHARD_H_
#define CODEGEN_MODEL_SHARD_H_

#include <absl/status/status.h>

#include <cstdint>

#include "backend/backend.h"
#include "model/model_config.h"

namespace codegen::model {

struct Shard {
  int rank = 0;
  int count = 1;
};

// INVALID_ARGUMENT, with the numbers that would do, unless a model can be split into `count` parts.
absl::Status CheckShards(const ModelConfig& config, int count);

// `config` with the heads and the inner features of one of `count` shards. Requires: CheckShards.
ModelConfig ShardOf(ModelConfig config, int count);

// Rows of the output matrix on each of `count` ranks.
std::int64_t HeadRows(const ModelConfig& config, int count);

// Rows [first, first + count) of a matrix; those past its end are zeros. Of all rows: the matrix.
backend::MatrixSource RowsOf(backend::MatrixSource source, std::int64_t first, std::int64_t count);

// Columns [first, first + count) of a matrix, whose rows are read whole. Of all columns: the
// matrix.
backend::MatrixSource ColumnsOf(backend::MatrixSource source, std::int64_t first,
                                std::int64_t count);

}  // namespace codegen::model

#endif  // CODEGEN_MODEL_SHARD_H_
