// The synthesised schedule: list scheduling of forwards, gradients of inputs and gradients of
// weights with the times of this plan's chunks (shape.units; none: all alike), so that no stage
// holds more than shape.cap chunk-microbatches from a forward to its gradient of weights.
//
// One chunk a stage lies as in 1F1B, two in a V (ZB-V), more as in interleaved 1F1B. Under the same
// cap no hand-made schedule of that placement is faster: those that fit are candidates themselves,
// with whole backwards cut in two, as they are and with their gradients of weights moved into their
// gaps. Messages are taken to be free; a walk with messages says what they cost.
#pragma once

#include "planner/schedule/walk.h"

namespace shardwright {

// The same input gives the same orders. REQUIRES: schedule_problem is "".
std::vector<std::vector<Slot>> synthesised_orders(const ScheduleShape& shape);

// The times that it is made for.
PassTimes synthesised_times(const ScheduleShape& shape);

// The hand-made schedules of the same placement that exist for these sizes, whatever they hold.
std::vector<ScheduleShape> hand_made_shapes(const ScheduleShape& shape);

}  // namespace shardwright
