#include "planner/records/timed_runs.h"

#include <algorithm>

#include "costmodel/pricer.h"

namespace shardwright {
namespace {

constexpr double kSourceRows = 40;
constexpr double kComposedRows = 10;
constexpr double kWeak = 0.2;
// Of launches left to the host: graphs of attention and router only, and of the whole iteration.
// modelling_runs.md section 3, "MoE": 0.7 fitted and 0.1 assumed.
constexpr double kPartialGraph = 0.6;
constexpr double kFullGraph = 0.1;

bool mentions(const Record& record, std::initializer_list<const char*> keys, const char* text) {
  return std::any_of(keys.begin(), keys.end(), [&](const char* key) {
    std::string value = record.fact(key);
    std::transform(value.begin(), value.end(), value.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return value.find(text) != std::string::npos;
  });
}

double host_share_of(const Record& record) {
  const auto says = [&](const char* text) {
    return mentions(record,
                    {"extra.perf_config.cuda_graph_impl", "extra.cuda_graph_impl",
                     "extra.perf_config.cuda_graph_scope", "extra.cuda_graph_scope",
                     "extra.features_text", "extra.cuda_graph"},
                    text);
  };
  if (says("full_iteration") || says("full cg")) return kFullGraph;
  const bool partial = says("transformer_engine") || says("local") || says("partial cg") ||
                       says("true") || says("attn");
  return partial ? kPartialGraph : 1;
}

void set_weights(TimedRuns* runs) {
  std::map<std::string, double> rows;
  for (const auto& one : runs->cases) {
    if (one->counts) rows[one->timed.source] += 1;
  }
  for (const auto& one : runs->cases) {
    TimedRun& run = one->timed;
    const double limit =
        run.source.find("single-node") == std::string::npos ? kSourceRows : kComposedRows;
    run.weight = std::min(1.0, limit / std::max(1.0, rows[run.source]));
    if (!one->counts) run.weight = kWeak * std::min(run.weight, 1.0);
  }
}

}  // namespace

Kernels kernels_of(const RunCase& run, const Kernels& stack) {
  Kernels kernels = stack;
  const Record& record = *run.record;
  kernels.flash_attention = run.kernels.flash;
  kernels.fused_loss = stack.fused_loss || run.kernels.fused_loss;
  const auto dispatcher = [&](const char* name) {
    return mentions(record, {"extra.dispatcher", "extra.perf_config.dispatcher"}, name);
  };
  if (dispatcher("alltoall")) kernels.node_dispatch = false;
  if (dispatcher("deepep") || dispatcher("hybridep")) kernels.node_dispatch = true;
  kernels.host_share = host_share_of(record);
  return kernels;
}

void set_printed_overlap(const Record& record, Plan* plan) {
  if (mentions(record, {"extra.moe_ep_overlap", "extra.perf_config.moe_a2a_overlap"}, "true")) {
    plan->overlap.experts = true;
  }
  if (mentions(record, {"features.tp_comm_overlap", "features.async_tp"}, "true")) {
    plan->overlap.tensor = true;
  }
}

Result<TimedRuns> timed_runs(const std::vector<RecordRow>& rows, const RecordTables& tables,
                             const std::string& profiles_dir) {
  TimedRuns out;
  std::map<std::string, Kernels> stacks;
  for (const RecordRow& row : rows) {
    if (!row.record.ok()) continue;
    Result<RunCase> run = run_case(*row.record, tables, profiles_dir);
    if (!run.ok()) {
      out.refused.push_back(row.id + ": " + run.error().line());
      continue;
    }
    if (!run->measured_s) continue;
    if (check_supports(run->cluster, run->plan.precision)) {
      out.refused.push_back(row.id + ": no peak for its precision");
      continue;
    }
    if (stacks.count(run->stack) == 0) {
      const Result<Stack> stack = load_stack(run->stack, profiles_dir);
      if (!stack.ok()) return stack.error();
      stacks[run->stack] = stack->kernels;
    }
    auto one = std::make_unique<TimedCase>();
    one->run = *std::move(run);
    set_printed_overlap(*one->run.record, &one->run.plan);
    TimedRun& timed = one->timed;
    timed.id = one->run.id;
    timed.source = one->run.source;
    const auto& groups = one->run.groups;
    if (std::find(groups.begin(), groups.end(), "vTrain single-node") != groups.end()) {
      timed.source += ", single-node";
    }
    timed.plan = one->run.plan;
    timed.device = one->run.device;
    timed.interconnect = interconnect_of(one->run.cluster);
    timed.stack = one->run.stack;
    timed.measured_s = *one->run.measured_s;
    timed.estimator = std::make_shared<Estimator>(one->run.model, one->run.cluster,
                                                  kernels_of(one->run, stacks[one->run.stack]),
                                                  neutral_factors());
    one->counts = one->run.weak.empty();
    out.cases.push_back(std::move(one));
  }
  set_weights(&out);
  return out;
}

}  // namespace shardwright
