// What a stage does before its first backward and after its last forward: the two ends of a
// pipeline, where stages wait. Closed forms of the orders, for the bound on a schedule's time.
#pragma once

#include "planner/schedule/schedule.h"

namespace shardwright {

// Passes of one chunk of a stage. A backward in two parts counts as its gradient of inputs.
struct ChunkEdges {
  int before = 0;  // forwards before the stage's first backward
  int after = 0;   // backwards after its last forward
  // Gradients of weights that are left after the stage's last gradient of inputs, and those
  // between its last forward and that.
  int left = 0, filling = 0;
};
struct StageEdges {
  // Orders that are made for their times: how many chunk-microbatches a stage may hold, 0 when all
  // counts are exact. V-Half knows its forwards and gradients of inputs, but not where its
  // gradients of weights go; of the synthesised schedule nothing is known.
  int most_held = 0;
  bool passes_known = true;
  // No forward comes after the first backward: what is before the one is all before the other.
  bool alone = false;
};

// Fills `chunks`, one for each of the stage's. REQUIRES: schedule_problem is "", and the schedule
// is neither GPipe nor breadth-first, which run in two phases.
StageEdges stage_edges(const ScheduleShape& shape, int stage, ChunkEdges* chunks);

}  // namespace shardwright
