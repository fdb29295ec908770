// Breadth-first (arXiv 2211.05953): a stage has v chunks that lie p apart; all microbatches go
// through its first chunk, then all through the next, and back in the opposite order of chunks.
// Bubble (p-1)(F+B)/v for any number of microbatches from p on; all m microbatches are held. For
// small batches: few microbatches to hold, and gradients and sharded weights of a chunk are needed
// once a step.
#include "planner/schedule/schedule.h"

namespace shardwright {

std::vector<Slot> breadth_first_order(const ScheduleShape& shape, int) {
  std::vector<Slot> order;
  order.reserve(2 * static_cast<size_t>(shape.microbatches) * shape.virtual_stages);
  for (int chunk = 0; chunk < shape.virtual_stages; ++chunk) {
    for (int m = 0; m < shape.microbatches; ++m) order.push_back({Slot::kForward, m, chunk});
  }
  for (int chunk = shape.virtual_stages - 1; chunk >= 0; --chunk) {
    for (int m = 0; m < shape.microbatches; ++m) order.push_back({Slot::kBackward, m, chunk});
  }
  return order;
}

}  // namespace shardwright
