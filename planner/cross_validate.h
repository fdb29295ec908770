// What a fit is worth on runs that it has not seen: every source left out in turn.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "planner/calibrate.h"

namespace shardwright {

// ln(predicted / measured) of one run under three states of knowledge.
struct Residuals {
  double fitted = 0;    // all runs were seen
  double left_out = 0;  // nothing of its source was
  // One other run of its source was given to that fit: mean over the choices of that run, of |ln|
  // and with its sign. NaN where there is no other.
  double after_one = 0, after_one_signed = 0;
};

// By position in `runs`. `fitted` is the fit over all of them. At most `choices` runs of a source,
// spread over its list, are given one at a time.
std::vector<Residuals> cross_validate(const std::vector<const TimedRun*>& runs,
                                      const FactorTable& fitted, int choices);

struct ErrorSummary {
  size_t rows = 0;
  double mean = 0, median = 0, p90 = 0, max = 0;  // of |predicted / measured - 1|, percent
  double bias = 0;                                // mean of the signed error, percent
};
ErrorSummary summarise(std::vector<double> log_ratios);

}  // namespace shardwright
