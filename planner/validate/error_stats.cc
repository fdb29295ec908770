#include "planner/validate/error_stats.h"

#include <algorithm>
#include <cmath>

namespace shardwright {
namespace {

// Linear between the ranks next to `share` of the way through. REQUIRES: sorted, not empty.
double quantile(const std::vector<double>& sorted, double share) {
  const double at = share * static_cast<double>(sorted.size() - 1);
  const auto low = static_cast<size_t>(at);
  const size_t high = std::min(low + 1, sorted.size() - 1);
  return sorted[low] + (at - static_cast<double>(low)) * (sorted[high] - sorted[low]);
}

double share_of(int64_t part, int64_t rest) {
  return part + rest == 0 ? 0 : static_cast<double>(part) / static_cast<double>(part + rest);
}

}  // namespace

ErrorStats error_stats(const std::vector<double>& errors_pct) {
  ErrorStats stats;
  if (errors_pct.empty()) return stats;
  std::vector<double> sizes;
  for (const double error : errors_pct) {
    sizes.push_back(std::abs(error));
    stats.mean_abs_pct += std::abs(error);
    stats.bias_pct += error;
  }
  const auto count = static_cast<double>(errors_pct.size());
  std::sort(sizes.begin(), sizes.end());
  stats.count = static_cast<int64_t>(errors_pct.size());
  stats.mean_abs_pct /= count;
  stats.bias_pct /= count;
  stats.median_abs_pct = quantile(sizes, 0.5);
  stats.p90_abs_pct = quantile(sizes, 0.9);
  stats.max_abs_pct = sizes.back();
  return stats;
}

void OomTable::add(bool predicted, bool labelled) {
  ++(labelled ? (predicted ? tp : fn) : (predicted ? fp : tn));
}
double OomTable::precision() const { return share_of(tp, fp); }
double OomTable::recall() const { return share_of(tp, fn); }
double OomTable::balanced_accuracy() const {
  if (tp + fn == 0) return share_of(tn, fp);
  if (tn + fp == 0) return recall();
  return (recall() + share_of(tn, fp)) / 2;
}

}  // namespace shardwright
