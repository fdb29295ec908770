#include "tools/plan_table.h"

#include <iomanip>
#include <sstream>

#include "tools/colours.h"
#include "tools/format.h"

namespace shardwright {
namespace {

constexpr size_t kShownStages = 16;

void print_plans(const std::vector<RankedPlan>& plans, std::ostream& out) {
  out << coloured(
      Colour::kHeading,
      "   #   dp   tp   pp   v    mb      schedule recompute   step time  tokens/s     memory  "
      "bubble\n");
  for (size_t i = 0; i < plans.size(); ++i) {
    const RankedPlan& r = plans[i];
    std::ostringstream row;
    row << std::setw(4) << i + 1 << std::setw(5) << r.plan.dp << std::setw(5) << r.plan.tp
        << std::setw(5) << r.plan.pp << std::setw(4) << r.plan.virtual_stages << std::setw(6)
        << r.plan.micro_batch << std::setw(14) << name_of(r.plan.schedule) << std::setw(10)
        << name_of(r.plan.recompute) << std::setw(12) << seconds_text(r.step_time_s)
        << std::setw(10) << rate_text(r.tokens_per_s) << std::setw(11)
        << bytes_text(r.memory_peak_bytes) << std::setw(8) << percent_text(r.bubble_share) << "\n";
    out << (i == 0 ? coloured(Colour::kGood, row.str()) : row.str());
  }
}

void print_time(const RankedPlan& best, std::ostream& out) {
  const TimeParts& parts = best.parts;
  out << "\nBest plan: layers per chunk " << stages_text(best.plan.stage_layers)
      << "\nBusiest stage (" << parts.stage << "): compute " << seconds_text(parts.compute_s)
      << ", tp " << seconds_text(parts.tp_s) << ", pp " << seconds_text(parts.pp_s) << ", dp "
      << seconds_text(parts.dp_s) << ", optimizer " << seconds_text(parts.optimizer_s) << "\n";
}

void print_memory(const RankedPlan& best, std::ostream& out) {
  out << "\nstage layers  parameters   gradients   optimizer activations     scratch"
      << "        peak    of device\n";
  for (size_t i = 0; i < best.stages.size(); ++i) {
    if (i + 1 < best.stages.size() && i + 1 >= kShownStages) continue;
    if (i >= kShownStages && i + 1 == best.stages.size()) out << "  ...\n";
    const StageMemory& m = best.stages[i];
    out << std::setw(5) << i << std::setw(7) << m.layers;
    for (Bytes part :
         {m.parameters, m.gradients, m.optimizer, m.activations, m.scratch, m.peak()}) {
      out << std::setw(12) << bytes_text(part);
    }
    out << std::setw(13) << bytes_text(m.available) << "\n";
  }
}

}  // namespace

std::string stages_text(const std::vector<int64_t>& stage_layers) {
  std::ostringstream out;
  for (size_t i = 0; i < stage_layers.size();) {
    size_t run = i;
    while (run < stage_layers.size() && stage_layers[run] == stage_layers[i]) ++run;
    out << (i > 0 ? " " : "") << stage_layers[i];
    if (run - i > 1) out << "x" << run - i;
    i = run;
  }
  return out.str();
}

std::string plan_table(const ModelSpec& model, const ClusterSpec& cluster,
                       const SearchResult& result) {
  std::ostringstream out;
  const RankedPlan& best = result.plans.front();
  out << printable(model.name, 40) << " on " << best.plan.ranks() << " of "
      << printable(cluster.name, 40) << ": global batch " << best.plan.global_batch << " x seq "
      << best.plan.seq << ", " << name_of(best.plan.precision) << ", "
      << name_of(best.plan.optimizer) << "\n\n";
  print_plans(result.plans, out);
  print_time(best, out);
  print_memory(best, out);
  const SearchStats& stats = result.stats;
  out << "\n"
      << stats.candidates << " candidates: " << stats.pruned_by_rules() << " against a rule, "
      << stats.pruned_memory + stats.simulated_over_memory << " too large, " << stats.pruned_bound
      << " slower by\ntheir bound, " << stats.simulated << " simulated; "
      << seconds_text(stats.seconds) << "\n";
  return out.str();
}

}  // namespace shardwright
