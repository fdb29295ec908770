// Peak memory of a plan's fullest rank under a given framework's MemoryStack: states, activations
// in flight, and what the fullest moment of a step adds, stage by stage.
#pragma once

#include <memory>
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

// Memory of any number of plans of one model under one stack. Plans that follow each other and
// differ only in what does not change a layer (pp, dp, schedule, sharding, ...) cost much less than
// the first.
class RankMemoryModel {
 public:
  // The context must outlive this.
  explicit RankMemoryModel(const MemoryContext& context);
  ~RankMemoryModel();
  // REQUIRES: the plan's layers, degrees and batch fit the model (check_plan).
  RankMemory stage(const Plan& plan, int64_t stage);
  RankMemory fullest(const Plan& plan);
  // device_bytes of the fullest stage and of every stage, without their parts.
  double fullest_device_bytes(const Plan& plan);
  std::vector<double> device_bytes(const Plan& plan);

 private:
  class Table;
  std::unique_ptr<Table> table_;
};

// The fullest stage of one plan.
RankMemory rank_memory(const MemoryContext& context, const Plan& plan);

}  // namespace shardwright
