#include "tools/simulate_command.h"

#include <iomanip>
#include <nlohmann/json.hpp>
#include <ostream>
#include <sstream>

#include "planner/evaluate.h"
#include "planner/plan_json.h"
#include "planner/program/buffers.h"
#include "planner/program/program_text.h"
#include "planner/search/full_search.h"
#include "planner/search/stack_simulation.h"
#include "tools/exit_codes.h"
#include "tools/format.h"
#include "tools/plan_output.h"

namespace shardwright {
namespace {

// Up to here all ranks are simulated; above, one rank per stage stands for its tp and dp
// neighbours where that is exact.
constexpr int64_t kMaxSlots = 512;

// A plan with everything that follows from it. The parts refer to one another: neither copied nor
// moved.
struct Simulation {
  explicit Simulation(const LoadedPlan& loaded)
      : plan(loaded.plan),
        program(compile(
            loaded.model, plan,
            options_for(loaded.cluster, plan, plan.ranks() * plan.microbatches() <= kMaxSlots))),
        table(loaded.model, program, plan.optimizer),
        timeline(simulate_own(program, Readiness(program), price(program, table, loaded.cluster))) {
  }
  // Under a framework's software.
  Simulation(const ModelSpec& model, const Plan& of, StackSimulation run)
      : plan(of),
        program(std::move(run.program)),
        table(model, program, plan.optimizer),
        timeline(std::move(run.timeline)) {}
  Simulation(const Simulation&) = delete;
  Simulation& operator=(const Simulation&) = delete;

  double step_time_s() const { return to_seconds(timeline.makespan()); }
  // "backward c0 m3", or "start" when nothing needs more than what is resident.
  std::string peak_label(size_t at) const {
    const int index = timeline.ranks[at].peak_index;
    return index < 0 ? "start" : label_of(program.ranks[at].instructions[index]);
  }

