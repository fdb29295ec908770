// Exact time of a schedule alone: walks the orders of all stages once, with one time per pass and
// message, and says when each stage starts, ends, and what it holds. Search asks it for thousands
// of plans; a whole Program is simulated for the few that are left.
#pragma once

#include "planner/schedule/schedule.h"

namespace shardwright {

// Times in ns, chunks in model order. A backward takes backward_input + backward_weight. Messages
// travel beside compute, those of activations and those of gradients that a stage sends one after
// another each; consecutive chunks on the same stage need none.
struct PassTimes {
  std::vector<ChunkUnits> chunks;   // [stages * virtual_stages]
  std::vector<int64_t> message_ns;  // [chunks - 1]: between chunk c and c + 1, either way
  std::vector<int64_t> ready_ns;    // [stages]: none starts earlier; empty: at 0
};

struct StageWalk {
  int64_t busy_ns = 0, first_start_ns = 0, last_end_ns = 0;
  int peak_held = 0;  // chunk-microbatches between forward and the end of their backward
};
struct ScheduleWalk {
  int64_t makespan_ns = 0;
  size_t stuck = 0;  // slots that could never start: 0 for every schedule of this folder
  std::vector<StageWalk> stages;
};

// `orders`: one per stage, chunks as in Slot, placed as the kind of `shape` says.
ScheduleWalk walk_schedule(const ScheduleShape& shape, const std::vector<std::vector<Slot>>& orders,
                           const PassTimes& times);

}  // namespace shardwright
