#include "planner/search/stack_simulation.h"

#include <algorithm>

#include "costmodel/check.h"
#include "planner/compile.h"
#include "planner/search/pipeline_bound.h"
#include "planner/search/step_times.h"
#include "planner/simulate.h"

namespace shardwright {

namespace {

struct Walked {
  StepWalk walk;
  ReplicaView slowest;
  EstimateParts spent() const {
    return stage_parts(slowest.plan, slowest.prices, walk.slowest_stage);
  }
};
Walked walked(Software& software, const Plan& plan) {
  const PlanPrices& prices = software.prices(plan);
  return {walk_step(plan, prices, &software.orders()),
          slowest_view(plan, prices, &software.orders())};
}

}  // namespace

RankedPlan evaluate(Software& software, const Plan& plan) {
  RankedPlan out;
  out.plan = plan;
  const Walked all = walked(software, plan);
  const StepWalk& walk = all.walk;
  out.step_ns = to_nanoseconds(walk.step_s);
  out.step_time_s = to_seconds(out.step_ns);
  out.tokens_per_s = static_cast<double>(plan.tokens_per_step()) / std::max(1e-9, out.step_time_s);
  out.bubble_share = walk.bubble_s / std::max(1e-12, walk.step_s);
  const EstimateParts spent = all.spent();
  TimeParts& parts = out.parts;
  parts.stage = walk.slowest_stage;
  parts.compute_s = spent.compute + spent.host;
  parts.tp_s = spent.tensor + spent.context + spent.experts;
  parts.dp_s = spent.sharding + spent.gradients + spent.parameters;
  parts.optimizer_s = spent.optimizer;
  const PlanPrices& prices = all.slowest.prices;
  const double microbatches = prices.pace * static_cast<double>(all.slowest.plan.microbatches());
  for (double message : prices.messages) {
    parts.pp_s = std::max(parts.pp_s, 2 * microbatches * message);
  }
  out.stages = software.stages(plan);
  for (const StageMemory& memory : out.stages) {
    out.memory_peak_bytes = std::max(out.memory_peak_bytes, memory.peak());
  }
  return out;
}

Estimate estimate_walked(Software& software, const Plan& plan) {
  const Walked all = walked(software, plan);
  Estimate out{all.walk.step_s, all.spent()};
  // One stage waits for no other: what is left then is rounding to whole nanoseconds.
  out.parts.bubble = out.step_s - out.parts.total();
  return out;
}

StackSimulation simulate_plan(Software& software, const Plan& plan) {
  StackSimulation out;
  const StepNs times = step_ns(plan, software.prices(plan));
  CompileOptions options{.overlap = true, .representative = true};
  // Of unlike replicas one of each kind; on like devices the one with most to do.
  const std::vector<int64_t>& batches = plan.replica_batches;
  if (!times.replicas.empty()) {
    options.replicas.clear();
  } else if (!batches.empty()) {
    options.replicas = {std::max_element(batches.begin(), batches.end()) - batches.begin()};
  }
  for (const ReplicaNs& one : times.replicas) options.replicas.push_back(one.replica);
  out.program = compile(software.model_for(plan.tp), plan, options);
  out.timeline = simulate(out.program, Readiness(out.program), program_costs(out.program, times));
  return out;
}

void simulate_found(Software& software, std::vector<RankedPlan>* plans) {
  for (RankedPlan& ranked : *plans) {
    const Nanoseconds walked = ranked.step_ns;
    ranked.step_ns = simulate_plan(software, ranked.plan).timeline.makespan();
    SW_CHECK_EQ(ranked.step_ns, walked, ranked.plan.label());
  }
}

}  // namespace shardwright
