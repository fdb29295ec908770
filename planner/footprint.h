// Memory of a plan's stages, before and after simulation.
#pragma once

#include <vector>

#include "costmodel/cluster_spec.h"
#include "planner/plan.h"

namespace shardwright {

// The fullest rank of a stage.
struct StageMemory {
  int64_t layers = 0;
  Bytes parameters = 0, gradients = 0, optimizer = 0;
  Bytes scratch = 0;      // with the step's own state
  Bytes activations = 0;  // everything else at the peak: saved tensors, messages, tokens
  Bytes available = 0;    // memory of the device
  Bytes resident() const { return parameters + gradients + optimizer + scratch; }
  Bytes peak() const { return resident() + activations; }
  Bytes missing() const { return peak() - available; }  // negative: so much is left
  friend bool operator==(const StageMemory&, const StageMemory&) = default;
};
struct NamedBytes {
  const char* name;
  Bytes bytes;
};
// The addends of peak() by name, for tables and messages.
std::vector<NamedBytes> parts_of(const StageMemory& memory);
// Index of the stage that misses most, the first of equals. REQUIRES: not empty.
size_t tightest(const std::vector<StageMemory>& stages);
bool fits(const std::vector<StageMemory>& stages);

// The same for all schedules of a plan.
class Footprint {
 public:
  // REQUIRES: the plan is legal.
  Footprint(const ModelSpec& model, const ClusterSpec& cluster, const Plan& plan);

  // By stage, without activations.
  const std::vector<StageMemory>& resident() const { return resident_; }
  // What no run can do without: the peak stands at least at the first backward, with all
  // microbatches in flight. Where messages share the compute lane simulate finds exactly this.
  std::vector<StageMemory> smallest(ScheduleKind schedule) const;

 private:
  // Of a chunk.
  struct PerMicrobatch {
    Bytes held = 0;     // from forward to backward
    Bytes working = 0;  // more during a backward: the gradients of its output and of its input
  };
  int pp_, virtual_stages_, microbatches_;
  std::vector<StageMemory> resident_;
  std::vector<PerMicrobatch> activations_;  // [pp, virtual_stages]
};

}  // namespace shardwright