  const Plan& plan;
  const Program program;
  const StepTable table;
  const Timeline timeline;
};

Json ranks_json(const Simulation& simulation) {
  Json ranks = Json::array();
  for (size_t at = 0; at < simulation.program.ranks.size(); ++at) {
    const RankProgram& rank = simulation.program.ranks[at];
    ranks.push_back({{"rank", rank.rank},
                     {"stage", rank.stage},
                     {"dp", rank.dp},
                     {"tp", rank.tp},
                     {"instructions", rank.instructions.size()},
                     {"resident_bytes", resident_bytes(simulation.program, rank)},
                     {"peak_bytes", simulation.timeline.ranks[at].peak_bytes},
                     {"peak_instruction", simulation.peak_label(at)}});
  }
  return ranks;
}

Json to_json(const Simulation& simulation) {
  Json json;
  json["plan"] = simulation.plan.label();
  json["step_time_s"] = simulation.step_time_s();
  json["tokens_per_s"] =
      static_cast<double>(simulation.plan.tokens_per_step()) / simulation.step_time_s();
  json["bubble_share"] = simulation.timeline.idle_share(simulation.program);
  json["memory_peak_bytes"] = simulation.timeline.peak_bytes();
  json["all_ranks"] =
      static_cast<int64_t>(simulation.program.ranks.size()) == simulation.plan.ranks();
  json["ranks"] = ranks_json(simulation);
  return json;
}

// `device`: what the framework's process needs, by stage; empty: not known.
void print_ranks(const Simulation& simulation, const std::vector<StageMemory>& device,
                 std::ostream& out) {
  const Program& program = simulation.program;
  out << "\n  rank stage  dp  tp    resident        peak" << (device.empty() ? "" : "      device")
      << "  at instruction\n";
  for (size_t at = 0; at < program.ranks.size(); ++at) {
    const RankProgram& rank = program.ranks[at];
    out << std::setw(6) << rank.rank << std::setw(6) << rank.stage << std::setw(4) << rank.dp
        << std::setw(4) << rank.tp << std::setw(12) << bytes_text(resident_bytes(program, rank))
        << std::setw(12) << bytes_text(simulation.timeline.ranks[at].peak_bytes);
    if (!device.empty()) out << std::setw(12) << bytes_text(device[rank.stage].peak());
    out << "  " << simulation.peak_label(at) << "\n";
  }
  if (static_cast<int64_t>(program.ranks.size()) != simulation.plan.ranks()) {
    out << "One rank per stage; its tp and dp neighbours do the same at the same time.\n";
  }
}

void print_tables(const Simulation& simulation, std::ostream& out) {
  out << simulation.plan.label() << " on " << simulation.plan.ranks() << " ranks: step "
      << seconds_text(simulation.step_time_s()) << ", bubble "
      << percent_text(simulation.timeline.idle_share(simulation.program)) << "\n";
  print_ranks(simulation, {}, out);
}

std::optional<Error> write_trace(const SimulateArguments& arguments, const Simulation& simulation) {
  if (arguments.trace.empty()) return std::nullopt;
  const Json trace = trace_of(simulation.program, simulation.table,
                              {{"predicted: " + simulation.plan.label(), &simulation.timeline}});
  return write_file_atomically(arguments.trace, trace.dump());
}

// The program, or what `json` and `tables` make of it; with a trace where one is asked for.
template <typename ToJson, typename Tables>
int show(const SimulateArguments& arguments, const Simulation& simulation, const ToJson& json,
         const Tables& tables, std::ostream& out, std::ostream& err) {
  if (auto error = write_trace(arguments, simulation)) {
    err << error->line() << "\n";
    return kExitBadInput;
  }
  if (arguments.program) {
    out << print_program(simulation.program);
  } else if (arguments.json) {
    out << json().dump(2) << "\n";
  } else {
    tables();
    if (!arguments.trace.empty()) {
      out << "\nThe trace is in " << arguments.trace << "; open it in ui.perfetto.dev\n";
    }
  }
  return kExitOk;
}

// A plan for a framework's software: its prices on one rank of each stage.
int simulate_stack(const SimulateArguments& arguments, const LoadedPlan& loaded, std::ostream& out,
                   std::ostream& err) {
  const auto software =
      Software::load(loaded.model, loaded.cluster, loaded.stack, default_profiles_dir());
  if (!software.ok()) {
    err << software.error().line() << "\n";
    return kExitBadInput;
  }
  const RankedPlan ranked = evaluate(**software, loaded.plan);
  const Simulation simulation((*software)->model_for(loaded.plan.tp), loaded.plan,
                              simulate_plan(**software, loaded.plan));
  const auto json = [&] {
    Json all = to_json(ranked);
    all["ranks"] = ranks_json(simulation);
    return all;
  };
  const auto tables = [&] {
    out << ranked.plan.label() << "\non " << ranked.plan.ranks() << " ranks under " << loaded.stack
        << ": step " << seconds_text(simulation.step_time_s()) << ", bubble "
        << percent_text(ranked.bubble_share) << ", memory " << bytes_text(ranked.memory_peak_bytes)
        << "\n";
    print_ranks(simulation, ranked.stages, out);
    out << "Resident and peak: the tensors of the program. Device: what the framework's process "
           "needs.\n";
  };
  return show(arguments, simulation, json, tables, out, err);
}

}  // namespace

int run_simulate(const SimulateArguments& arguments, std::ostream& out, std::ostream& err) {
  const Result<LoadedPlan> loaded = load_plan(arguments.plan, default_profiles_dir());
  if (!loaded.ok()) {
    err << loaded.error().line() << "\n";
    return kExitBadInput;
  }
  if (!loaded->stack.empty()) return simulate_stack(arguments, *loaded, out, err);
  const Simulation simulation(*loaded);
  return show(
      arguments, simulation, [&] { return to_json(simulation); },
      [&] { print_tables(simulation, out); }, out, err);
}

}  // namespace shardwright
