#include "planner/search/replica_shares.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "planner/schedule/schedule.h"

namespace shardwright {
namespace {

constexpr int kHalvings = 50;

class Shares {
 public:
  Shares(const Plan& plan, const std::vector<double>& seconds) : seconds_(seconds) {
    unit_ = interleaved_round(plan.schedule, plan.pp, plan.virtual_stages);
    if (plan.schedule == ScheduleKind::kDualPipeV) least_ = 2 * plan.pp;
    fill_ = static_cast<double>(plan.pp - 1) / static_cast<double>(plan.virtual_stages);
    const int64_t sequences = unit_ * plan.micro_batch;
    all_ = plan.global_batch % sequences == 0 ? plan.global_batch / sequences : 0;
  }

  // Units of so many microbatches; empty: they cannot be shared.
  std::vector<int64_t> run() {
    const auto replicas = static_cast<int64_t>(seconds_.size());
    if (all_ < replicas * least_) return {};
    double low = 0, high = time(all_, *std::max_element(seconds_.begin(), seconds_.end()));
    for (int i = 0; i < kHalvings; ++i) {
      const double middle = (low + high) / 2;
      (held(middle) >= all_ ? high : low) = middle;
    }
    std::vector<int64_t> shares;
    for (double one : seconds_) shares.push_back(room(high, one));
    take_back(std::accumulate(shares.begin(), shares.end(), -all_), &shares);
    return shares;
  }
  int64_t unit() const { return unit_; }

 private:
  double time(int64_t units, double seconds) const {
    return (static_cast<double>(units * unit_) + fill_) * seconds;
  }
  int64_t room(double limit, double seconds) const {
    const double units = (limit / seconds - fill_) / static_cast<double>(unit_);
    return std::clamp(static_cast<int64_t>(std::floor(units + 1e-9)), least_, all_);
  }
  int64_t held(double limit) const {
    int64_t sum = 0;
    for (double one : seconds_) sum += room(limit, one);
    return sum;
  }
  void take_back(int64_t surplus, std::vector<int64_t>* shares) const {
    std::vector<size_t> slowest(shares->size());
    std::iota(slowest.begin(), slowest.end(), size_t{0});
    std::stable_sort(slowest.begin(), slowest.end(),
                     [&](size_t a, size_t b) { return seconds_[a] > seconds_[b]; });
    while (surplus > 0) {
      for (size_t i : slowest) {
        if (surplus == 0 || (*shares)[i] == least_) continue;
        --(*shares)[i];
        --surplus;
      }
    }
  }

  const std::vector<double>& seconds_;
  int64_t unit_ = 1, least_ = 1, all_ = 0;
  double fill_ = 0;  // microbatches that filling and draining take
};

}  // namespace

std::vector<int64_t> replica_shares(const Plan& plan, const std::vector<double>& seconds) {
  Shares shares(plan, seconds);
  std::vector<int64_t> out = shares.run();
  const bool alike = std::adjacent_find(out.begin(), out.end(), std::not_equal_to<>()) == out.end();
  if (alike) return {};
  for (int64_t& share : out) share *= shares.unit() * plan.micro_batch;
  return out;
}

}  // namespace shardwright
