// GPipe (arXiv 1811.06965): all forwards, then all backwards in the same order. Bubble
// (p-1)(F+B); every stage holds all m microbatches.
#include "planner/schedule/schedule.h"

namespace shardwright {

std::vector<Slot> gpipe_order(const ScheduleShape& shape, int) {
  std::vector<Slot> order;
  order.reserve(2 * static_cast<size_t>(shape.microbatches));
  for (int m = 0; m < shape.microbatches; ++m) order.push_back({Slot::kForward, m});
  for (int m = 0; m < shape.microbatches; ++m) order.push_back({Slot::kBackward, m});
  return order;
}

}  // namespace shardwright
