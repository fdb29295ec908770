// A plan with all its choices, before it is simulated: when another one of the same pipeline and
// recomputation makes looking at it needless.
#pragma once

#include "planner/search/step_times.h"

namespace shardwright {

struct Leaf {
  double bound_s = 0;       // step_bound_s
  double memory_share = 0;  // Software::fullest_share
  StepNs times;

  // Whether `other` takes no more memory and no more time. An end of a step is a maximum of sums of
  // these times, in one order of events, so it is when each of them is no longer. The order is the
  // same but where a tied table is summed before or after the reduction; gathers before the passes
  // and after the update are two times.
  bool dominated_by(const Leaf& other) const;
};

}  // namespace shardwright
