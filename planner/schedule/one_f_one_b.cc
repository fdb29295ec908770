// 1F1B (PipeDream-flush, arXiv 2104.04473): stage r warms up with p-r-1 forwards, then alternates
// one forward and one backward, then drains. Bubble (p-1)(F+B) like GPipe, but at most p-r
// microbatches are in flight.
#include <algorithm>

#include "planner/schedule/schedule.h"

namespace shardwright {

std::vector<Slot> one_f_one_b_order(int stage, int stages, int microbatches) {
  const int warm_up = std::min(stages - stage - 1, microbatches);
  std::vector<Slot> order;
  int forward = 0, backward = 0;
  while (forward < warm_up) order.push_back({Slot::kForward, forward++});
  while (forward < microbatches) {
    order.push_back({Slot::kForward, forward++});
    order.push_back({Slot::kBackward, backward++});
  }
  while (backward < microbatches) order.push_back({Slot::kBackward, backward++});
  return order;
}

}  // namespace shardwright
