#include "planner/explain/explain.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "planner/plan_json.h"
#include "planner/records/run_case.h"
#include "planner/search/pipeline_bound.h"

namespace shardwright {
namespace {

// Seconds of the model's own work at the peak of all devices of the plan; 0 without a formula.
double ideal_s(Software& software, const Plan& plan) {
  if (software.model().layer_list()) return 0;
  const auto flops = flops_per_token("causal", software.model(), plan.seq);
  if (!flops) return 0;
  double peak = 0;
  for (int64_t rank = 0; rank < plan.ranks(); ++rank) {
    const auto& peaks = software.cluster().device_of(rank).peak_flops_per_s;
    const auto own = peaks.find(plan.precision);
    if (own == peaks.end()) return 0;
    peak += own->second;
  }
  return *flops * static_cast<double>(plan.tokens_per_step()) / peak;
}

const NamedSeconds& largest(const std::vector<NamedSeconds>& parts) {
  return *std::max_element(parts.begin(), parts.end(), [](const auto& a, const auto& b) {
    return std::abs(a.seconds) < std::abs(b.seconds);
  });
}

std::string mebibytes(double bytes) {
  char text[40];
  std::snprintf(text, sizeof(text), "%.1f MiB", bytes / (1 << 20));
  return text;
}

// The one operation that the part's prediction rests on most, at its size in this plan.
std::string measurement_of(Software& software, const std::string& part, const Plan& plan) {
  const double tokens =
      static_cast<double>(plan.micro_batch * plan.seq / std::max<int64_t>(1, plan.split.cp));
  const double stream = tokens * static_cast<double>(software.model().hidden) *
                        static_cast<double>(size_of(storage_of(plan.precision)));
  const auto of = [](int64_t ranks) { return " on " + std::to_string(ranks) + " ranks"; };
  if (part == "tensor") {
    return std::string(plan.split.sequence_parallel ? "all-gather" : "all-reduce") + " of " +
           mebibytes(stream) + of(plan.tp);
  }
  if (part == "context") return "exchange of keys and values around attention" + of(plan.split.cp);
  if (part == "experts") return "all-to-all of " + mebibytes(stream) + of(plan.split.ep);
  if (part == "bubble") {
    return "forward and backward of one layer, " + std::to_string(plan.micro_batch) + " x " +
           std::to_string(plan.seq) + " tokens, tp " + std::to_string(plan.tp);
  }
  if (part == "gradients" || part == "parameters" || part == "sharding") {
    const RankMemory memory = software.memory(plan, 0);
    double weights = 0;
    for (const MemoryPart& one : memory.parts) {
      if (std::string(one.name) == "weights") weights = one.bytes;
    }
    return std::string(part == "gradients" ? "reduction" : "all-gather") + " of a stage's " +
           mebibytes(weights) + " of weights" + of(plan.dp * plan.split.cp);
  }
  if (part == "optimizer") return "the optimizer's update of one rank's share";
  if (part == "host") return "launching one layer from the host, without waiting for the device";
  if (part == "fixed") return "a whole step with one microbatch";
  return "products and attention of one layer, " + std::to_string(plan.micro_batch) + " x " +
         std::to_string(plan.seq) + " tokens, tp " + std::to_string(plan.tp);
}

std::string binding_line(const TimeBreakdown& time, const MemoryBreakdown& memory) {
  std::vector<NamedSeconds> losses;
  for (const NamedSeconds& part : time.parts) {
    if (std::string(part.name) != "compute at peak") losses.push_back(part);
  }
  const RankMemory& full = memory.stages[memory.fullest];
  char text[200];
  std::snprintf(text, sizeof(text),
                "memory of stage %lld (%.1f %% of the device, %s); most time above the roofline is "
                "%s",
                static_cast<long long>(full.stage), 100 * full.device_bytes / memory.available,
                full.phase, largest(losses).name);
  return text;
}

}  // namespace

TimeBreakdown time_breakdown(Software& software, const Plan& plan) {
  const Estimate estimate = estimate_walked(software, plan);
  const EstimateParts& p = estimate.parts;
  TimeBreakdown out;
  out.step_s = estimate.step_s;
  const double ideal = std::min(ideal_s(software, plan), p.compute);
  out.mfu = ideal / out.step_s;
  out.parts = {{"compute at peak", ideal},
               {"compute above peak", p.compute - ideal},
               {"tensor", p.tensor},
               {"context", p.context},
               {"experts", p.experts},
               {"sharding", p.sharding},
               {"host", p.host},
               {"gradients", p.gradients},
               {"parameters", p.parameters},
               {"optimizer", p.optimizer},
               {"fixed", p.fixed},
               {"bubble", p.bubble}};
  return out;
}

MemoryBreakdown memory_breakdown(Software& software, const Plan& plan) {
  MemoryBreakdown out;
  out.fullest = software.fullest_stage(plan, {});
  out.available = software.usable_bytes(plan, out.fullest, {});
  for (int64_t stage = 0; stage < plan.pp; ++stage) {
    out.stages.push_back(software.memory(plan, stage));
  }
  return out;
}

std::vector<ChoiceDifference> differences(const Plan& here, const Plan& there) {
  const Json a = choices_json(here), b = choices_json(there);
  std::vector<ChoiceDifference> out;
  const auto text = [](const Json& json, const std::string& key) {
    if (!json.contains(key)) return std::string("default");
    return json[key].is_string() ? json[key].get<std::string>() : json[key].dump();
  };
  const auto consider = [&](const std::string& key) {
    // Those that follow from others.
    if (key == "groups" || key == "microbatches" || key == "stage_layers") return;
    const bool known =
        std::any_of(out.begin(), out.end(), [&](const auto& one) { return one.name == key; });
    if (!known && text(a, key) != text(b, key)) out.push_back({key, text(a, key), text(b, key)});
  };
  for (const auto& item : a.items()) consider(item.key());
  for (const auto& item : b.items()) consider(item.key());
  return out;
}

Comparison compare_plans(Software& software, const RankedPlan& here, const RankedPlan& there,
                         const Interval& interval) {
  const TimeBreakdown a = time_breakdown(software, here.plan);
  const TimeBreakdown b = time_breakdown(software, there.plan);
  Comparison out;
  out.plan = there;
  out.choices = differences(here.plan, there.plan);
  out.lost_s = there.step_time_s - here.step_time_s;
  double squares = 0;
  for (size_t i = 0; i < a.parts.size(); ++i) {
    const double lost = b.parts[i].seconds - a.parts[i].seconds;
    out.lost.push_back({a.parts[i].name, lost});
    squares += lost * lost;
  }
  const double width = (std::exp(interval.high) - std::exp(interval.low)) / 2;
  out.spread_s = width * std::sqrt(squares);
  out.tie = std::abs(out.lost_s) <= out.spread_s;
  if (out.tie) out.measurement = measurement_of(software, largest(out.lost).name, there.plan);
  return out;
}

SpaceRequest request_like(const Plan& plan) {
  SpaceRequest request;
  request.ranks = plan.ranks();
  request.seq = plan.seq;
  request.global_batch = plan.global_batch;
  request.precision = plan.precision;
  request.optimizer = plan.optimizer;
  return request;
}

Result<Explanation> explain(Software& software, const SpaceRequest& request, const Plan& plan,
                            const Interval& interval) {
  Explanation out;
  out.plan = evaluate(software, plan);
  out.time = time_breakdown(software, plan);
  out.memory = memory_breakdown(software, plan);
  out.binds = binding_line(out.time, out.memory);
  const Result<SpaceResult> found = search_space(software, request);
  if (!found) return found.error();
  out.stats = found->stats;
  for (const RankedPlan& other : found->plans) {
    const bool same = choices_json(other.plan) == choices_json(plan);
    if (!same) out.others.push_back(compare_plans(software, out.plan, other, interval));
  }
  return out;
}

}  // namespace shardwright
