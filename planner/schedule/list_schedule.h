// Greedy list scheduling: a stage that is free takes the first pass of its preferences that may
// run. synthesised.h tries several preferences and keeps the best orders.
#pragma once

#include <limits>

#include "planner/schedule/walk.h"

namespace shardwright {

struct Preference {
  // When both may run: gradients of inputs or forwards, or the two in turn.
  enum Order : uint8_t { kBackwardFirst, kForwardFirst, kInTurn } order = kBackwardFirst;
  bool late_chunks_first = true;  // of forwards; otherwise the chunk nearest to the input
  // A gradient of weights is made when nothing else may run. It may keep a pass whose input arrives
  // meanwhile waiting for at most so much of its own time; 0: never, 100: whenever it comes.
  int patience_pct = 100;
  int64_t held = 0;  // chunk-microbatches that a stage holds at most, virtual_stages or more
  // Orders that take so long or longer are of no use: none are returned.
  int64_t before = std::numeric_limits<int64_t>::max();
};

// Messages are taken to be free.
std::vector<std::vector<Slot>> list_schedule(const ScheduleShape& shape, const PassTimes& times,
                                             const Preference& preference);

// Forwards and gradients of inputs in the order of `orders`; only patience_pct, held and before
// count.
// REQUIRES: no stage of `orders` holds more than that, and no backward is whole.
std::vector<std::vector<Slot>> move_weights(const ScheduleShape& shape,
                                            const std::vector<std::vector<Slot>>& orders,
                                            const PassTimes& times, const Preference& preference);

}  // namespace shardwright
