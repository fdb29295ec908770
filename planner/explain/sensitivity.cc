#include "planner/explain/sensitivity.h"

#include <algorithm>
#include <cmath>

namespace shardwright {
namespace {

// The factors of an interconnect go by its bandwidth: those of the unscaled one are kept, so that
// only the bandwidth changes.
Stack with_factors_of(Stack stack, const ClusterSpec& from, const ClusterSpec& to) {
  const std::string old_name = interconnect_of(from), new_name = interconnect_of(to);
  if (old_name == new_name) return stack;
  auto& owners = stack.factors.of[static_cast<size_t>(FactorOwner::kInterconnect)];
  const auto known = owners.find(old_name);
  if (known == owners.end()) {
    owners.erase(new_name);
  } else {
    const auto values = known->second;
    owners[new_name] = values;
  }
  return stack;
}

struct Answer {
  double plan_s = 0, best_s = 0;
  std::string label;
};

Result<Answer> at(Software& software, const SpaceRequest& given, const Plan& plan,
                  const Scaled& what, double factor) {
  const ClusterSpec cluster = scale(software.cluster(), what, factor);
  Software scaled(software.model(), cluster,
                  with_factors_of(software.stack(), software.cluster(), cluster),
                  software.memory_stack());
  SpaceRequest request = given;
  request.top = 1;
  if (what.kind == Scaled::kMemory && request.memory_limit > 0) {
    request.memory_limit = static_cast<Bytes>(static_cast<double>(request.memory_limit) * factor);
  }
  const Result<SpaceResult> found = search_space(scaled, request);
  if (!found) return found.error();
  Answer out;
  out.plan_s = evaluate(scaled, plan).step_time_s;
  if (found->plans.empty()) return out;
  out.best_s = found->plans.front().step_time_s;
  out.label = found->plans.front().plan.label();
  return out;
}

bool overtaken(const Answer& answer) {
  // A nanosecond is what simulated times are rounded to.
  return answer.best_s > 0 && answer.best_s < answer.plan_s - 2e-9;
}

}  // namespace

std::string Scaled::name(const ClusterSpec& cluster) const {
  if (kind == kMemory) return "memory";
  return kind == kCompute ? "compute" : cluster.levels.at(level).name;
}

std::vector<Scaled> all_scaled(const ClusterSpec& cluster) {
  std::vector<Scaled> out = {{Scaled::kMemory, 0}, {Scaled::kCompute, 0}};
  for (size_t level = 0; level < cluster.levels.size(); ++level) {
    out.push_back({Scaled::kLink, level});
  }
  return out;
}

ClusterSpec scale(const ClusterSpec& cluster, const Scaled& what, double factor) {
  ClusterSpec out = cluster;
  if (what.kind == Scaled::kLink) {
    LinkLevel& level = out.levels.at(what.level);
    level.bytes_per_s *= factor;
    for (CollectiveCurve& curve : level.curves) {
      if (curve.points.empty()) continue;
      const double least = curve.points.front().seconds;
      for (CurvePoint& point : curve.points) {
        if (point.seconds > least) point.seconds = least + (point.seconds - least) / factor;
      }
    }
    return out;
  }
  for (auto& [name, device] : out.devices) {
    if (what.kind == Scaled::kMemory) {
      device.memory_bytes = static_cast<Bytes>(static_cast<double>(device.memory_bytes) * factor);
      continue;
    }
    for (auto& [type, peak] : device.peak_flops_per_s) peak *= factor;
  }
  return out;
}

Result<std::vector<Sensitivity>> sensitivities(Software& software, const SpaceRequest& request,
                                               const Plan& plan) {
  std::vector<Sensitivity> out;
  for (const Scaled& what : all_scaled(software.cluster())) {
    for (double factor : {0.9, 1.1}) {
      const Result<Answer> answer = at(software, request, plan, what, factor);
      if (!answer) return answer.error();
      out.push_back({what, factor, answer->plan_s, answer->best_s, answer->label});
    }
  }
  return out;
}

Result<BreakEven> break_even(Software& software, const SpaceRequest& request, const Plan& plan,
                             size_t level) {
  const Scaled what{Scaled::kLink, level};
  BreakEven out;
  out.level = level;
  const Result<Answer> now = at(software, request, plan, what, 1);
  if (!now) return now.error();
  if (overtaken(*now)) return out;
  for (bool up : {false, true}) {
    double near = 1, far = up ? 8 : 1.0 / 8;
    Result<Answer> answer = at(software, request, plan, what, far);
    if (!answer) return answer.error();
    if (!overtaken(*answer)) continue;
    std::string label = answer->label;
    while (std::abs(std::log(far / near)) > 0.01) {
      const double middle = std::sqrt(near * far);
      answer = at(software, request, plan, what, middle);
      if (!answer) return answer.error();
      (overtaken(*answer) ? far : near) = middle;
      if (overtaken(*answer)) label = answer->label;
    }
    (up ? out.above : out.below) = far;
    (up ? out.above_label : out.below_label) = label;
  }
  return out;
}

}  // namespace shardwright
