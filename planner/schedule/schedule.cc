#include "planner/schedule/schedule.h"

#include "costmodel/check.h"
#include "planner/schedule/synthesised.h"

namespace shardwright {
namespace {

std::vector<Slot> order_of(const ScheduleShape& shape, int stage) {
  switch (shape.kind) {
    case ScheduleKind::kGPipe:
      return gpipe_order(shape, stage);
    case ScheduleKind::kOneFOneB:
      return shape.virtual_stages > 1 ? interleaved_order(shape, stage)
                                      : one_f_one_b_order(shape, stage);
    case ScheduleKind::kBreadthFirst:
      return breadth_first_order(shape, stage);
    case ScheduleKind::kZbH1:
      return zb_h1_order(shape, stage);
    case ScheduleKind::kZbH2:
      return zb_h2_order(shape, stage);
    case ScheduleKind::kZbV:
      return zb_v_order(shape, stage);
    case ScheduleKind::kDualPipeV:
      return dualpipe_v_order(shape, stage);
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

const std::vector<std::vector<Slot>>& OrdersMemo::orders(const ScheduleShape& shape) {
  if (!orders_.empty() && shape == shape_) return orders_;
  shape_ = shape;
  orders_ = schedule_orders(shape);
  return orders_;
}

std::vector<std::vector<Slot>> schedule_orders(const ScheduleShape& shape) {
  if (shape.kind == ScheduleKind::kVHalf) return v_half_orders(shape);
  if (shape.kind == ScheduleKind::kSynthesised) return synthesised_orders(shape);
  std::vector<std::vector<Slot>> orders;
  for (int stage = 0; stage < shape.stages; ++stage) orders.push_back(order_of(shape, stage));
  return orders;
}

}  // namespace shardwright
