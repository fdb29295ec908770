#include <algorithm>

#include "planner/export/idle_choices.h"
#include "planner/lint/lint.h"

namespace shardwright {
namespace {

// Below this share of a step nothing is worth a line.
constexpr double kWorthSaying = 0.005;

}  // namespace

std::vector<Waste> waste_of(const ModelSpec& model, const Job& job, const JobPrediction& predicted,
                            JobPricer* pricer) {
  const EstimateParts& parts = predicted.time.parts;
  std::vector<Waste> all = {{"waiting for other stages (bubble)", parts.bubble},
                            {"exposed tp collectives", parts.tensor},
                            {"exposed cp exchanges", parts.context},
                            {"exposed expert all-to-all", parts.experts},
                            {"exposed gathers and scatters of sharded weights", parts.sharding},
                            {"exposed reduction of gradients", parts.gradients},
                            {"exposed gather of updated weights", parts.parameters},
                            {"the device waits for the host", parts.host}};
  if (job.plan.recompute != Recompute::kNone) {
    Plan plan = job.plan;
    plan.recompute = Recompute::kNone;
    plan = without_idle_choices(model, plan);
    if (pricer->fits(plan)) {
      all.push_back(
          {std::string(name_of(job.plan.recompute)) + " recomputation, though it fits without",
           predicted.time.step_s - pricer->step_s(plan)});
    }
  }
  std::vector<Waste> out;
  for (const Waste& one : all) {
    if (one.seconds > kWorthSaying * predicted.time.step_s) out.push_back(one);
  }
  std::stable_sort(out.begin(), out.end(),
                   [](const Waste& a, const Waste& b) { return a.seconds > b.seconds; });
  return out;
}

}  // namespace shardwright
