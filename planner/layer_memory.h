// What the layers of a plan hold and keep on a rank, one of every kind, however they are shared out
// over stages.
#pragma once

#include <utility>
#include <vector>

#include "costmodel/kept_tensors.h"
#include "planner/plan.h"

namespace shardwright {

// One layer of a kind: parameters in elements, the rest in bytes of one microbatch.
struct KindMemory {
  double dense = 0, experts = 0;  // parameters
  double kept = 0;                // with what the plan's modules recompute taken away
  double recomputed = 0;          // when all of the layer is computed again
  double rebuilt = 0;             // everything, as it is after it was computed again
  double backward = 0;
  std::vector<std::pair<int64_t, int64_t>> shapes;  // of its weights, each once
  double layer() const { return dense + experts; }
};

struct LayerMemory {
  std::vector<KindMemory> kinds;
  double head = 0;        // bytes: final norm, logits and loss
  double head_table = 0;  // elements of the output projection
  double output = 0;      // bytes that a stage keeps of what it sends on
};

// REQUIRES: the plan's degrees and batch fit the model.
LayerMemory layer_memory(const MemoryContext& context, const Plan& plan);

// Elements of the tables of a chunk.
double embedding_parameters(const ModelSpec& model, int64_t tp, bool embedding, bool head);

}  // namespace shardwright
