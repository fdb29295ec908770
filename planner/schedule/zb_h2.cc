// ZB-H2 (arXiv 2401.10241): ZB-H1 with twice the warm-up, so that stages never wait between their
// first and their last compute when forward, gradient of inputs and gradient of weights take the
// same time. Bubble (p-1)(F+B-2W) of each stage's own span; stages start and end (p-1)F apart,
// which a step that ends with one optimizer for all of them pays. Every stage holds at most 2p-1
// microbatches.
#include <algorithm>

#include "planner/schedule/schedule.h"

namespace shardwright {

std::vector<Slot> zb_h2_order(const ScheduleShape& shape, int stage) {
  const int warm_up = std::min(2 * (shape.stages - stage - 1), shape.microbatches);
  std::vector<Slot> order;
  order.reserve(3 * static_cast<size_t>(shape.microbatches));
  int forward = 0, weight = 0;
  while (forward < warm_up) order.push_back({Slot::kForward, forward++});
  for (int m = 0; m < shape.microbatches; ++m) {
    if (forward < shape.microbatches) order.push_back({Slot::kForward, forward++});
    order.push_back({Slot::kBackwardInput, m});
    if (m >= 2 * stage) order.push_back({Slot::kBackwardWeight, weight++});
  }
  while (weight < shape.microbatches) order.push_back({Slot::kBackwardWeight, weight++});
  return order;
}

}  // namespace shardwright
