#include "planner/compare.h"

#include <algorithm>
#include <cstdlib>
#include <map>
#include <utility>

#include "costmodel/check.h"

namespace shardwright {
namespace {

// Which of the two times of a row is meant.
using Side = Nanoseconds CompareRow::*;

class Rows {
 public:
  CompareRow& at(const std::string& name) {
    CompareRow& row = rows_[name];
    row.name = name;
    return row;
  }

  // Worst first; equal ones by name, so that the order does not depend on anything else.
  std::vector<CompareRow> sorted() const {
    std::vector<CompareRow> out;
    for (const auto& [name, row] : rows_) out.push_back(row);
    std::stable_sort(out.begin(), out.end(), [](const CompareRow& a, const CompareRow& b) {
      return std::abs(a.miss_ns()) > std::abs(b.miss_ns());
    });
    return out;
  }

 private:
  std::map<std::string, CompareRow> rows_;
};

std::string instruction_name(const Instruction& instruction) {
  std::string name = name_of(instruction.op);
  if (instruction.chunk >= 0) name += " c" + std::to_string(instruction.chunk);
  return name;
}

// Nanoseconds in which at least one event runs: lanes run beside each other.
Nanoseconds covered(const std::vector<EventTime>& events) {
  std::vector<std::pair<Nanoseconds, Nanoseconds>> spans;
  for (const EventTime& event : events) spans.emplace_back(event.start, event.end);
  std::sort(spans.begin(), spans.end());
  Nanoseconds sum = 0, until = 0;
  for (const auto& [start, end] : spans) {
    sum += std::max<Nanoseconds>(0, end - std::max(start, until));
    until = std::max(until, end);
  }
  return sum;
}

class Comparer {
 public:
  Comparer(const Program& program, const StepTable& table, const Timeline& predicted,
           const Timeline& measured)
      : program_(program), table_(table), predicted_(predicted), measured_(measured) {}

  Comparison run() {
    for (size_t at = 0; at < program_.ranks.size(); ++at) {
      for (size_t i = 0; i < program_.ranks[at].instructions.size(); ++i) add(at, i);
    }
    add_rest(predicted_, &CompareRow::predicted_ns);
    add_rest(measured_, &CompareRow::measured_ns);
    Comparison out;
    out.ranks = static_cast<int>(program_.ranks.size());
    out.predicted_step_ns = predicted_.makespan();
    out.measured_step_ns = measured_.makespan();
    out.predicted_peak_bytes = predicted_.peak_bytes();
    out.measured_peak_bytes = measured_.peak_bytes();
    out.by_instruction = by_instruction_.sorted();
    out.by_step = by_step_.sorted();
    return out;
  }

 private:
  void add(size_t at, size_t index) {
    const Instruction& instruction = program_.ranks[at].instructions[index];
    const std::vector<Step>& steps = table_.steps(instruction);
    const EventTime& predicted = predicted_.ranks[at].events[index];
    const EventTime& measured = measured_.ranks[at].events[index];
    CompareRow& row = by_instruction_.at(instruction_name(instruction));
    ++row.count;
    row.predicted_ns += predicted.duration();
    row.measured_ns += measured.duration();
    if (predicted.steps.empty() || measured.steps.empty()) {
      CompareRow& whole = by_step_.at(name_of(instruction.op));
      ++whole.count;
      whole.predicted_ns += predicted.duration();
      whole.measured_ns += measured.duration();
      return;
    }
    for (const Step& step : steps) ++by_step_.at(kind_of(step)).count;
    book(instruction, add_steps(steps, predicted, &CompareRow::predicted_ns),
         &CompareRow::predicted_ns);
    const Nanoseconds rest = add_steps(steps, measured, &CompareRow::measured_ns);
    book(instruction, rest, &CompareRow::measured_ns);
    if (!instruction.is_collective()) row.measured_waiting_ns += rest;
  }

  // Returns what the steps leave over of the instruction.
  Nanoseconds add_steps(const std::vector<Step>& steps, const EventTime& event, Side side) {
    SW_CHECK_EQ(steps.size(), event.steps.size(), "steps of an event");
    Nanoseconds rest = event.duration();
    for (size_t k = 0; k < steps.size(); ++k) {
      by_step_.at(kind_of(steps[k])).*side += event.steps[k];
      rest -= event.steps[k];
    }
    return rest;
  }

