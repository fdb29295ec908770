#include "planner/schedule/synthesised.h"

#include <algorithm>
#include <limits>

#include "costmodel/check.h"
#include "planner/schedule/bound.h"
#include "planner/schedule/list_schedule.h"

namespace shardwright {
namespace {

using Orders = std::vector<std::vector<Slot>>;

// Every backward in its two parts, one right after the other: never slower than in one.
Orders split(const Orders& orders) {
  Orders out(orders.size());
  for (size_t stage = 0; stage < orders.size(); ++stage) {
    for (const Slot& slot : orders[stage]) {
      if (slot.kind != Slot::kBackward) {
        out[stage].push_back(slot);
        continue;
      }
      out[stage].push_back({Slot::kBackwardInput, slot.microbatch, slot.chunk});
      out[stage].push_back({Slot::kBackwardWeight, slot.microbatch, slot.chunk});
    }
  }
  return out;
}

// Keeps the fastest orders that fit; of equally fast ones the first.
class Synthesis {
 public:
  explicit Synthesis(const ScheduleShape& shape)
      : shape_(shape),
        times_(synthesised_times(shape)),
        bound_(pipeline_lower_bound_ns(shape, times_)) {}

  Orders run() {
    for (const ScheduleShape& hand_made : hand_made_shapes(shape_)) {
      if (!done()) improve(split(schedule_orders(hand_made)));
    }
    // Holding less than allowed keeps late stages from running ahead of early ones.
    const int64_t most =
        std::min<int64_t>(shape_.cap, int64_t{shape_.microbatches} * shape_.virtual_stages);
    list_schedules(most);
    if (shape_.chunks() < most) list_schedules(shape_.chunks());
    SW_CHECK(!best_.empty(), "no synthesised order under cap " << shape_.cap);
    return std::move(best_);
  }

 private:
  static constexpr int kPatience[] = {0, 50, 100};

  bool done() const { return best_ns_ <= bound_; }
  bool keep(Orders orders) {
    if (orders.empty()) return true;  // no faster than the best
    const ScheduleWalk walk = walk_schedule(shape_, orders, times_);
    SW_CHECK_EQ(walk.stuck, size_t{0}, "synthesised order");
    const bool fits =
        std::all_of(walk.stages.begin(), walk.stages.end(),
                    [&](const StageWalk& stage) { return stage.peak_held <= shape_.cap; });
    if (!fits) return false;
    if (walk.makespan_ns >= best_ns_) return true;
    best_ns_ = walk.makespan_ns;
    best_ = std::move(orders);
    return true;
  }
  void improve(const Orders& orders) {
    if (!keep(orders)) return;
    Preference preference;
    preference.held = shape_.cap;
    for (int patience : kPatience) {
      if (done()) return;
      preference.patience_pct = patience;
      preference.before = best_ns_;
      keep(move_weights(shape_, orders, times_, preference));
    }
  }
  void list_schedules(int64_t held) {
    for (auto order :
         {Preference::kBackwardFirst, Preference::kInTurn, Preference::kForwardFirst}) {
      for (bool late_first : {true, false}) {
        if (!late_first && shape_.virtual_stages == 1) continue;
        for (int patience : kPatience) {
          if (done()) return;
          keep(list_schedule(shape_, times_, {order, late_first, patience, held, best_ns_}));
        }
      }
    }
  }

  const ScheduleShape& shape_;
  const PassTimes times_;
  const int64_t bound_;
  Orders best_;
  int64_t best_ns_ = std::numeric_limits<int64_t>::max();
};

}  // namespace

std::vector<std::vector<Slot>> synthesised_orders(const ScheduleShape& shape) {
  return Synthesis(shape).run();
}

PassTimes synthesised_times(const ScheduleShape& shape) {
  PassTimes times;
  times.chunks = shape.units;
  if (times.chunks.empty()) times.chunks.resize(shape.chunks());
  return times;
}

std::vector<ScheduleShape> hand_made_shapes(const ScheduleShape& shape) {
  std::vector<ScheduleShape> out;
  for (int kind = 0; kind < kScheduleKinds; ++kind) {
    ScheduleShape one = shape;
    one.kind = static_cast<ScheduleKind>(kind);
    one.units.clear();
    one.cap = 0;
    const bool same_place =
        is_v_shaped(one.kind, one.virtual_stages) == is_v_shaped(shape.kind, shape.virtual_stages);
    if (one.kind == ScheduleKind::kSynthesised || !same_place) continue;
    if (schedule_problem(one).empty()) out.push_back(one);
  }
  return out;
}

}  // namespace shardwright
