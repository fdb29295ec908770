// Interleaved 1F1B (arXiv 2104.04473, section 2.2): a stage has v chunks that lie p apart and
// visits them in rounds of p microbatches each. Stage r warms up with 2(p-r-1)+(v-1)p forwards,
// then alternates like 1F1B. Bubble (p-1)(F+B)/v, F and B of a whole stage; at most
// 2(p-r-1)+(v-1)p+1 chunk-microbatches are held. Microbatches come in multiples of p.
#include <algorithm>

#include "planner/schedule/schedule.h"

namespace shardwright {
namespace {

// The k-th pass in the order in which chunks take turns; backward takes them from the last one.
Slot pass(const ScheduleShape& shape, Slot::Kind kind, int k) {
  const int round = shape.stages * shape.virtual_stages;
  const int turn = k % round / shape.stages;
  const int microbatch = k / round * shape.stages + k % shape.stages;
  return {kind, microbatch, kind == Slot::kForward ? turn : shape.virtual_stages - 1 - turn};
}

}  // namespace

std::vector<Slot> interleaved_order(const ScheduleShape& shape, int stage) {
  const int total = shape.microbatches * shape.virtual_stages;
  const int warm_up =
      std::min(total, 2 * (shape.stages - stage - 1) + (shape.virtual_stages - 1) * shape.stages);
  std::vector<Slot> order;
  int forward = 0, backward = 0;
  while (forward < warm_up) order.push_back(pass(shape, Slot::kForward, forward++));
  while (forward < total) {
    order.push_back(pass(shape, Slot::kForward, forward++));
    order.push_back(pass(shape, Slot::kBackward, backward++));
  }
  while (backward < total) order.push_back(pass(shape, Slot::kBackward, backward++));
  return order;
}

}  // namespace shardwright
