#include "planner/schedule/schedule.h"

#include <algorithm>

#include "costmodel/check.h"

namespace shardwright {
namespace {

std::vector<Slot> order_of(const ScheduleShape& shape, int stage) {
  switch (shape.kind) {
    case ScheduleKind::kGPipe:
      return gpipe_order(stage, shape.stages, shape.microbatches);
    case ScheduleKind::kOneFOneB:
      return one_f_one_b_order(stage, shape.stages, shape.microbatches);
    default:
      SW_CHECK(false, "schedule " << name_of(shape.kind));
  }
}

}  // namespace

ScheduleShape schedule_shape(const Plan& plan) {
  ScheduleShape shape;
  shape.kind = plan.schedule;
  shape.stages = static_cast<int>(plan.pp);
  shape.virtual_stages = static_cast<int>(plan.virtual_stages);
  shape.microbatches = static_cast<int>(plan.microbatches());
  shape.units = plan.schedule_units;
  shape.cap = plan.schedule_cap;
  return shape;
}

std::vector<std::vector<Slot>> schedule_orders(const ScheduleShape& shape) {
  std::vector<std::vector<Slot>> orders;
  for (int stage = 0; stage < shape.stages; ++stage) orders.push_back(order_of(shape, stage));
  return orders;
}

std::string schedule_problem(const ScheduleShape& shape) {
  if (shape.kind > ScheduleKind::kOneFOneB || shape.virtual_stages > 1) {
    return std::string(name_of(shape.kind)) + " is not known yet";
  }
  return "";
}

int in_flight(const ScheduleShape& shape, int stage, int chunk) {
  int held = 0, most = 0;
  for (const Slot& slot : order_of(shape, stage)) {
    if (slot.chunk != chunk) continue;
    held += slot.kind == Slot::kForward ? 1 : slot.kind == Slot::kBackwardInput ? 0 : -1;
    most = std::max(most, held);
  }
  return most;
}

}  // namespace shardwright
