// Peak memory of a plan's fullest rank under a given framework's MemoryStack: states, activations
// in flight, and what the fullest moment of a step adds, stage by stage.
#pragma once

#include <string>
#include <vector>

#include "costmodel/kept_tensors.h"
#include "planner/plan.h"

namespace shardwright {

struct MemoryPart {
  const char* name;
  double bytes;
};

struct RankMemory {
  int64_t stage = 0;
  const char* phase = "";         // the moment of the peak: "backward of a layer", ...
  std::vector<MemoryPart> parts;  // of allocated_bytes, at that moment
  double allocated_bytes = 0;     // tensors and workspaces
  double reserved_bytes = 0;      // with what the allocator holds besides
  double device_bytes = 0;        // with driver, kernels and communicators: as the device reports
};

// Microbatches whose activations chunk `chunk` of `stage` holds at once under (interleaved) 1F1B,
// at the first backward of the stage.
int64_t chunk_in_flight(const Plan& plan, int64_t stage, int64_t chunk);

// The fullest stage. REQUIRES: the plan's layers, degrees and batch fit the model (check_plan).
RankMemory rank_memory(const MemoryContext& context, const Plan& plan);

}  // namespace shardwright
