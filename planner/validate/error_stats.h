// How far predictions lie from measurements, over a set of rows. Errors are predicted / measured -
// 1 in percent.
#pragma once

#include <cstdint>
#include <vector>

namespace shardwright {

struct ErrorStats {
  int64_t count = 0;
  double mean_abs_pct = 0, median_abs_pct = 0, p90_abs_pct = 0, max_abs_pct = 0;
  double bias_pct = 0;  // mean of the signed errors
};
// All zero for an empty list.
ErrorStats error_stats(const std::vector<double>& errors_pct);

// Verdicts of "out of memory": true positive = predicted and labelled so.
struct OomTable {
  int64_t tp = 0, fp = 0, tn = 0, fn = 0;
  void add(bool predicted, bool labelled);
  int64_t count() const { return tp + fp + tn + fn; }
  double precision() const;  // 0 when nothing was predicted
  double recall() const;     // 0 when nothing was labelled
  // Mean of the hit rates of both labels; of the one that occurs, when only one does.
  double balanced_accuracy() const;
};

}  // namespace shardwright
