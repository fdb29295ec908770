// How many microbatches' activations the chunks of a stage hold at once: what a schedule costs in
// memory.
#pragma once

#include <array>
#include <map>
#include <vector>

#include "planner/schedule/schedule.h"

namespace shardwright {

// Microbatches that a chunk of a stage holds between forward and the end of its backward when the
// stage as a whole first holds most, all chunks counted alike. A split backward ends with the
// gradient of weights: until then this counts everything that a forward saves, although the
// gradient of inputs may free a part of it (held_chunks). Closed forms but for V-shaped and
// synthesised schedules, whose orders are made: ask ScheduleMemo when asking often.
int in_flight(const ScheduleShape& shape, int stage, int chunk);

// The same moment, with memory freed in two parts: `weight_share` of what a forward saves is held
// until the gradient of weights, the rest until the gradient of inputs. The share belongs to the
// model: inputs of matrix products stay, those of norms, activations and attention need not
// (arXiv 2401.10241, table 1).
struct HeldChunk {
  int whole = 0;        // after forward, before the gradient of inputs
  int for_weights = 0;  // after the gradient of inputs, before that of weights
};
std::vector<HeldChunk> held_chunks(const std::vector<Slot>& order, int virtual_stages,
                                   double weight_share = 1);

// in_flight of shapes asked for before at the price of a look-up.
class ScheduleMemo {
 public:
  int in_flight(const ScheduleShape& shape, int stage, int chunk);

 private:
  struct Less {
    bool operator()(const ScheduleShape& a, const ScheduleShape& b) const;
  };
  const std::vector<int>& held(const ScheduleShape& shape);

  std::map<ScheduleShape, std::vector<int>, Less> held_;  // [stages, virtual_stages]
  // The shape asked for last: its chunks and stages are asked for one after the other.
  const ScheduleShape* last_ = nullptr;
  const std::vector<int>* last_held_ = nullptr;
};

}  // namespace shardwright
