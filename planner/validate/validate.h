// Predictions beside published runs: row by row, by source and by group.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "planner/estimate.h"
#include "planner/rank_memory.h"
#include "planner/records/run_case.h"
#include "planner/validate/error_stats.h"

namespace shardwright {

// A factor that moves a prediction: one percent more of it makes the step `slope` percent longer.
struct FactorUse {
  Factor factor{};
  std::string owner;
  double value = 0, slope = 0;
};
struct TimePrediction {
  double seconds = 0;
  std::optional<double> low_s, high_s;  // where 80 % of cross-validated residuals lie
  // Of the run that the model was asked to take apart; else empty.
  EstimateParts parts;
  std::vector<FactorUse> rests_on;  // by falling slope
};
// Step time of a run; an Error when this run cannot be priced.
using TimeModel = std::function<Result<TimePrediction>(const RunCase&)>;

struct RowReport {
  std::string id, source;
  bool ok = false;
  std::string reason;  // why refused; why not timed; why reported apart
  // Reported apart from the statistics: underspecified, or the same figure as another row.
  bool apart = false;
  std::vector<std::string> groups;
  std::optional<double> predicted_s, measured_s, low_s, high_s;
  EstimateParts time_parts;  // as in TimePrediction
  std::vector<FactorUse> rests_on;
  std::optional<double> baseline_s;  // FLOPs at peak and the pipeline's bubble, no other term
  std::optional<double> predicted_mem_gib, measured_mem_gib;
  std::optional<bool> predicted_oom;
  bool measured_oom = false;
  RankMemory memory;
  std::optional<double> time_error_pct() const;
  std::optional<double> memory_error_pct() const;
};

struct SetReport {  // a source or a group
  std::string name;
  int64_t rows = 0, refused = 0, apart = 0;
  ErrorStats time, memory, time_apart;
  // One constant times baseline_s, the constant being the set's own median ratio.
  ErrorStats constant;
  OomTable oom;
  int64_t with_interval = 0, in_interval = 0;
};

struct Validation {
  std::vector<RowReport> rows;
  std::vector<SetReport> sources;  // in order of first appearance
  std::vector<SetReport> groups;   // in order of name
};

// `time` may be empty: memory only. Fails when the data of the profiles cannot be read.
Result<Validation> validate(const std::vector<RecordRow>& rows, const std::string& profiles_dir,
                            const TimeModel& time);

}  // namespace shardwright
