// Layers per chunk: contiguous shares of a model whose slowest chunk is as fast as possible, with
// the embedding and the head as work of the first and the last chunk.
//
// A chunk with a limit T on its time holds as many layers as fit. The smallest T whose chunks hold
// all layers is the answer; layers that are too many for the last bit of it are then taken from the
// earliest of the slowest chunks, since early stages hold the most microbatches.
#pragma once

#include <vector>

#include "costmodel/model_spec.h"
#include "planner/estimate.h"

namespace shardwright {

// Of the layers of a chunk; more than the rules below say at the least.
struct ChunkBounds {
  int64_t least = 0;
  std::vector<int64_t> most;  // by chunk; empty: no limit
};

// speed[c] stretches the times of chunk c (slower devices above 1); empty: all alike. Every chunk
// gets a layer, but of several chunks a stage (`ends_may_be_empty`) the first and the last may do
// with the embedding and the head. Empty when there are too few layers, or too many.
std::vector<int64_t> chunk_layers(const ModelSpec& model, const Estimator::PartSeconds& parts,
                                  int64_t chunks, bool ends_may_be_empty,
                                  const std::vector<double>& speed = {},
                                  const ChunkBounds& bounds = {});

// The time of the slowest chunk, in the same terms.
double slowest_chunk(const ModelSpec& model, const Estimator::PartSeconds& parts,
                     const std::vector<int64_t>& layers, const std::vector<double>& speed = {});

}  // namespace shardwright
