#include "planner/space.h"

#include <algorithm>
#include <array>
#include <optional>

#include "costmodel/pricer.h"
#include "planner/balance.h"
#include "planner/search/layer_limits.h"
#include "planner/search/plan_space.h"

namespace shardwright {
namespace {

constexpr const char* kCommandLine = "command line";
constexpr int64_t kMaxSize = int64_t{1} << 30;
constexpr std::array<const char*, 8> kChoices = {
    "dp", "tp", "pp", "virtual_stages", "stage_layers", "micro_batch", "schedule", "recompute"};
constexpr ScheduleKind kSchedules[] = {ScheduleKind::kGPipe, ScheduleKind::kOneFOneB,
                                       ScheduleKind::kBreadthFirst};
constexpr Recompute kRecomputes[] = {Recompute::kNone, Recompute::kFull};

std::optional<Error> check_size(const char* name, int64_t value, int64_t high) {
  if (value >= 1 && value <= high) return std::nullopt;
  return Error{kCommandLine, name, std::to_string(value),
               "a whole number from 1 to " + std::to_string(high)};
}

// Those of `all` that are allowed.
template <typename Kind, size_t kCount>
std::vector<Kind> kinds(const Constraints& constraints, const char* name,
                        const Kind (&all)[kCount]) {
  std::vector<Kind> out;
  for (Kind kind : all) {
    if (constraints.allows(name, name_of(kind))) out.push_back(kind);
  }
  return out;
}

std::optional<Error> check_choices(const Constraints& constraints) {
  for (const std::string& name : constraints.names()) {
    if (std::find(kChoices.begin(), kChoices.end(), name) != kChoices.end()) continue;
    std::string names;
    for (const char* choice : kChoices) names += (names.empty() ? "" : ", ") + std::string(choice);
    return Error{kCommandLine, name, "a constraint on it", "choices of the own executor: " + names};
  }
  if (kinds(constraints, "schedule", kSchedules).empty()) {
    return Error{kCommandLine, "schedule", "none left", "gpipe, 1f1b or breadth-first"};
  }
  if (kinds(constraints, "recompute", kRecomputes).empty()) {
    return Error{kCommandLine, "recompute", "none left", "none or full"};
  }
  const LayerLimits layers(constraints);
  if (layers.least() > 0 || layers.most()) {
    return Error{kCommandLine, "stage_layers", "a bound", "a pin, with the own executor"};
  }
  if (layers.leaves_empty()) {
    return Error{kCommandLine, "pin stage_layers", "a chunk of none",
                 "layers for every chunk, with the own executor"};
  }
  return std::nullopt;
}

// (dp, tp, pp) with dp * tp * pp = ranks, as far as the constraints allow.
std::vector<std::array<int64_t, 3>> degrees(const SearchRequest& request) {
  std::vector<std::array<int64_t, 3>> out;
  const Constraints& constraints = request.constraints;
  for (int64_t dp : constraints.allowed("dp", divisors(request.ranks))) {
    const int64_t rest = request.ranks / dp;
    for (int64_t tp : constraints.allowed("tp", divisors(rest))) {
      if (constraints.allows("pp", rest / tp)) out.push_back({dp, tp, rest / tp});
    }
  }
  return out;
}

// A batch that the replicas cannot share equally is still one candidate, so that it is counted as
// refused; so is a pinned size that does not divide it.
std::vector<int64_t> micro_batches(const SearchRequest& request, int64_t dp) {
  const int64_t each = request.global_batch / dp;
  const bool divides = each * dp == request.global_batch;
  std::vector<int64_t> sizes = request.constraints.allowed(
      "micro_batch", divides ? divisors(each) : std::vector<int64_t>{1});
  const auto pinned = request.constraints.pinned("micro_batch");
  if (sizes.empty() && pinned) sizes = {std::stoll(*pinned)};
  return sizes;
}

std::vector<int64_t> virtual_stages(const ModelSpec& model, const SearchRequest& request,
                                    int64_t pp) {
  const LayerLimits layers(request.constraints);
  const bool pinned = request.constraints.pinned("virtual_stages").has_value();
  const int64_t most = pp == 1 ? 1 : std::max<int64_t>(1, model.layers() / pp);
  std::vector<int64_t> out;
  for (int64_t v = 1; v <= most; ++v) {
    const bool asked = pinned || layers.of(pp * v) != nullptr;
    if ((asked || usual_virtual_stages(most, v)) && layers.take(pp * v) &&
        request.constraints.allows("virtual_stages", v)) {
      out.push_back(v);
    }
  }
  return out;
}

}  // namespace

std::vector<int64_t> divisors(int64_t value) {
  std::vector<int64_t> low, high;
  for (int64_t d = 1; d * d <= value; ++d) {
    if (value % d != 0) continue;
    low.push_back(d);
    if (d * d != value) high.push_back(value / d);
  }
  low.insert(low.end(), high.rbegin(), high.rend());
  return low;
}

std::optional<Error> check_request(const ModelSpec& model, const ClusterSpec& cluster,
                                   SearchRequest* request) {
  if (request->ranks == 0) request->ranks = cluster.num_devices();
  if (auto error = check_size("ranks", request->ranks, cluster.num_devices())) return error;
  if (auto error = check_size("seq", request->seq, kMaxSize)) return error;
  if (auto error = check_size("global-batch", request->global_batch, kMaxSize)) return error;
  if (auto error = check_size("top", request->top, kMaxSize)) return error;
  if (auto error = check_choices(request->constraints)) return error;
  if (auto error = LayerLimits(request->constraints).problem(model)) return error;
  if (degrees(*request).empty()) {
    return Error{kCommandLine, "pin", "no degrees",
                 "some with dp * tp * pp = " + std::to_string(request->ranks) + " ranks"};
  }
  return check_supports(cluster, request->precision);
}

std::vector<Plan> enumerate_plans(const ModelSpec& model, const SearchRequest& request) {
  std::vector<Plan> plans;
  Plan plan;
  plan.seq = request.seq;
  plan.global_batch = request.global_batch;
  plan.precision = request.precision;
  plan.optimizer = request.optimizer;
  const auto recomputes = kinds(request.constraints, "recompute", kRecomputes);
  const auto schedules = kinds(request.constraints, "schedule", kSchedules);
  for (const auto& [dp, tp, pp] : degrees(request)) {
    plan.dp = dp;
    plan.tp = tp;
    plan.pp = pp;
    for (int64_t v : virtual_stages(model, request, pp)) {
      plan.virtual_stages = v;
      for (int64_t micro_batch : micro_batches(request, dp)) {
        plan.micro_batch = micro_batch;
        for (Recompute recompute : recomputes) {
          plan.recompute = recompute;
          for (ScheduleKind schedule : schedules) {
            if (!takes_virtual_stages(schedule, v)) continue;
            plan.schedule = schedule;
            plans.push_back(plan);
          }
        }
      }
    }
  }
  return plans;
}

std::vector<int64_t> layers_of(const ModelSpec& model, const ClusterSpec& cluster,
                               const SearchRequest& request, const Plan& plan) {
  const LayerLimits limits(request.constraints);
  const std::vector<int64_t>* pinned = limits.of(plan.pp * plan.virtual_stages);
  return pinned != nullptr ? *pinned : balanced_chunks(model, cluster, plan);
}

}  // namespace shardwright
