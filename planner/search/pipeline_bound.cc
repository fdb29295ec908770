#include "planner/search/pipeline_bound.h"

#include <algorithm>

namespace shardwright {

double pipeline_bound_s(const Plan& plan, const PlanPrices& prices) {
  const auto m = static_cast<double>(plan.microbatches());
  const bool split = splits_backward(plan.schedule);
  double longest = 0, around = 0;
  for (int64_t stage = 0; stage < plan.pp; ++stage) {
    double work = 0;
    for (int64_t k = 0; k < plan.virtual_stages; ++k) {
      const ChunkPrices& c = prices.chunks[chunk_of_stage(plan, stage, k)];
      work += c.forward + (split ? c.backward_input + c.backward_weight : c.backward);
    }
    longest = std::max(longest, around + m * work);
    // The first chunk of a stage is the one at its own place in the model.
    const ChunkPrices& first = prices.chunks[stage];
    around += first.forward + (split ? first.backward_input : first.backward);
    if (stage + 1 < plan.pp) around += 2 * prices.messages[stage];
  }
  return longest;
}

double step_bound_s(const Plan& plan, const PlanPrices& prices) {
  double reduction = prices.stages.front().reduction, update = 0, gather = 0;
  for (const StagePrices& stage : prices.stages) {
    reduction = std::min(reduction, stage.reduction);
    update = std::max(update, stage.update);
    gather = std::max(gather, stage.gather);
  }
  const double work =
      pipeline_bound_s(plan, prices) + reduction + prices.tied + prices.clip + update + gather;
  return prices.pace * work + prices.fixed;
}

}  // namespace shardwright
