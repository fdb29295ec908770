#include "planner/search/pipeline_bound.h"

#include <algorithm>

#include "costmodel/check.h"
#include "planner/schedule/bound.h"
#include "planner/search/step_times.h"

namespace shardwright {

double pipeline_bound_s(const Plan& plan, const PlanPrices& prices) {
  const PassTimes times = with_messages(step_ns(plan, prices));
  return to_seconds(pipeline_lower_bound_ns(schedule_shape(plan), times));
}

double step_bound_s(const Plan& plan, const PlanPrices& prices) {
  StepNs times = step_ns(plan, prices);
  // Everything follows the first stage's first forward.
  const Nanoseconds passed = times.stages.front().gather_first +
                             pipeline_lower_bound_ns(schedule_shape(plan), with_messages(times));
  std::vector<Nanoseconds> ends(times.stages.size(), 0);
  ends.front() = passed;  // where every microbatch's backward ends
  if (splits_backward(plan.schedule)) {
    // Gradients of weights may keep another stage longer.
    const auto least = std::min_element(
        times.stages.begin(), times.stages.end(),
        [](const StageNs& a, const StageNs& b) { return a.reduction < b.reduction; });
    ends.front() += least->reduction;
    times.tied = 0;
    for (StageNs& stage : times.stages) stage.reduction = 0;
  }
  return to_seconds(end_of_step(plan, times, ends));
}

StepWalk walk_step(const Plan& plan, const PlanPrices& prices) {
  const ScheduleShape shape = schedule_shape(plan);
  const StepNs times = step_ns(plan, prices);
  const ScheduleWalk walk = walk_schedule(shape, schedule_orders(shape), with_messages(times));
  SW_CHECK_EQ(walk.stuck, size_t{0}, plan.label());
  StepWalk out;
  std::vector<Nanoseconds> ends;
  Nanoseconds busy = 0, most = -1;
  for (int64_t stage = 0; stage < plan.pp; ++stage) {
    const StageWalk& one = walk.stages[stage];
    ends.push_back(one.last_end_ns);
    busy += one.busy_ns;
    if (one.busy_ns <= most) continue;
    most = one.busy_ns;
    out.slowest_stage = stage;
  }
  out.step_s = to_seconds(end_of_step(plan, times, ends));
  out.bubble_s = to_seconds(walk.makespan_ns) - to_seconds(busy) / static_cast<double>(plan.pp);
  return out;
}

}  // namespace shardwright
