#include "planner/search/pareto.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <tuple>

namespace shardwright {
namespace {

constexpr double kInfinite = std::numeric_limits<double>::infinity();
constexpr std::array<const char*, 5> kNames = {"step", "memory", "devices", "cost", "energy"};

Objective objective_of(Measure measure) {
  switch (measure) {
    case Measure::kDevices:
      return Objective::kDevices;
    case Measure::kCost:
      return Objective::kCost;
    case Measure::kEnergy:
      return Objective::kEnergy;
    case Measure::kStep:
    case Measure::kMemory:
      break;
  }
  return Objective::kStep;
}

class Front {
 public:
  Front(DeviceCounts* counts, const ParetoRequest& pareto) : counts_(*counts), pareto_(pareto) {}

  std::optional<Error> by_counts() {
    for (int64_t devices : counts_.counts()) {
      if (!counts_.complete()) break;
      const double floor = counts_.floor_s(devices);
      if (floor == kInfinite || !counts_.allowed(devices, floor)) continue;
      if (dominated(value(pareto_.first, devices, floor), value(pareto_.second, devices, floor))) {
        continue;
      }
      const Result<const RankedPlan*> found = counts_.fastest(devices);
      if (!found) return found.error();
      const RankedPlan* plan = *found;
      if (plan != nullptr && counts_.allowed(devices, plan->step_time_s)) add(*plan);
    }
    return std::nullopt;
  }

  std::optional<Error> by_smallest() {
    SpaceRequest request = counts_.request();
    request.top = 1;
    request.headroom = 0;
    const auto usable =
        static_cast<Bytes>(counts_.software().usable_bytes(memory_limit_of(counts_.request())));
    request.memory_limit = 1;  // what misses least is what needs least
    for (int64_t devices : counts_.counts()) {
      request.ranks = devices;
      Result<SpaceResult> found = search_space(counts_.software(), request);
      ++searches_;
      if (!found && (found.error().field != "pin" || counts_.counts().size() == 1)) {
        return found.error();
      }
      if (!found || !found->nearest) continue;
      if (found->nearest->memory_peak_bytes <= usable) {
        add(*found->nearest);
      } else {
        nothing = *std::move(found);
      }
    }
    return std::nullopt;
  }

  // The best by the other measure under a limit of memory that falls. What was found for a number
  // of devices under a higher limit is a bound under a lower one, and the answer if it still fits.
  std::optional<Error> by_memory() {
    const Measure other = pareto_.first == Measure::kMemory ? pareto_.second : pareto_.first;
    std::vector<Candidate> open;
    for (int64_t devices : counts_.counts()) {
      const double floor = counts_.floor_s(devices);
      if (floor < kInfinite && counts_.allowed(devices, floor)) {
        open.push_back({value(other, devices, floor), devices, std::nullopt});
      }
    }
    auto limit =
        static_cast<Bytes>(counts_.software().usable_bytes(memory_limit_of(counts_.request())));
    while (limit > 0 && !open.empty() && counts_.complete()) {
      const auto best = std::min_element(open.begin(), open.end());
      if (best->plan && best->plan->memory_peak_bytes <= limit) {
        add(*best->plan);
        limit = best->plan->memory_peak_bytes - std::max<Bytes>(1, pareto_.memory_step);
        continue;
      }
      const Result<const RankedPlan*> found = counts_.fastest(best->devices, limit);
      if (!found) return found.error();
      const RankedPlan* plan = *found;
      if (plan == nullptr || !counts_.allowed(best->devices, plan->step_time_s)) {
        open.erase(best);
        continue;
      }
      *best = {value(other, best->devices, plan->step_time_s), best->devices, *plan};
    }
    return std::nullopt;
  }

