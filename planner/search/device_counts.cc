#include "planner/search/device_counts.h"

#include <algorithm>
#include <array>
#include <limits>
#include <queue>
#include <set>
#include <tuple>

#include "planner/search/pipeline_bound.h"
#include "planner/search/plan_space.h"
#include "planner/space.h"

namespace shardwright {
namespace {

constexpr double kInfinite = std::numeric_limits<double>::infinity();
constexpr double kMillion = 1e6, kSecondsPerHour = 3600, kWattSecondsPerKwh = 3.6e6;
constexpr std::array<const char*, 5> kNames = {"step", "tokens-per-device", "cost", "energy",
                                               "devices"};

double device_seconds_per_token(const RankedPlan& plan) {
  return static_cast<double>(plan.plan.ranks()) * plan.step_time_s /
         static_cast<double>(plan.plan.tokens_per_step());
}

}  // namespace

double usd_per_mtoken(const DeviceRates& rates, const RankedPlan& plan) {
  return rates.usd_per_hour / kSecondsPerHour * device_seconds_per_token(plan) * kMillion;
}
double kwh_per_mtoken(const DeviceRates& rates, const RankedPlan& plan) {
  return rates.watts / kWattSecondsPerKwh * device_seconds_per_token(plan) * kMillion;
}

const char* name_of(Objective objective) { return kNames[static_cast<size_t>(objective)]; }
bool parse_objective(const std::string& name, Objective* out) {
  const auto found = std::find(kNames.begin(), kNames.end(), name);
  if (found == kNames.end()) return false;
  *out = static_cast<Objective>(found - kNames.begin());
  return true;
}
bool is_defined(Objective objective, const DeviceRates& rates) {
  if (objective == Objective::kCost) return rates.usd_per_hour > 0;
  return objective != Objective::kEnergy || rates.watts > 0;
}

std::vector<int64_t> device_counts(const ClusterSpec& cluster) {
  std::vector<int64_t> out;
  const int64_t node = cluster.devices_per_node_of(0);
  for (int64_t below : divisors(node)) {
    if (below < node) out.push_back(below);
  }
  int64_t devices = 0;
  for (const NodeGroup& group : cluster.groups) {
    for (int64_t i = 0; i < group.nodes; ++i) out.push_back(devices += group.devices_per_node);
  }
  return out;
}

DeviceCounts::DeviceCounts(Software& software, const SpaceRequest& request,
                           const DeviceRates& rates, const DeviceLimits& limits)
    : software_(software), request_(request), rates_(rates), limits_(limits) {
  request_.top = 1;
  const std::vector<int64_t> all =
      request.ranks > 0 ? std::vector<int64_t>{request.ranks} : device_counts(software.cluster());
  for (int64_t devices : all) {
    if (limits.max_devices > 0 && devices > limits.max_devices) continue;
    if (limits.max_watts > 0 && static_cast<double>(devices) * rates.watts > limits.max_watts) {
      continue;
    }
    counts_.push_back(devices);
  }
}

double DeviceCounts::floor_s(int64_t devices) {
  const auto known = floors_.find(devices);
  if (known != floors_.end()) return known->second;
  const Plan base = base_plan(software_.model(), request_);
  const PlanSpace space(software_.model(), software_.cluster(), devices, base,
                        request_.constraints);
  // One device's share of a sequence depends on these alone: dp and pp only divide it.
  std::set<std::tuple<int64_t, int64_t, int64_t, int64_t, int64_t, bool, CpKind, int64_t>> seen;
  double least = kInfinite;
  for (const Mesh& mesh : space.meshes()) {
    for (const LayerChoice& layer : space.layers(mesh)) {
      Plan plan = space.plan_of(mesh, layer, {});
      software_.set_usual(&plan);
      space.narrow_overlap(&plan);
      if (!check_degrees(software_.model(), devices, plan).empty()) continue;
      const bool fresh = seen.emplace(mesh.tp, mesh.cp, mesh.ep, mesh.etp, layer.micro_batch,
                                      layer.sequence_parallel, layer.cp_kind, spread_of(plan))
                             .second;
      if (!fresh) continue;
      const Estimator::PartSeconds& parts = software_.parts(plan);
      least = std::min(least,
                       layers_bound_s(plan, {parts.whole, parts.pace, software_.model().layers()}));
    }
  }
  return floors_[devices] = least;
}

Result<const RankedPlan*> DeviceCounts::fastest(int64_t devices, Bytes memory_limit) {
  const auto [entry, fresh] = fastest_.try_emplace({devices, memory_limit});
  std::optional<RankedPlan>& plan = entry->second;
  if (fresh) {
    SpaceRequest request = request_;
    request.ranks = devices;
    if (memory_limit > 0) {
      request.memory_limit = memory_limit;
      request.headroom = 0;
    }
    ++searches_;
    Result<SpaceResult> found = search_space(software_, request);
    // Pinned degrees that make no such number of ranks are no plan, unless it is the only number.
    if (!found && (found.error().field != "pin" || counts_.size() == 1)) return found.error();
    if (found && !found->stats.complete) complete_ = false;
    if (found && !found->plans.empty()) {
      plan = std::move(found->plans.front());
    } else if (found) {
      nothing_ = *std::move(found);
    }
  }
  return plan ? &*plan : static_cast<const RankedPlan*>(nullptr);
}

bool DeviceCounts::allowed(int64_t devices, double step_s) const {
  const double tokens = static_cast<double>(request_.global_batch * request_.seq);
  if (limits_.min_tokens_per_s > 0 && tokens < limits_.min_tokens_per_s * step_s) return false;
  return limits_.max_usd_per_mtoken <= 0 ||
         value(Objective::kCost, devices, step_s) <= limits_.max_usd_per_mtoken;
}

double DeviceCounts::value(Objective objective, int64_t devices, double step_s) const {
  const double tokens = static_cast<double>(request_.global_batch * request_.seq);
  const double spent = static_cast<double>(devices) * step_s / tokens * kMillion;
  switch (objective) {
    case Objective::kStep:
      return step_s;
    case Objective::kTokensPerDevice:
      return spent;
    case Objective::kCost:
      return rates_.usd_per_hour / kSecondsPerHour * spent;
    case Objective::kEnergy:
      return rates_.watts / kWattSecondsPerKwh * spent;
    case Objective::kDevices:
      return static_cast<double>(devices);
  }
  return 0;
}

namespace {

// Best-first over numbers of devices.
class BestCounts {
 public:
  BestCounts(DeviceCounts* counts, Objective objective) : counts_(*counts), objective_(objective) {
    for (int64_t devices : counts->counts()) {
      const double floor = counts->floor_s(devices);
      if (floor < kInfinite && counts->allowed(devices, floor)) push(devices, floor, nullptr);
    }
  }
  std::optional<Error> run(int top, CountsAnswer* out) {
    while (!queue_.empty() && static_cast<int>(out->plans.size()) < top) {
      const Item item = queue_.top();
      queue_.pop();
      if (item.plan != nullptr) {
        out->plans.push_back(*item.plan);
        continue;
      }
      if (!counts_.complete()) continue;  // stopped: only what was found already
      const Result<const RankedPlan*> found = counts_.fastest(item.devices);
      if (!found) return found.error();
      const RankedPlan* plan = *found;
      if (plan == nullptr || !counts_.allowed(item.devices, plan->step_time_s)) continue;
      push(item.devices, plan->step_time_s, plan);
    }
    return std::nullopt;
  }

