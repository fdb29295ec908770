// A time that no walk of a schedule can beat, from the times of its passes alone: search asks it
// before it makes an order. Cost grows with stages times virtual stages, not with microbatches.
#pragma once

#include "planner/schedule/walk.h"

namespace shardwright {

// Never above walk_schedule's makespan. Equal to it when all chunks take the same times and
// messages none, for GPipe, (interleaved) 1F1B, breadth-first from p microbatches on, and ZB-H1 as
// long as the gradient of weights is no longer than forward and gradient of inputs together.
int64_t pipeline_lower_bound_ns(const ScheduleShape& shape, const PassTimes& times);

}  // namespace shardwright
