#include "tools/compare_command.h"

#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>
#include <ostream>
#include <string_view>

#include "planner/evaluate.h"
#include "planner/plan_json.h"
#include "tools/compare_report.h"
#include "tools/exit_codes.h"

namespace shardwright {
namespace {

struct Losses {
  double first = 0, last = 0;
};

// The loss of one line of metrics.jsonl; a training that diverged wrote null.
Result<double> loss_of(std::string_view line, const std::string& file) {
  const Result<Json> json = parse_json(line, file);
  if (!json) return json.error();
  if (!json->is_object()) return Error{file, "", quote(*json), "one object a line"};
  const auto loss = json->find("loss");
  if (loss != json->end() && loss->is_null()) return std::numeric_limits<double>::quiet_NaN();
  if (loss != json->end() && loss->is_number()) return loss->get<double>();
  return Error{file, "loss", loss == json->end() ? "nothing" : quote(*loss), "a number"};
}

Result<Losses> read_losses(const std::string& folder) {
  constexpr int64_t kMostBytes = int64_t{1} << 30;
  const std::string file = folder + "/metrics.jsonl";
  const Result<std::string> text = read_file(file, kMostBytes);
  if (!text) return text.error();
  std::string_view lines = *text;
  if (lines.empty()) return Error{file, "", "nothing", "one line per training step"};
  if (lines.back() != '\n') return Error{file, "", "a last line without an end", "whole lines"};
  lines.remove_suffix(1);
  const Result<double> first = loss_of(lines.substr(0, lines.find('\n')), file);
  if (!first) return first.error();
  const Result<double> last = loss_of(lines.substr(lines.rfind('\n') + 1), file);
  if (!last) return last.error();
  return Losses{*first, *last};
}

// What the folder holds, each part read and found to belong to the plan. StepTable refers to the
// model and the program, so a run is neither copied nor moved.
struct Run {
  Run(std::string path, LoadedPlan plan, RunSummary run_summary, Timeline timeline, Losses metrics)
      : folder(std::move(path)),
        loaded(std::move(plan)),
        summary(std::move(run_summary)),
        measured(std::move(timeline)),
        losses(metrics),
        program(compile(loaded.model, loaded.plan, options_for(loaded.cluster, loaded.plan, true))),
        table(loaded.model, program, loaded.plan.optimizer) {}
  Run(const Run&) = delete;
  Run& operator=(const Run&) = delete;

  std::optional<Error> check() const {
    const std::string file = folder + "/run.json";
    const auto agree = [&](const char* field, int64_t found, int64_t expected) {
      return found == expected ? std::optional<Error>()
                               : Error{file, field, std::to_string(found),
                                       std::to_string(expected) + ", as in the plan"};
    };
    if (auto error = agree("ranks", summary.ranks, loaded.plan.ranks())) return error;
    if (auto error =
            agree("tokens_per_step", summary.tokens_per_step, loaded.plan.tokens_per_step())) {
      return error;
    }
    if (auto error = check_shape(program, table, measured, folder + "/timeline.json")) return error;
    if (measured.makespan() > 0) return std::nullopt;
    return Error{folder + "/timeline.json", "ranks", "no time in any event", "a measured run"};
  }

  const std::string folder;
  const LoadedPlan loaded;
  const RunSummary summary;
  const Timeline measured;
  const Losses losses;
  const Program program;
  const StepTable table;
};

std::optional<Error> write_trace(const Run& run, const Timeline& predicted,
                                 const std::string& path) {
  const std::string label = run.loaded.plan.label();
  const Json trace =
      trace_of(run.program, run.table,
               {{"predicted: " + label, &predicted}, {"measured: " + label, &run.measured}});
  return write_file_atomically(path, trace.dump() + "\n");
}

int refuse(const Error& error, std::ostream& err) {
  err << printable(error.line(), 4000) << "\n";
  return kExitBadInput;
}

int report_run(const Run& run, bool json, const std::string& trace_path, std::ostream& out,
               std::ostream& err) {
  const ProgramCosts costs = price(run.program, run.table, run.loaded.cluster);
  const Timeline predicted = simulate_own(run.program, Readiness(run.program), costs);
  const std::string path = trace_path.empty() ? run.folder + "/trace.json" : trace_path;
  const auto trace_error = write_trace(run, predicted, path);
  if (trace_error && !trace_path.empty()) return refuse(*trace_error, err);
  const CompareReport report{run.loaded.plan, run.summary, run.losses.first, run.losses.last,
                             compare_timelines(run.program, run.table, predicted, run.measured)};
  out << (json ? compare_json(report).dump(1) + "\n" : compare_table(report));
  if (trace_error) {
    err << "no trace written: " << printable(trace_error->line(), 4000) << "\n";
  } else if (!json) {
    out << "\nThe trace of both timelines is in " << path << "; open it in ui.perfetto.dev\n";
  }
  return kExitOk;
}

}  // namespace

int run_compare(const std::string& folder, bool json, const std::string& trace_path,
                std::ostream& out, std::ostream& err) {
  std::error_code ignored;  // what cannot be looked at is no folder for us
  if (!std::filesystem::is_directory(folder, ignored)) {
    return refuse({folder, "", "no such folder", "a run folder"}, err);
  }
  Result<LoadedPlan> plan = load_plan(folder + "/plan.json", default_profiles_dir());
  if (!plan) return refuse(plan.error(), err);
  Result<RunSummary> summary = read_run_summary(folder);
  if (!summary) return refuse(summary.error(), err);
  Result<Timeline> measured = read_measured_timeline(folder);
  if (!measured) return refuse(measured.error(), err);
  const Result<Losses> losses = read_losses(folder);
  if (!losses) return refuse(losses.error(), err);
  const Run run(folder, *std::move(plan), *std::move(summary), *std::move(measured), *losses);
  if (const auto error = run.check()) return refuse(*error, err);
  return report_run(run, json, trace_path, out, err);
}

}  // namespace shardwright
