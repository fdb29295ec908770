#include "tools/space_table.h"

#include <iomanip>
#include <sstream>

#include "tools/colours.h"
#include "tools/format.h"
#include "tools/plan_table.h"

namespace shardwright {
namespace {

// "none", "full 12" (layers of a chunk), "core_attn+mlp".
std::string recompute_text(const Plan& plan) {
  if (plan.recompute == Recompute::kSelective) {
    std::string text;
    for (const std::string& module : names_of_modules(plan.recompute_modules)) {
      text += (text.empty() ? "" : "+") + module;
    }
    return text;
  }
  std::string text = name_of(plan.recompute);
  if (plan.activation_offload > 0) return "host " + percent_text(plan.activation_offload);
  if (plan.recompute_layers > 0) text += " " + std::to_string(plan.recompute_layers);
  return text;
}

std::string tp_text(const Plan& plan) {
  return std::to_string(plan.tp) + (plan.split.sequence_parallel ? "s" : "");
}
// Stages near each other: dp is the outermost axis.
std::string pp_text(const Plan& plan) {
  return std::to_string(plan.pp) + (plan.rank_order == RankOrder::kTpCpPpDp ? "n" : "");
}
// Unlike batches of replicas.
std::string dp_text(const Plan& plan) {
  return std::to_string(plan.dp) + (plan.replica_batches.empty() ? "" : "u");
}
std::string zero_text(const Plan& plan) {
  std::string text = std::to_string(plan.zero);
  if (plan.shard_group > 0) text += "/" + std::to_string(plan.shard_group);
  return text + (plan.optimizer_offload > 0 ? "+host" : "");
}

void print_plans(const std::vector<RankedPlan>& plans, std::ostream& out) {
  out << coloured(
      Colour::kHeading,
      " #   dp  tp  pp   v  cp  ep  mb    zero  schedule      recompute         step    "
      "   memory   bubble\n");
  for (size_t i = 0; i < plans.size(); ++i) {
    const RankedPlan& r = plans[i];
    const Plan& p = r.plan;
    std::ostringstream row;
    row << std::setw(2) << i + 1 << std::setw(5) << dp_text(p) << std::setw(4) << tp_text(p)
        << std::setw(4) << pp_text(p) << std::setw(4) << p.virtual_stages << std::setw(4)
        << p.split.cp << std::setw(4) << p.split.ep << std::setw(4) << p.micro_batch << std::setw(8)
        << zero_text(p) << "  " << std::left << std::setw(14) << name_of(p.schedule)
        << std::setw(14) << recompute_text(p).substr(0, 13) << std::right << std::setw(9)
        << seconds_text(r.step_time_s) << std::setw(12) << bytes_text(r.memory_peak_bytes)
        << std::setw(8) << percent_text(r.bubble_share) << "\n";
    out << (i == 0 ? coloured(Colour::kGood, row.str()) : row.str());
  }
}

std::string batches_text(const Plan& plan) {
  if (plan.replica_batches.empty()) return "";
  return "sequences per replica (u) " + stages_text(plan.replica_batches) + "; ";
}

void print_best(const RankedPlan& best, std::ostream& out) {
  const TimeParts& p = best.parts;
  const double devices = static_cast<double>(best.plan.ranks());
  out << "\nBest plan: layers per chunk " << stages_text(best.plan.stage_layers) << "; "
      << batches_text(best.plan)
      << (best.plan.rank_order == RankOrder::kTpCpPpDp ? "ranks numbered tp-cp-pp-dp (n); " : "")
      << rate_text(best.tokens_per_s) << " tokens/s, " << rate_text(best.tokens_per_s / devices)
      << " a device\n"
      << "Slowest stage: compute " << seconds_text(p.compute_s) << ", tp " << seconds_text(p.tp_s)
      << ", dp " << seconds_text(p.dp_s) << ", optimizer " << seconds_text(p.optimizer_s)
      << ", bubble " << seconds_text(best.bubble_share * best.step_time_s) << "\n";
}

}  // namespace

std::string space_table(const ModelSpec& model, const ClusterSpec& cluster,
                        const std::string& stack, const SpaceResult& result) {
  std::ostringstream out;
  const Plan& best = result.plans.front().plan;
  out << printable(model.name, 30) << " on " << best.ranks() << " of "
      << printable(cluster.name, 30) << ": global batch " << best.global_batch << " x seq "
      << best.seq << ", " << name_of(best.precision) << ", " << name_of(best.optimizer)
      << "\nSoftware: " << printable(stack, 60) << "; tp with s: sequence parallel\n\n";
  print_plans(result.plans, out);
  print_best(result.plans.front(), out);
  const SpaceStats& s = result.stats;
  out << "\n"
      << s.candidates << " candidates: " << s.pruned_rules << " against a rule, " << s.pruned_memory
      << " too large, " << s.pruned_bound << " slower by\ntheir bound; " << s.priced << " priced, "
      << s.simulated << " simulated; " << seconds_text(s.seconds) << ".\n";
  if (s.complete) {
    out << "No plan in this space is predicted faster than " << seconds_text(s.lower_bound_s)
        << ".\n";
  } else {
    out << "Stopped early: no plan can be faster than " << seconds_text(s.lower_bound_s) << ", "
        << percent_text(s.optimality_gap_pct / 100) << " below the best so far.\n";
  }
  return out.str();
}

std::string reason_text(const SpaceResult& result, const std::optional<Shortage>& shortage) {
  if (shortage) return shortage->line();
  return rules_text(result.rejections);
}

std::string rules_text(const std::vector<Rejection>& rejections) {
  if (rejections.empty()) return "no legal plan: the given choices leave none";
  std::string text = "no legal plan:";
  for (const Rejection& rejection : rejections) {
    text.append(&rejection == &rejections.front() ? " " : "; ").append(rejection.line());
  }
  return text;
}

}  // namespace shardwright
