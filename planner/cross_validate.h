// What a fit is worth on runs that it has not seen: every source left out in turn, then a few of
// its runs given.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "planner/calibrate.h"

namespace shardwright {

// ln(predicted / measured) of one run under several states of knowledge.
struct Residuals {
  double fitted = 0;    // all runs were seen
  double left_out = 0;  // nothing of its source was
  // That many other runs of its source were given to that fit: one value for every choice of them.
  // Empty where the source has too few.
  std::map<int, std::vector<double>> after;
};

struct CrossOptions {
  std::vector<int> runs_given;  // 1 and more
  int choices = 4;              // sets of runs that are given, one after the other
};
// By position in `runs`. `fitted` is the fit over all of them; its families are kept, all else is
// learnt without the source. Given runs lie evenly over the source's list: of n rows and k given,
// choice c takes rows floor((j + (c + 1/2) / choices) n / k).
std::vector<Residuals> cross_validate(const std::vector<const TimedRun*>& runs,
                                      const FactorTable& fitted, const CrossOptions& options);

struct ErrorSummary {
  size_t rows = 0;
  double mean = 0, median = 0, p90 = 0, max = 0;  // of |predicted / measured - 1|, percent
  double bias = 0;                                // mean of the signed error, percent
};
ErrorSummary summarise(std::vector<double> log_ratios);

}  // namespace shardwright
