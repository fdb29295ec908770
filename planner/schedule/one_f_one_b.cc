// 1F1B (PipeDream-flush, arXiv 2104.04473): stage r warms up with p-r-1 forwards, then alternates
// one forward and one backward, then drains. Bubble (p-1)(F+B) like GPipe, but at most p-r
// microbatches are in flight.
#include <algorithm>

#include "planner/schedule/schedule.h"

namespace shardwright {

std::vector<Slot> one_f_one_b_order(const ScheduleShape& shape, int stage) {
  const int warm_up = std::min(shape.stages - stage - 1, shape.microbatches);
  std::vector<Slot> order;
  order.reserve(2 * static_cast<size_t>(shape.microbatches));
  int forward = 0, backward = 0;
  while (forward < warm_up) order.push_back({Slot::kForward, forward++});
  while (forward < shape.microbatches) {
    order.push_back({Slot::kForward, forward++});
    order.push_back({Slot::kBackward, backward++});
  }
  while (backward < shape.microbatches) order.push_back({Slot::kBackward, backward++});
  return order;
}

}  // namespace shardwright
