// How far from a prediction the measured time lies: the interval that holds 80 % of cross-validated
// residuals, by what is known of the software and by kind of model.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "costmodel/json.h"
#include "costmodel/stack.h"
#include "planner/cross_validate.h"

namespace shardwright {

// kKnown: runs of the stack were in the fit. kUnknown: nothing of its source was. kCalibrated: one
// run of its source was given.
enum class Knowledge { kKnown, kUnknown, kCalibrated };
const char* name_of(Knowledge knowledge);  // "known", "unknown", "calibrated"

// kKnown where the stack has fitted factors of its own, not its family's alone.
Knowledge knowledge_of(const Stack& stack);

struct Interval {
  double low = 0, high = 0;  // ln(measured / predicted), 10th and 90th percentile
  double held = 0;  // share of rows inside, each source judged by the interval of the others
  int64_t rows = 0;
};
// By "known dense", "unknown moe", ...
using IntervalTable = std::map<std::string, Interval>;
const Interval* find_interval(const IntervalTable& table, Knowledge knowledge, bool moe);

struct JudgedRun {
  Residuals residuals;
  std::string source;
  bool moe = false;
  double weight = 1;
};
IntervalTable interval_table(const std::vector<JudgedRun>& runs);

Json to_json(const IntervalTable& table);
Result<IntervalTable> load_intervals(const std::string& profiles_dir);  // intervals.json

}  // namespace shardwright