  // Where the rest of an instruction belongs. Members of a collective that has local steps before
  // it (clip) wait inside the instruction when it is measured, but before it when it is simulated:
  // both are waiting between instructions.
  void book(const Instruction& instruction, Nanoseconds rest, Side side) {
    if (rest == 0) return;
    if (!instruction.is_collective()) {
      by_step_.at(kWaitingInStepsRow).*side += rest;
      return;
    }
    by_instruction_.at(instruction_name(instruction)).*side -= rest;
    by_instruction_.at(kWaitingRow).*side += rest;
    by_step_.at(kWaitingRow).*side += rest;
  }

  // What makes the tables add up to makespan times ranks.
  void add_rest(const Timeline& timeline, Side side) {
    const Nanoseconds makespan = timeline.makespan();
    for (const RankTimeline& rank : timeline.ranks) {
      const Nanoseconds busy = covered(rank.events);
      Nanoseconds sum = 0;
      for (const EventTime& event : rank.events) sum += event.duration();
      for (Rows* rows : {&by_instruction_, &by_step_}) {
        rows->at(kWaitingRow).*side += makespan - busy;
        if (busy != sum) rows->at(kOverlapRow).*side += busy - sum;
      }
    }
  }

  const Program& program_;
  const StepTable& table_;
  const Timeline& predicted_;
  const Timeline& measured_;
  Rows by_instruction_, by_step_;
};

Error disagreement(const std::string& file, const std::string& field, size_t found,
                   size_t expected) {
  return {file, field, std::to_string(found), std::to_string(expected) + ", as in the plan"};
}

}  // namespace

std::optional<double> error_pct(double predicted, double measured) {
  if (measured != 0) return 100 * (predicted / measured - 1);
  if (predicted == 0) return 0;
  return std::nullopt;
}

std::optional<double> Comparison::step_error_pct() const {
  return error_pct(to_seconds(predicted_step_ns), to_seconds(measured_step_ns));
}

std::optional<double> Comparison::peak_error_pct() const {
  return error_pct(static_cast<double>(predicted_peak_bytes),
                   static_cast<double>(measured_peak_bytes));
}

double Comparison::share_pct(const CompareRow& row) const {
  const double all = static_cast<double>(measured_step_ns) * ranks;
  return all == 0 ? 0 : 100 * static_cast<double>(row.measured_ns) / all;
}

Comparison compare_timelines(const Program& program, const StepTable& table,
                             const Timeline& predicted, const Timeline& measured) {
  for (const Timeline* timeline : {&predicted, &measured}) {
    const auto error = check_shape(program, table, *timeline, "timeline");
    SW_CHECK(!error, error->line());
  }
  return Comparer(program, table, predicted, measured).run();
}

std::optional<Error> check_shape(const Program& program, const StepTable& table,
                                 const Timeline& timeline, const std::string& file) {
  if (timeline.ranks.size() != program.ranks.size()) {
    return disagreement(file, "ranks", timeline.ranks.size(), program.ranks.size());
  }
  for (size_t at = 0; at < program.ranks.size(); ++at) {
    const RankTimeline& rank = timeline.ranks[at];
    const auto& instructions = program.ranks[at].instructions;
    const std::string field = "ranks[" + std::to_string(at) + "].";
    if (rank.rank != program.ranks[at].rank) {
      return disagreement(file, field + "rank", static_cast<size_t>(rank.rank),
                          static_cast<size_t>(program.ranks[at].rank));
    }
    if (rank.events.size() != instructions.size()) {
      return disagreement(file, field + "events", rank.events.size(), instructions.size());
    }
    for (size_t i = 0; i < instructions.size(); ++i) {
      const size_t found = rank.events[i].steps.size();
      const size_t expected = table.steps(instructions[i]).size();
      if (found == 0 || found == expected) continue;
      return disagreement(file, field + "events[" + std::to_string(i) + "] steps", found, expected);
    }
  }
  return std::nullopt;
}

}  // namespace shardwright
