#include "tools/calibrate_runs_command.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>
#include <ostream>

#include "planner/cross_validate.h"
#include "planner/intervals.h"
#include "planner/records/timed_runs.h"
#include "tools/exit_codes.h"

namespace shardwright {
namespace {

// Runs of a left-out source that are given, one count after the other.
const std::vector<int> kRunsGiven = {1, 2, 3, 5, 8};

int refuse(const Error& error, std::ostream& err) {
  err << printable(error.line(), 4000) << "\n";
  return kExitBadInput;
}

std::vector<const TimedRun*> runs_of(const TimedRuns& timed) {
  std::vector<const TimedRun*> runs;
  for (const auto& one : timed.cases) runs.push_back(&one->timed);
  return runs;
}

std::string line(const char* format, const std::string& name, const std::vector<double>& values) {
  std::string text(name.substr(0, 58));
  text.resize(60, ' ');
  char buffer[32];
  for (double value : values) {
    std::snprintf(buffer, sizeof buffer, format, value);
    text += buffer;
  }
  return text + "\n";
}

void print_moved(const FactorTable& before, const FactorTable& after, std::ostream& out) {
  out << "factor                                                        before   after\n";
  for (size_t kind = 0; kind < after.of.size(); ++kind) {
    for (const auto& [owner, values] : after.of[kind]) {
      for (const auto& [factor, value] : values) {
        const double old = before.value(factor, owner);
        if (std::abs(std::log(value / old)) < 0.01) continue;
        out << line("%9.3g", owner + " " + info_of(factor).name + ", " + info_of(factor).unit,
                    {old, value});
      }
    }
  }
}

void print_errors(const std::vector<const TimedRun*>& runs, const FactorTable& before,
                  const FactorTable& after, std::ostream& out) {
  out << "run                                              error before, after, percent\n";
  for (const TimedRun* run : runs) {
    const auto error = [&](const FactorTable& table) {
      return 100 * (predicted_s(*run, table) / run->measured_s - 1);
    };
    out << line("%+9.1f", run->id, {error(before), error(after)});
  }
}

void print_set(const std::string& name, const std::vector<Residuals>& rows, std::ostream& out) {
  std::vector<double> fitted, left_out, after_one;
  for (const Residuals& row : rows) {
    fitted.push_back(row.fitted);
    left_out.push_back(row.left_out);
    const auto one = row.after.find(1);
    if (one == row.after.end()) continue;
    after_one.insert(after_one.end(), one->second.begin(), one->second.end());
  }
  const ErrorSummary a = summarise(fitted), b = summarise(left_out), c = summarise(after_one);
  out << line("%7.1f", name,
              {static_cast<double>(a.rows), a.mean, a.median, a.p90, a.max, a.bias, b.mean, b.bias,
               c.mean});
}

void print_cross_validation(const TimedRuns& timed, const std::vector<Residuals>& residuals,
                            std::ostream& out) {
  std::map<std::string, std::vector<Residuals>> sets;
  for (size_t i = 0; i < residuals.size(); ++i) {
    const TimedCase& one = *timed.cases[i];
    sets[(one.counts ? "source: " : "source, underspecified: ") + one.timed.source].push_back(
        residuals[i]);
    if (!one.counts) continue;
    for (const std::string& group : one.run.groups) sets["group: " + group].push_back(residuals[i]);
  }
  out << "Errors of step time in percent. Left out: the source was not in the fit; one: after one "
         "of its runs was given.\n"
      << line("%s", "", {}).substr(0, 60)
      << "   rows   mean median    p90    max   bias   left   bias    one\n";
  for (const auto& [name, rows] : sets) print_set(name, rows, out);
}

std::vector<JudgedRun> judged(const TimedRuns& timed, const std::vector<Residuals>& residuals) {
  std::vector<JudgedRun> runs;
  for (size_t i = 0; i < residuals.size(); ++i) {
    const TimedCase& one = *timed.cases[i];
    if (!one.counts) continue;
    const bool moe = one.run.model.kinds.back().moe.experts > 0;
    runs.push_back({residuals[i], one.timed.source, moe, one.timed.weight});
  }
  return runs;
}

void print_intervals(const IntervalTable& table, std::ostream& out) {
  out << "80 % intervals of measured / predicted, and the share of rows that they hold when the "
         "source is left out\n";
  for (const auto& [name, one] : table) {
    out << line("%8.3f", name, {std::exp(one.low), std::exp(one.high), one.held});
  }
}

int refit(const TimedRuns& timed, const std::string& output, std::ostream& out, std::ostream& err) {
  const std::vector<const TimedRun*> runs = runs_of(timed);
  const Result<FactorTable> start = load_families(default_profiles_dir());
  if (!start.ok()) return refuse(start.error(), err);
  FitReport report;
  const FactorTable fitted = fit_all(runs, *start, &report);
  const std::vector<Residuals> residuals = cross_validate(runs, fitted, {kRunsGiven});
  out << runs.size() << " runs; " << report.factors << " factors, of which the runs decide "
      << std::lround(report.effective) << "\n";
  print_cross_validation(timed, residuals, out);
  const IntervalTable intervals = interval_table(judged(timed, residuals));
  print_intervals(intervals, out);
  for (const auto& [name, json] : {std::pair<const char*, Json>{"/factors.json", to_json(fitted)},
                                   {"/intervals.json", to_json(intervals)}}) {
    if (auto error = write_file_atomically(output + name, json.dump(1) + "\n")) {
      return refuse(*error, err);
    }
  }
  return kExitOk;
}

int calibrate(const TimedRuns& timed, const std::string& output, std::ostream& out,
              std::ostream& err) {
  const std::string name = timed.cases.front()->timed.stack;
  for (const auto& one : timed.cases) {
    if (one->timed.stack == name) continue;
    return refuse(
        {one->timed.id, "framework", one->timed.stack, "the stack " + name + " throughout"}, err);
  }
  Result<Stack> stack = load_stack(name, default_profiles_dir());
  if (!stack.ok()) return refuse(stack.error(), err);
  std::vector<TimedRun> own;
  for (const auto& one : timed.cases) own.push_back(one->timed);
  std::vector<const TimedRun*> runs;
  for (TimedRun& run : own) {
    run.weight = kOwnRunWeight;
    runs.push_back(&run);
  }
  const FactorTable before = stack->factors;
  stack->factors = fit(runs, before);
  print_moved(before, stack->factors, out);
  print_errors(runs, before, stack->factors, out);
  if (auto error = write_file_atomically(output, to_json(*stack).dump(1) + "\n")) {
    return refuse(*error, err);
  }
  return kExitOk;
}

}  // namespace

int run_calibrate_runs(const CalibrateRunsArguments& arguments, std::ostream& out,
                       std::ostream& err) {
  const std::string profiles = default_profiles_dir();
  const Result<std::vector<RecordRow>> rows = read_record_files(arguments.runs);
  if (!rows.ok()) return refuse(rows.error(), err);
  const Result<RecordTables> tables = RecordTables::load(profiles);
  if (!tables.ok()) return refuse(tables.error(), err);
  const Result<TimedRuns> timed = timed_runs(*rows, *tables, profiles);
  if (!timed.ok()) return refuse(timed.error(), err);
  for (const std::string& line : timed->refused) err << "refused " << printable(line, 400) << "\n";
  if (timed->cases.empty()) {
    return refuse({arguments.runs.front(), "measured", "no run with a step time", "at least one"},
                  err);
  }
  return arguments.refit ? refit(*timed, arguments.output, out, err)
                         : calibrate(*timed, arguments.output, out, err);
}

}  // namespace shardwright
