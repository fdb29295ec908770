#include "planner/search/pipeline_bound.h"

#include <algorithm>

#include "costmodel/check.h"
#include "costmodel/units.h"
#include "planner/schedule/bound.h"

namespace shardwright {
namespace {

double longest_message(const PlanPrices& prices) {
  double longest = 0;
  for (double message : prices.messages) longest = std::max(longest, message);
  return longest;
}

// What every pass takes more because messages are not sent beside it.
double serial_message(const Plan& plan, const PlanPrices& prices) {
  return plan.overlap.pipeline || plan.pp == 1 ? 0 : longest_message(prices);
}

double after_pipeline(const PlanPrices& prices) {
  double update = 0, gather = 0;
  for (const StagePrices& stage : prices.stages) {
    update = std::max(update, stage.update);
    gather = std::max(gather, stage.gather);
  }
  return prices.tied + prices.clip + update + gather;
}

}  // namespace

PassTimes pass_times(const Plan& plan, const PlanPrices& prices) {
  const bool split = splits_backward(plan.schedule);
  const double message = serial_message(plan, prices);
  PassTimes times;
  for (const ChunkPrices& c : prices.chunks) {
    ChunkUnits units;
    units.forward = to_nanoseconds(c.forward + message);
    units.backward_input = to_nanoseconds((split ? c.backward_input : c.backward) + message);
    units.backward_weight = split ? to_nanoseconds(c.backward_weight) : 0;
    times.chunks.push_back(units);
  }
  for (double seconds : prices.messages) {
    times.message_ns.push_back(plan.overlap.pipeline ? to_nanoseconds(seconds) : 0);
  }
  return times;
}

double pipeline_bound_s(const Plan& plan, const PlanPrices& prices) {
  return to_seconds(pipeline_lower_bound_ns(schedule_shape(plan), pass_times(plan, prices)));
}

double step_bound_s(const Plan& plan, const PlanPrices& prices) {
  double reduction = prices.stages.front().reduction;
  for (const StagePrices& stage : prices.stages) reduction = std::min(reduction, stage.reduction);
  return prices.pace * (pipeline_bound_s(plan, prices) + reduction + after_pipeline(prices)) +
         prices.fixed;
}

StepWalk walk_step(const Plan& plan, const PlanPrices& prices) {
  const ScheduleShape shape = schedule_shape(plan);
  const ScheduleWalk walk = walk_schedule(shape, schedule_orders(shape), pass_times(plan, prices));
  SW_CHECK_EQ(walk.stuck, size_t{0}, plan.label());
  double end = 0, busy = 0;
  StepWalk out;
  int64_t most = -1;
  for (int64_t stage = 0; stage < plan.pp; ++stage) {
    const StageWalk& one = walk.stages[stage];
    end = std::max(end, to_seconds(one.last_end_ns) + prices.stages[stage].reduction);
    busy += to_seconds(one.busy_ns);
    if (one.busy_ns <= most) continue;
    most = one.busy_ns;
    out.slowest_stage = stage;
  }
  out.step_s = prices.pace * (end + after_pipeline(prices)) + prices.fixed;
  out.bubble_s = to_seconds(walk.makespan_ns) - busy / static_cast<double>(plan.pp);
  return out;
}

}  // namespace shardwright