  std::vector<RankedPlan> points() const {
    std::vector<RankedPlan> out;
    for (const RankedPlan& one : points_) {
      const auto [a, b] = at(one);
      const bool beaten = std::any_of(points_.begin(), points_.end(), [&](const RankedPlan& other) {
        const auto [c, d] = at(other);
        return c <= a && d <= b && (c < a || d < b);
      });
      if (!beaten) out.push_back(one);
    }
    std::sort(out.begin(), out.end(), [&](const RankedPlan& a, const RankedPlan& b) {
      return std::tuple(at(a), a.plan.label()) < std::tuple(at(b), b.plan.label());
    });
    // Of plans alike by both measures the first.
    const auto alike = [&](const RankedPlan& a, const RankedPlan& b) { return at(a) == at(b); };
    out.erase(std::unique(out.begin(), out.end(), alike), out.end());
    return out;
  }
  int64_t searches() const { return searches_; }
  SpaceResult nothing;

 private:
  struct Candidate {
    double value = 0;  // a bound, unless the plan fits the limit
    int64_t devices = 0;
    std::optional<RankedPlan> plan;
    friend bool operator<(const Candidate& a, const Candidate& b) {
      return std::tuple(a.value, a.devices) < std::tuple(b.value, b.devices);
    }
  };
  double value(Measure measure, int64_t devices, double step_s) const {
    return counts_.value(objective_of(measure), devices, step_s);
  }
  std::pair<double, double> at(const RankedPlan& plan) const {
    const auto measured = [&](Measure measure) {
      return measure == Measure::kMemory ? static_cast<double>(plan.memory_peak_bytes)
                                         : value(measure, plan.plan.ranks(), plan.step_time_s);
    };
    return {measured(pareto_.first), measured(pareto_.second)};
  }
  bool dominated(double first, double second) const {
    return std::any_of(points_.begin(), points_.end(), [&](const RankedPlan& point) {
      const auto [a, b] = at(point);
      return a <= first && b <= second;
    });
  }
  void add(const RankedPlan& plan) { points_.push_back(plan); }

  DeviceCounts& counts_;
  const ParetoRequest& pareto_;
  std::vector<RankedPlan> points_;
  int64_t searches_ = 0;
};

}  // namespace

const char* name_of(Measure measure) { return kNames[static_cast<size_t>(measure)]; }
bool parse_measure(const std::string& name, Measure* out) {
  const auto found = std::find(kNames.begin(), kNames.end(), name);
  if (found == kNames.end()) return false;
  *out = static_cast<Measure>(found - kNames.begin());
  return true;
}
bool is_defined(Measure measure, const DeviceRates& rates) {
  return is_defined(objective_of(measure), rates);
}
double measure_of(Measure measure, const DeviceRates& rates, const RankedPlan& plan) {
  switch (measure) {
    case Measure::kStep:
      return plan.step_time_s;
    case Measure::kMemory:
      return static_cast<double>(plan.memory_peak_bytes);
    case Measure::kDevices:
      return static_cast<double>(plan.plan.ranks());
    case Measure::kCost:
      return usd_per_mtoken(rates, plan);
    case Measure::kEnergy:
      return kwh_per_mtoken(rates, plan);
  }
  return 0;
}

Result<ParetoAnswer> pareto_front(Software& software, const SpaceRequest& request,
                                  const DeviceRates& rates, const DeviceLimits& limits,
                                  const ParetoRequest& pareto) {
  const auto has = [&](Measure m) { return pareto.first == m || pareto.second == m; };
  const bool smallest = has(Measure::kMemory) && has(Measure::kDevices);
  if (smallest && (limits.max_usd_per_mtoken > 0 || limits.min_tokens_per_s > 0)) {
    return Error{"command line", "pareto", "memory with devices under a limit of cost or deadline",
                 "limits of devices or watts alone"};
  }
  if (auto error = check_request(software, request)) return *error;
  DeviceCounts counts(software, request, rates, limits);
  ParetoAnswer out;
  out.counts = static_cast<int64_t>(counts.counts().size());
  Front front(&counts, pareto);
  const auto error = smallest                ? front.by_smallest()
                     : has(Measure::kMemory) ? front.by_memory()
                                             : front.by_counts();
  if (error) return *error;
  out.points = front.points();
  out.searches = counts.searches() + front.searches();
  out.complete = counts.complete();
  if (out.points.empty()) out.nothing = smallest ? front.nothing : counts.nothing();
  return out;
}

}  // namespace shardwright
