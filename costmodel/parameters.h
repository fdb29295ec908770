// The parameters that one rank holds, by name, with their place in the unsharded tensors.
// Counting, initialising, saving and comparing weights across plans all follow this list.
#pragma once

#include <string>
#include <vector>

#include "costmodel/steps.h"

namespace shardwright {

// One contiguous block of rows on this rank: rows [row0, row0+rows) x columns [col0, col0+cols) of
// the tensor `name`, whose unsharded shape is [global_rows, global_cols] (vectors are [1, n]). rows
// beyond global_rows (a padded vocabulary) are zero and stay zero.
struct ParameterPart {
  std::string name;
  int64_t global_rows = 0, global_cols = 0;
  int64_t row0 = 0, rows = 0;
  int64_t col0 = 0, cols = 0;
  int64_t copies = 1;       // equal tensors counted once here (experts)
  bool replicated = false;  // the same block on every rank of tp
  bool decays = false;      // weight decay applies: matrices and embeddings
  bool tied_copy = false;   // the head's copy of a tied embedding that lives on another stage
  bool executable = true;   // false: known to the cost model only
  int64_t elements() const { return copies * rows * cols; }
};

// A fused local tensor: parts stacked by rows, e.g. q, k and v. Order is that of memory.
struct ParameterTensor {
  std::string slot;  // "embedding.tokens", "layers.3.qkv.weight"
  std::vector<ParameterPart> parts;
  int64_t elements() const;
};

// `tp_index` is this rank's place in its tensor-parallel group. `tied_head`: the chunk has the head
// of a tied model but not its embedding, and so holds a copy of the table.
std::vector<ParameterTensor> chunk_parameters(const ModelSpec& model, const ChunkShape& chunk,
                                              int64_t tp_index);
// REQUIRES: no expert parallelism; see rank_parameters.
int64_t local_parameters(const ModelSpec& model, const ChunkShape& chunk);

// Elements on the first rank of tp, with routed experts as ep and etp split them: these have
// replicas of their own.
struct RankParameters {
  int64_t dense = 0, experts = 0;
  int64_t largest = 0;  // of a layer, the embedding or the head: what is gathered at once
  int64_t all() const { return dense + experts; }
};
RankParameters rank_parameters(const ModelSpec& model, const ChunkShape& chunk);

}  // namespace shardwright
