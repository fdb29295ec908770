#include "planner/search/pipeline_bound.h"

#include <algorithm>

#include "costmodel/check.h"
#include "planner/schedule/bound.h"
#include "planner/search/step_times.h"

namespace shardwright {

double layers_bound_s(const Plan& plan, const WholeSeconds& whole) {
  // Passes are whole nanoseconds, up to half of one less than their price: three a chunk, of which
  // there may be as many as layers, and two for chunks of none at the ends.
  const double rounding_s = 0.5e-9 * 3 * static_cast<double>(whole.layers + 2);
  const double one = whole.pace * whole.seconds - rounding_s;
  return std::max(0.0,
                  static_cast<double>(plan.microbatches()) * one / static_cast<double>(plan.pp));
}

void set_schedule_units(const PlanPrices& prices, Plan* plan) {
  plan->schedule_units = with_messages(step_ns(*plan, prices)).chunks;
}

std::vector<ReplicaView> replica_views(const Plan& plan, const PlanPrices& prices) {
  std::vector<ReplicaView> views;
  for (const ReplicaPrices& one : prices.replicas) {
    ReplicaView view{plan, prices};
    view.plan.replica_batches.clear();
    view.plan.global_batch = one.microbatches * plan.micro_batch * plan.dp;
    view.prices.chunks = one.chunks;
    view.prices.replicas.clear();
    views.push_back(std::move(view));
  }
  return views;
}

ReplicaView slowest_view(const Plan& plan, const PlanPrices& prices, OrdersMemo* memo) {
  ReplicaView slowest{plan, prices};
  double longest = -1;
  for (ReplicaView& view : replica_views(plan, prices)) {
    const double seconds = walk_step(view.plan, view.prices, memo).step_s;
    if (seconds <= longest) continue;
    longest = seconds;
    slowest = std::move(view);
  }
  return slowest;
}

double pipeline_bound_s(const Plan& plan, const PlanPrices& prices) {
  if (!prices.replicas.empty()) {
    double most = 0;
    for (const ReplicaView& view : replica_views(plan, prices)) {
      most = std::max(most, pipeline_bound_s(view.plan, view.prices));
    }
    return most;
  }
  const PassTimes times = with_messages(step_ns(plan, prices));
  return to_seconds(pipeline_lower_bound_ns(schedule_shape(plan), times));
}

double step_bound_s(const Plan& plan, const PlanPrices& prices) {
  if (!prices.replicas.empty()) {
    double most = 0;
    for (const ReplicaView& view : replica_views(plan, prices)) {
      most = std::max(most, step_bound_s(view.plan, view.prices));
    }
    return most;
  }
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

namespace {

// The reduction starts when the slowest replica's stage is done.
StepWalk walk_unlike(const Plan& plan, const PlanPrices& prices, OrdersMemo* memo) {
  const StepNs times = step_ns(plan, prices);
  std::vector<Nanoseconds> ends(static_cast<size_t>(plan.pp), 0);
  StepWalk out;
  Nanoseconds longest = -1;
  for (const ReplicaView& view : replica_views(plan, prices)) {
    const ScheduleShape shape = schedule_shape(view.plan);
    const ScheduleWalk walk =
        walk_schedule(shape, memo->orders(shape), with_messages(step_ns(view.plan, view.prices)));
    SW_CHECK_EQ(walk.stuck, size_t{0}, plan.label());
    for (size_t stage = 0; stage < ends.size(); ++stage) {
      ends[stage] = std::max(ends[stage], walk.stages[stage].last_end_ns);
    }
    if (walk.makespan_ns <= longest) continue;
    longest = walk.makespan_ns;
    const StepWalk slowest = walk_step(view.plan, view.prices, memo);
    out.bubble_s = slowest.bubble_s;
    out.slowest_stage = slowest.slowest_stage;
  }
  out.step_s = to_seconds(end_of_step(plan, times, ends));
  return out;
}

}  // namespace

StepWalk walk_step(const Plan& plan, const PlanPrices& prices, OrdersMemo* memo) {
  if (!prices.replicas.empty()) return walk_unlike(plan, prices, memo);
  const ScheduleShape shape = schedule_shape(plan);
  const StepNs times = step_ns(plan, prices);
  const ScheduleWalk walk = walk_schedule(shape, memo->orders(shape), with_messages(times));
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

EstimateParts stage_parts(const Plan& plan, const PlanPrices& prices, int64_t stage) {
  const double passes = prices.pace * static_cast<double>(plan.microbatches());
  EstimateParts out;
  for (int64_t k = 0; k < plan.virtual_stages; ++k) {
    const EstimateParts& spent = prices.chunks[chunk_of_stage(plan, stage, k)].spent;
    out.compute += passes * spent.compute;
    out.tensor += passes * spent.tensor;
    out.context += passes * spent.context;
    out.experts += passes * spent.experts;
    out.sharding += passes * spent.sharding;
    out.host += passes * spent.host;
  }
  const StagePrices& ends = prices.stages[stage];
  const bool holds_table = stage == stage_of_chunk(plan, 0) ||
                           stage == stage_of_chunk(plan, plan.pp * plan.virtual_stages - 1);
  out.gradients = prices.pace * (ends.reduction + (holds_table ? prices.tied : 0));
  out.parameters = prices.pace * ends.gather;
  out.optimizer = prices.pace * (ends.update + prices.clip);
  out.fixed = prices.fixed;
  return out;
}

}  // namespace shardwright
