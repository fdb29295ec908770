// Layers per stage: the split of a model over a pipeline whose slowest stage is as fast as
// possible.
#pragma once

#include <vector>

#include "costmodel/cluster_spec.h"
#include "planner/plan.h"

namespace shardwright {

// Forward and backward of one microbatch, by what a stage may hold, on one device. Whole
// nanoseconds: they add up to exactly what simulate gives the two instructions.
struct LayerTimes {
  Nanoseconds embedding = 0, head = 0;
  std::vector<Nanoseconds> layers;
};

// As the rank `rank` of the plan sees them; the plan's stage_layers may be missing.
// REQUIRES: the degrees are legal, the cluster has a device for every rank.
LayerTimes layer_times(const ModelSpec& model, const ClusterSpec& cluster, const Plan& plan,
                       int64_t rank);

// `stages[s]` are the times on the device of stage s; all have the same number of layers, at least
// one for each stage. The first stage has the embedding, the last the head, each at least one
// layer.
//
// Minimises the time of the slowest stage. Among those splits: the smallest sum of squares of
// the stages' times, then the fewest layers on the first stage that differs (early stages hold the
// most microbatches).
std::vector<int64_t> balance(const std::vector<LayerTimes>& stages);

// layer_times of every chunk on the device of its stage, balanced: the slowest chunk is as fast as
// possible.
std::vector<int64_t> balanced_chunks(const ModelSpec& model, const ClusterSpec& cluster,
                                     const Plan& plan);

}  // namespace shardwright
