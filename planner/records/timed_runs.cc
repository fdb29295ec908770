#include "planner/records/timed_runs.h"

#include <algorithm>

#include "costmodel/pricer.h"
#include "costmodel/steps.h"

namespace shardwright {
namespace {

constexpr double kSourceRows = 40;
constexpr double kComposedRows = 10;
constexpr double kWeak = 0.2;
// Of launches left to the host: graphs of attention and router only, and of the whole iteration.
// The first was fitted to the MoE runs among the published ones, the second is assumed.
constexpr double kPartialGraph = 0.7;
constexpr double kFullGraph = 0.1;

bool mentions(const Record& record, std::initializer_list<const char*> keys, const char* text) {
  return std::any_of(keys.begin(), keys.end(), [&](const char* key) {
    std::string value = record.fact(key);
    std::transform(value.begin(), value.end(), value.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return value.find(text) != std::string::npos;
  });
}

// Whether the record names the settings of a performance recipe: what such a list leaves out is
// off.
bool prints_recipe(const Record& record) {
  return !record.fact("extra.perf_config.perf_config").empty();
}

double host_share_of(const Record& record, double usual) {
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
  return partial ? kPartialGraph : says("none") || prints_recipe(record) ? 1 : usual;
}

// What makes two rows of a source repeats of one configuration.
std::string configuration_of(const TimedCase& one) {
  const Plan& plan = one.timed.plan;
  return one.timed.source + "|" + one.run.model.name + "|" + one.run.record->cluster.gpu + "|" +
         name_of(plan.precision) + "|" + plan.label() + "|" + std::to_string(plan.global_batch) +
         "|" + std::to_string(plan.seq) + "|" + one.timed.stack;
}

// Repeats share the weight of one row, and the rows of a source that of kSourceRows.
void set_weights(TimedRuns* runs) {
  std::map<std::string, double> rows, repeats;
  for (const auto& one : runs->cases) {
    if (!one->counts) continue;
    rows[one->timed.source] += 1;
    repeats[configuration_of(*one)] += 1;
  }
  for (const auto& one : runs->cases) {
    TimedRun& run = one->timed;
    const double limit =
        run.source.find("single-node") == std::string::npos ? kSourceRows : kComposedRows;
    run.weight = std::min(1.0, limit / std::max(1.0, rows[run.source]));
    run.weight /= std::max(1.0, repeats[configuration_of(*one)]);
    if (!one->counts) run.weight = kWeak * std::min(run.weight, 1.0);
  }
}

}  // namespace

namespace {

Kernels kernels_of(const RunCase& run, const Kernels& stack) {
  Kernels kernels = stack;
  const Record& record = *run.record;
  kernels.flash_attention = run.kernels.flash;
  kernels.fused_loss = stack.fused_loss || run.kernels.fused_loss;
  kernels.flash_2 = run.flash_2.value_or(stack.flash_2);
  const auto dispatcher = [&](const char* name) {
    return mentions(record, {"extra.dispatcher", "extra.perf_config.dispatcher"}, name);
  };
  const bool by_node = dispatcher("deepep") || dispatcher("hybridep");
  if (by_node || dispatcher("alltoall") || prints_recipe(record)) kernels.node_dispatch = by_node;
  kernels.node_dispatch = run.node_dispatch.value_or(kernels.node_dispatch);
  kernels.host_share = host_share_of(record, stack.host_share);
  return kernels;
}

Plan time_plan_of(const RunCase& run, const Kernels& kernels) {
  Plan plan = run.plan;
  const bool printed =
      !run.record->fact("extra.moe_ep_overlap").empty() || prints_recipe(*run.record);
  const bool experts = plan.overlap.experts;
  set_usual_overlap(kernels, &plan);
  if (printed) plan.overlap.experts = experts;
  plan.mtp_layers = run.model.mtp_layers;
  return plan;
}

ModelSpec time_model_of(const RunCase& run, const Kernels& kernels) {
  ModelSpec model = run.model;
  model.vocab_multiple = kernels.padded_vocabulary ? kPaddedVocabMultiple : 1;
  return model;
}

// A network that the source does not print is that of the site where its framework is at home.
std::string network_of(const RunCase& run) {
  const std::string name = interconnect_of(run.cluster);
  if (name.empty() || !run.record->cluster.inter.empty()) return name;
  return "unprinted, " + run.record->framework.substr(0, run.record->framework.find(' '));
}

}  // namespace

TimeInputs time_inputs(const RunCase& run, const Kernels& stack) {
  TimeInputs inputs;
  inputs.kernels = kernels_of(run, stack);
  inputs.model = time_model_of(run, inputs.kernels);
  inputs.plan = time_plan_of(run, inputs.kernels);
  inputs.interconnect = network_of(run);
  return inputs;
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
    TimedRun& timed = one->timed;
    timed.id = one->run.id;
    timed.source = one->run.source;
    const auto& groups = one->run.groups;
    if (std::find(groups.begin(), groups.end(), "vTrain single-node") != groups.end()) {
      timed.source += ", single-node";
    }
    const TimeInputs inputs = time_inputs(one->run, stacks[one->run.stack]);
    timed.plan = inputs.plan;
    timed.device = one->run.device;
    timed.interconnect = inputs.interconnect;
    timed.stack = one->run.stack;
    timed.measured_s = *one->run.measured_s;
    one->run.model = inputs.model;
    timed.estimator = std::make_shared<Estimator>(one->run.model, one->run.cluster, inputs.kernels,
                                                  neutral_factors());
    find_what_matters(&timed);
    one->counts = one->run.weak.empty();
    out.cases.push_back(std::move(one));
  }
  set_weights(&out);
  return out;
}

}  // namespace shardwright
