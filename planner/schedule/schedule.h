// Pipeline schedules: in which order a stage computes. One file per schedule; this header is the
// list.
#pragma once

#include <vector>

#include "planner/plan.h"

namespace shardwright {

// One compute of a stage.
struct Slot {
  enum Kind { kForward, kBackward } kind = kForward;
  int microbatch = 0;
  friend bool operator==(const Slot&, const Slot&) = default;
};

// The order of computes of stage `stage` of `stages` for `microbatches` microbatches.
std::vector<Slot> gpipe_order(int stage, int stages, int microbatches);
std::vector<Slot> one_f_one_b_order(int stage, int stages, int microbatches);

std::vector<Slot> schedule_order(ScheduleKind kind, int stage, int stages, int microbatches);

// Most microbatches that a stage holds between forward and backward at once.
int in_flight(ScheduleKind kind, int stage, int stages, int microbatches);

}  // namespace shardwright
