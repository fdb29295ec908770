#include "planner/validate/ablation_text.h"

#include <cmath>
#include <cstdio>

namespace shardwright {
namespace {

struct Mean {
  double sum = 0, rows = 0;
};
using GroupErrors = std::map<std::string, Mean>;

GroupErrors errors_of(const TimedRuns& timed, const FactorTable& table, const FixedFactors& fixed) {
  GroupErrors errors;
  for (const auto& one : timed.cases) {
    if (!one->counts) continue;
    const double ratio = predicted_s(one->timed, table, fixed) / one->timed.measured_s;
    for (const std::string& group : one->run.groups) {
      errors[group].sum += 100 * std::abs(ratio - 1);
      errors[group].rows += 1;
    }
  }
  return errors;
}

std::string cell(const Mean& without, const Mean& with) {
  char text[64];
  std::snprintf(text, sizeof text, " %.1f / %.1f |", without.sum / without.rows,
                with.sum / with.rows);
  return text;
}

// The columns are the groups that have kLeastRows rows.
std::string row_text(const std::string& name, const GroupErrors& without, const GroupErrors& with) {
  std::string text = "| " + name + " |";
  for (const auto& [group, mean] : without) {
    if (mean.rows >= kLeastRows) text += cell(mean, with.at(group));
  }
  return text + "\n";
}

std::string head(const GroupErrors& errors) {
  std::string text = "| left out: error without / with a refit |", line = "|---|";
  for (const auto& [group, mean] : errors) {
    if (mean.rows < kLeastRows) continue;
    text += " " + group + " |";
    line += "---|";
  }
  return text + "\n" + line + "\n";
}

}  // namespace

const std::vector<Ablation>& ablations() {
  static const std::vector<Ablation> kAll = {
      {"attention", {{Factor::kAttention, 0}}},
      {"memory passes", {{Factor::kPass, 0}}},
      {"casts to fp8", {{Factor::kQuantise, 0}}},
      {"dispatch and combine of tokens", {{Factor::kPermute, 0}}},
      {"collectives inside a node", {{Factor::kNodeLink, 0}}},
      {"the network", {{Factor::kNetwork, 0}, {Factor::kSkew, 0}}},
      {"messages between stages", {{Factor::kMessage, 0}}},
      {"the host", {{Factor::kHostStep, 0}, {Factor::kHostMoe, 0}}},
      {"what hidden communication costs", {{Factor::kDrag, 0}}},
      {"time per step", {{Factor::kFixed, 0}, {Factor::kMember, 0}}},
      {"waiting that grows with the nodes", {{Factor::kSkew, 0}}},
      {"widths that are no multiple of 8", {{Factor::kUnaligned, 1}, {Factor::kUnalignedBatch, 1}}},
      {"clocks of long runs: products as in benchmarks",
       {{Factor::kGemm, 1}, {Factor::kFp8Gemm, 1}, {Factor::kAttention, 1}}},
      {"generation of attention kernels",
       {{Factor::kStackAttention, 1}, {Factor::kSpecialAttention, 1}, {Factor::kFlash2, 1}}},
      {"pace of a stack", {{Factor::kPace, 1}}},
  };
  return kAll;
}

std::string ablation_text(const TimedRuns& timed, const FactorTable& known) {
  std::vector<const TimedRun*> runs;
  for (const auto& one : timed.cases) runs.push_back(&one->timed);
  FactorTable start;
  start.family = known.family;
  const GroupErrors shipped = errors_of(timed, known, {});
  std::string text = head(shipped) + row_text("nothing", shipped, shipped);
  for (const Ablation& one : ablations()) {
    const FactorTable again = fit_all(runs, start, nullptr, one.fixed);
    text +=
        row_text(one.name, errors_of(timed, known, one.fixed), errors_of(timed, again, one.fixed));
  }
  const GroupErrors usual = errors_of(timed, start, {});
  return text + row_text("all fitting: every owner has the usual factors", usual, shipped);
}

}  // namespace shardwright
