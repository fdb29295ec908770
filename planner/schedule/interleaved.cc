// Interleaved 1F1B (arXiv 2104.04473, section 2.2): a stage has v chunks that lie p apart and
// visits them in rounds of p microbatches each. Stage r warms up with 2(p-r-1)+(v-1)p forwards,
// then alternates like 1F1B. Bubble (p-1)(F+B)/v, F and B of a whole stage; at most
// 2(p-r-1)+(v-1)p+1 chunk-microbatches are held. Microbatches come in multiples of p.
#include <algorithm>

#include "planner/schedule/schedule.h"

namespace shardwright {
namespace {

// Passes in the order in which chunks take turns, p microbatches each; backwards take them from the
// last one.
class Turns {
 public:
  Turns(const ScheduleShape& shape, Slot::Kind kind) : shape_(shape), kind_(kind) {}
  Slot next() {
    const bool forward = kind_ == Slot::kForward;
    const Slot slot(kind_, round_ + place_, forward ? turn_ : shape_.virtual_stages - 1 - turn_);
    ++count_;
    if (++place_ < shape_.stages) return slot;
    place_ = 0;
    if (++turn_ == shape_.virtual_stages) {
      turn_ = 0;
      round_ += shape_.stages;
    }
    return slot;
  }
  int count() const { return count_; }

 private:
  const ScheduleShape& shape_;
  const Slot::Kind kind_;
  int round_ = 0, turn_ = 0, place_ = 0;  // the round's first microbatch, the chunk, the place
  int count_ = 0;
};

}  // namespace

std::vector<Slot> interleaved_order(const ScheduleShape& shape, int stage) {
  const int total = shape.microbatches * shape.virtual_stages;
  const int warm_up =
      std::min(total, 2 * (shape.stages - stage - 1) + (shape.virtual_stages - 1) * shape.stages);
  std::vector<Slot> order;
  order.reserve(2 * static_cast<size_t>(total));
  Turns forwards(shape, Slot::kForward), backwards(shape, Slot::kBackward);
  while (forwards.count() < warm_up) order.push_back(forwards.next());
  while (forwards.count() < total) {
    order.push_back(forwards.next());
    order.push_back(backwards.next());
  }
  while (backwards.count() < total) order.push_back(backwards.next());
  return order;
}

}  // namespace shardwright