 private:
  struct Item {
    double value = 0;
    int64_t devices = 0;
    const RankedPlan* plan = nullptr;  // null: `value` is a bound
    friend bool operator<(const Item& a, const Item& b) {
      return std::tuple(a.value, a.devices) > std::tuple(b.value, b.devices);
    }
  };
  void push(int64_t devices, double step_s, const RankedPlan* plan) {
    queue_.push({counts_.value(objective_, devices, step_s), devices, plan});
  }
  DeviceCounts& counts_;
  Objective objective_;
  std::priority_queue<Item> queue_;
};

std::optional<Error> find_fastest(DeviceCounts* counts, CountsAnswer* out) {
  std::vector<std::pair<double, int64_t>> order;
  for (int64_t devices : counts->counts()) {
    if (counts->floor_s(devices) < kInfinite) order.emplace_back(counts->floor_s(devices), devices);
  }
  std::sort(order.begin(), order.end());
  for (const auto& [floor, devices] : order) {
    if (out->fastest && floor >= out->fastest->step_time_s) break;
    if (!counts->complete()) break;
    const Result<const RankedPlan*> found = counts->fastest(devices);
    if (!found) return found.error();
    if (*found == nullptr) continue;
    if (!out->fastest || (*found)->step_ns < out->fastest->step_ns) out->fastest = **found;
  }
  return std::nullopt;
}

}  // namespace

Result<CountsAnswer> best_over_counts(Software& software, const SpaceRequest& request,
                                      const DeviceRates& rates, const DeviceLimits& limits,
                                      Objective objective) {
  SW_CHECK(is_defined(objective, rates), "an objective takes its rates");
  if (auto error = check_request(software, request)) return *error;
  DeviceCounts counts(software, request, rates, limits);
  CountsAnswer out;
  out.counts = static_cast<int64_t>(counts.counts().size());
  if (counts.counts().empty()) return out;
  if (auto error = BestCounts(&counts, objective).run(request.top, &out)) return *error;
  if (out.plans.empty()) {
    if (auto error = find_fastest(&counts, &out)) return *error;
  }
  if (out.plans.empty() && !out.fastest) {
    const Result<const RankedPlan*> last = counts.fastest(counts.counts().back());
    if (!last) return last.error();
    out.nothing = counts.nothing();
    if (!out.nothing.nearest && out.nothing.rejections.empty()) {
      return Error{"command line", "pin", "no degrees", "some that a number of devices allows"};
    }
  }
  out.searched = counts.searches();
  out.complete = counts.complete();
  return out;
}

}  // namespace shardwright
