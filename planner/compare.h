// compare: where a prediction was wrong. Takes the predicted and the measured Timeline of one
// Program apart into rows that add up, so that an error has a place and not only a size.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "planner/program/step_table.h"
#include "planner/program/timeline.h"

namespace shardwright {

// 100 * (predicted / measured - 1): negative when the prediction was too low. 0 when both are 0,
// empty when only `measured` is.
std::optional<double> error_pct(double predicted, double measured);

// Nanoseconds of one training step, summed over all ranks. May be slightly negative in rows that
// are differences of medians.
struct CompareRow {
  std::string name;
  int64_t count = 0;  // instructions or steps in one training step, all ranks together
  Nanoseconds predicted_ns = 0, measured_ns = 0;
  // Of the measured time: spent inside instructions but in none of their steps (waiting for tp
  // neighbours, dispatch). 0 where a timeline has no steps, and for collectives, whose members wait
  // for one another as they do between instructions.
  Nanoseconds measured_waiting_ns = 0;
  Nanoseconds miss_ns() const { return predicted_ns - measured_ns; }
  friend bool operator==(const CompareRow&, const CompareRow&) = default;
};

// Names of the rows that are no instruction and no step.
inline constexpr const char* kWaitingRow = "waiting";  // between instructions and in collectives
inline constexpr const char* kWaitingInStepsRow = "waiting in steps";  // see measured_waiting_ns
inline constexpr const char* kOverlapRow = "side by side";  // counted twice by lanes: negative

// Both tables add up to makespan times ranks, and are sorted by |miss|, the worst first, then by
// name.
struct Comparison {
  int ranks = 0;
  Nanoseconds predicted_step_ns = 0, measured_step_ns = 0;  // makespans
  Bytes predicted_peak_bytes = 0, measured_peak_bytes = 0;  // of the fullest rank
  std::vector<CompareRow> by_instruction;                   // "forward c0", "clip c1", ...
  // "qkv.forward", ... An instruction for which one of the timelines has no steps counts as a whole
  // in a row with the name of its opcode.
  std::vector<CompareRow> by_step;

  std::optional<double> step_error_pct() const;
  std::optional<double> peak_error_pct() const;
  // Of the measured rank-time, in percent.
  double share_pct(const CompareRow& row) const;
};

// REQUIRES: both timelines have the program's ranks and instructions, and steps as the table or
// none (check_shape).
Comparison compare_timelines(const Program& program, const StepTable& table,
                             const Timeline& predicted, const Timeline& measured);

// Where a timeline does not belong to the program, as an Error of `file` that names the field.
std::optional<Error> check_shape(const Program& program, const StepTable& table,
                                 const Timeline& timeline, const std::string& file);

}  // namespace shardwright
