#include "planner/search/stack_simulation.h"

#include "costmodel/check.h"
#include "planner/compile.h"
#include "planner/search/step_times.h"
#include "planner/simulate.h"

namespace shardwright {

StackSimulation simulate_plan(Software& software, const Plan& plan) {
  StackSimulation out;
  out.program =
      compile(software.model_for(plan.tp), plan, {.overlap = true, .representative = true});
  const StepNs times = step_ns(plan, software.prices(plan));
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
