#include "planner/evaluate.h"

#include <algorithm>

#include "costmodel/check.h"
#include "costmodel/steps.h"
#include "planner/program/buffers.h"
#include "planner/program/finished_sends.h"

namespace shardwright {
namespace {

// The same plan with as few microbatches as its schedule takes: every kind of instruction.
Plan with_few_microbatches(Plan plan) {
  const int64_t few = plan.virtual_stages == 1 ? 1 : 2 * plan.pp;
  plan.global_batch = few * plan.dp * plan.micro_batch;
  plan.replica_batches.clear();
  return plan;
}

}  // namespace

bool is_symmetric(const ClusterSpec& cluster, const Plan& plan) {
  if (cluster.groups.size() != 1 || !plan.replica_batches.empty()) return false;
  const auto aligned = [](int64_t block, int64_t size) {
    return size % block == 0 || block % size == 0;
  };
  const int64_t block = numbering_of(plan).together, blocks = block * plan.pp;
  return std::all_of(cluster.levels.begin(), cluster.levels.end(), [&](const LinkLevel& level) {
    // The last level joins everything, so nothing can lie across it.
    return level.size >= plan.ranks() ||
           (aligned(plan.tp, level.size) && aligned(block, level.size) &&
            (blocks == plan.ranks() || aligned(blocks, level.size)));
  });
}

ModelSpec own_model(ModelSpec model, bool on_gpus) {
  model.vocab_multiple = on_gpus ? kPaddedVocabMultiple : 1;
  return model;
}

ModelSpec own_model(ModelSpec model, const ClusterSpec& cluster) {
  return own_model(std::move(model), cluster.device_of(0).overlaps_communication);
}

Timeline simulate_own(const Program& program, const Readiness& rule, const ProgramCosts& costs) {
  Timeline timeline = simulate(program, rule, costs);
  const bool on_devices =
      std::any_of(program.ranks.begin(), program.ranks.end(), [](const RankProgram& rank) {
        return std::any_of(rank.instructions.begin(), rank.instructions.end(),
                           [](const Instruction& next) { return next.lane != Lane::kCompute; });
      });
  if (on_devices) set_device_peaks(program, &timeline);
  return timeline;
}

CompileOptions options_for(const ClusterSpec& cluster, const Plan& plan, bool all_ranks) {
  CompileOptions options;
  options.overlap = cluster.device_of(0).overlaps_communication;
  options.representative = !all_ranks && is_symmetric(cluster, plan);
  return options;
}

PlanCosts::PlanCosts(const ModelSpec& model, const ClusterSpec& cluster, const Plan& plan)
    : model_(model),
      plan_(plan),
      options_(options_for(cluster, plan, false)),
      footprint_(model, cluster, plan),
      unit_(compile(model, with_few_microbatches(plan), options_)) {
  const StepTable table(model, unit_, plan.optimizer);
  const ProgramCosts costs = price(unit_, table, cluster);
  for (size_t at = 0; at < unit_.ranks.size(); ++at) costs_.push_back(collect(costs, table, at));
}

Nanoseconds PlanCosts::RankCosts::at(OpCode op) const {
  Nanoseconds sum = 0;
  for (int64_t k = -1; k < chunks; ++k) sum += at(op, k);
  return sum;
}

PlanCosts::RankCosts PlanCosts::collect(const ProgramCosts& costs, const StepTable& table,
                                        size_t at) const {
  RankCosts out;
  out.chunks = plan_.virtual_stages;
  out.of.assign(static_cast<size_t>(OpCode::kCount) * (1 + out.chunks), 0);
  std::vector<bool> seen(out.of.size(), false);
  const auto& list = unit_.ranks[at].instructions;
  for (size_t i = 0; i < list.size(); ++i) {
    const int64_t k = place_of(list[i].chunk);
    out.at(list[i].op, k) = costs.instruction[at][i];
    if (list[i].op != OpCode::kForward && list[i].op != OpCode::kBackward) continue;
    if (seen[out.index(list[i].op, k)]) continue;
    seen[out.index(list[i].op, k)] = true;
    const std::vector<Step>& steps = table.steps(list[i]);
    for (size_t step = 0; step < steps.size(); ++step) {
      if (std::holds_alternative<CollectiveWork>(steps[step].work)) {
        out.tp += costs.steps[at][i][step];
      }
    }
  }
  return out;
}

const PlanCosts::RankCosts& PlanCosts::costs_at(int64_t tp, int64_t dp, int64_t stage) const {
  const int at = unit_.position_of(static_cast<int>(rank_at(plan_, {tp, dp, stage})));
  SW_CHECK(at >= 0, "stage " << stage << " is not in the program");
  return costs_[at];
}

// The ranks of one microbatch, from the first stage to the last and back, through the first chunk
// of each. Stage s cannot begin before the stages before it have passed one microbatch forward,
// works without a pause at best, and after its last backward the stages before it still have
// theirs.
Nanoseconds PlanCosts::chain_ns(int64_t tp, int64_t dp) const {
  const int64_t m = plan_.microbatches_of(dp);
  Nanoseconds longest = 0, around = 0;
  for (int64_t stage = 0; stage < plan_.pp; ++stage) {
    const RankCosts& c = costs_at(tp, dp, stage);
    const auto first = [&](OpCode op) { return c.at(op, 0); };
    const auto compute = [](const auto& of) {
      return of(OpCode::kForward) + of(OpCode::kBackward);
    };
    const auto into = [](const auto& of) {
      return of(OpCode::kReceiveActivation) + of(OpCode::kSendGradient);
    };
    const auto out = [](const auto& of) {
      return of(OpCode::kSendActivation) + of(OpCode::kReceiveGradient);
    };
    const auto all = [&](OpCode op) { return c.at(op); };
    // Messages beside compute are paid once on the way, messages on the compute lane every time.
    const Nanoseconds own = options_.overlap ? m * compute(all) + into(first)
                                             : m * (compute(all) + into(all) + out(all));
    longest = std::max(longest, around + own + (m - 1) * c.at(OpCode::kLoad));
    around += compute(first) + into(first) + out(first);
  }
  const RankCosts& c = costs_at(tp, dp, 0);
  return longest + c.at(OpCode::kLoad) + c.at(OpCode::kReduceGradients, 0) +
         c.at(OpCode::kReduceTied) + c.at(OpCode::kClip) + c.at(OpCode::kOptimizerStep);
}

Nanoseconds PlanCosts::fastest_ns() const {
  Nanoseconds slowest = 0;
  for (const RankProgram& rank : unit_.ranks) {
    if (rank.stage == 0) slowest = std::max(slowest, chain_ns(rank.tp, rank.dp));
  }
  return slowest;
}

ProgramCosts PlanCosts::spread(const Program& program) const {
  ProgramCosts costs;
  for (size_t at = 0; at < program.ranks.size(); ++at) {
    costs.instruction.emplace_back();
    costs.instruction.back().reserve(program.ranks[at].instructions.size());
    for (const Instruction& next : program.ranks[at].instructions) {
      costs.instruction.back().push_back(costs_[at].at(next.op, place_of(next.chunk)));
    }
  }
  return costs;
}

std::vector<StageMemory> PlanCosts::memory_of(const Program& program,
                                              const Timeline& timeline) const {
  std::vector<StageMemory> stages = footprint_.resident();
  for (size_t at = 0; at < program.ranks.size(); ++at) {
    const RankProgram& rank = program.ranks[at];
    Bytes& activations = stages[rank.stage].activations;
    const Bytes live = timeline.ranks[at].peak_bytes - resident_bytes(program, rank);
    activations = std::max(activations, live);
  }
  return stages;
}

TimeParts PlanCosts::time_parts() const {
  TimeParts parts;
  Nanoseconds longest = -1;
  for (size_t at = 0; at < costs_.size(); ++at) {
    const RankCosts& c = costs_[at];
    const int64_t m = plan_.microbatches_of(unit_.ranks[at].dp);
    const Nanoseconds compute =
        c.at(OpCode::kLoad) + c.at(OpCode::kForward) + c.at(OpCode::kBackward);
    const Nanoseconds messages = c.at(OpCode::kSendActivation) + c.at(OpCode::kReceiveActivation) +
                                 c.at(OpCode::kSendGradient) + c.at(OpCode::kReceiveGradient);
    const Nanoseconds busy = m * (compute + (options_.overlap ? 0 : messages));
    if (busy <= longest) continue;
    longest = busy;
    parts.stage = unit_.ranks[at].stage;
    parts.compute_s = to_seconds(m * (compute - c.tp));
    parts.tp_s = to_seconds(m * c.tp);
    parts.pp_s = to_seconds(m * messages);
    parts.dp_s = to_seconds(c.at(OpCode::kReduceGradients) + c.at(OpCode::kReduceTied));
    parts.optimizer_s = to_seconds(c.at(OpCode::kClip) + c.at(OpCode::kOptimizerStep));
  }
  return parts;
}

RankedPlan PlanCosts::evaluate(ScheduleKind schedule) const {
  RankedPlan out;
  out.plan = plan_;
  out.plan.schedule = schedule;
  const Program program = compile(model_, out.plan, options_);
  const Readiness rule(program);
  const Timeline timeline = simulate_own(program, rule, spread(program));
  out.step_ns = timeline.makespan();
  out.step_time_s = to_seconds(out.step_ns);
  out.tokens_per_s = static_cast<double>(plan_.tokens_per_step()) / std::max(1e-9, out.step_time_s);
  out.memory_peak_bytes = timeline.peak_bytes();
  out.bubble_share = timeline.idle_share(program);
  out.stages = memory_of(program, timeline);
  out.parts = time_parts();
  return out;
}

RankedPlan evaluate_plan(const ModelSpec& model, const ClusterSpec& cluster, const Plan& plan) {
  return PlanCosts(model, cluster, plan).evaluate(plan.schedule);
}

}  // namespace shardwright
