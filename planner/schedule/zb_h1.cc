// ZB-H1 (arXiv 2401.10241): 1F1B whose backward is split. The gradient of inputs goes on at once;
// the gradient of weights lags r microbatches behind on stage r and fills the tail. Bubble
// (p-1)(F+B-W) with B the gradient of inputs alone; every stage holds at most p microbatches.
#include <algorithm>

#include "planner/schedule/schedule.h"

namespace shardwright {

std::vector<Slot> zb_h1_order(const ScheduleShape& shape, int stage) {
  const int warm_up = std::min(shape.stages - stage - 1, shape.microbatches);
  std::vector<Slot> order;
  order.reserve(3 * static_cast<size_t>(shape.microbatches));
  int forward = 0, weight = 0;
  while (forward < warm_up) order.push_back({Slot::kForward, forward++});
  for (int m = 0; m < shape.microbatches; ++m) {
    if (forward < shape.microbatches) order.push_back({Slot::kForward, forward++});
    order.push_back({Slot::kBackwardInput, m});
    if (m >= stage) order.push_back({Slot::kBackwardWeight, weight++});
  }
  while (weight < shape.microbatches) order.push_back({Slot::kBackwardWeight, weight++});
  return order;
}

}  // namespace shardwright
