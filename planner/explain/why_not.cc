#include "planner/explain/why_not.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace shardwright {
namespace {

// printf into a string; the formats here stay far below the limit.
template <typename... Values>
std::string format(const char* pattern, Values... values) {
  char text[400];
  std::snprintf(text, sizeof(text), pattern, values...);
  return text;
}

constexpr double kGib = 1024.0 * 1024.0 * 1024.0;

std::optional<Error> add_pins(const std::string& choices, Constraints* constraints) {
  for (size_t start = 0; start <= choices.size();) {
    const size_t end = std::min(choices.find(',', start), choices.size());
    if (auto error = constraints->add(ConstraintKind::kPin, choices.substr(start, end - start))) {
      error->field = "why-not";
      return error;
    }
    start = end + 1;
  }
  return std::nullopt;
}

}  // namespace

Result<WhyNot> why_not(Software& software, const SpaceRequest& given, const std::string& choices,
                       const RankedPlan& best, const Interval& interval) {
  SpaceRequest request = given;
  request.top = 1;
  if (auto error = add_pins(choices, &request.constraints)) return *error;
  const Result<SpaceResult> found = search_space(software, request);
  WhyNot out;
  if (!found) {
    // Degrees whose product is not the number of ranks are an error of the search and an answer
    // here.
    if (found.error().field != "pin") return found.error();
    out.kind = WhyNot::kRule;
    out.rejections = {{"ranks", "no degrees with these choices make " +
                                    std::to_string(request.ranks) + " ranks"}};
    return out;
  }
  if (!found->plans.empty()) {
    out.plan = found->plans.front();
    out.against = compare_plans(software, best, *out.plan, interval);
    out.kind = out.against->lost_s > 0 ? WhyNot::kTime : WhyNot::kNothing;
    return out;
  }
  if (found->nearest) {
    out.kind = WhyNot::kMemory;
    out.plan = found->nearest;
    const MemoryBreakdown memory = memory_breakdown(software, out.plan->plan);
    out.memory = memory.stages[memory.fullest];
    out.missing_bytes =
        out.memory.device_bytes -
        software.usable_bytes(out.plan->plan, memory.fullest, memory_limit_of(request));
    return out;
  }
  out.kind = WhyNot::kRule;
  out.rejections = found->rejections;
  return out;
}

std::string WhyNot::line() const {
  if (kind == kRule) {
    std::string text = "refused by ";
    for (const Rejection& rejection : rejections) {
      text += (&rejection == &rejections.front() ? "" : "; ") + rejection.line();
    }
    return text;
  }
  if (kind == kMemory) {
    const auto most =
        std::max_element(memory.parts.begin(), memory.parts.end(),
                         [](const auto& a, const auto& b) { return a.bytes < b.bytes; });
    return format(
        "too large: %s misses %.2f GiB on stage %lld in the %s; most of it is %s "
        "(%.2f GiB)",
        plan->plan.label().substr(0, 120).c_str(), missing_bytes / kGib,
        static_cast<long long>(memory.stage), memory.phase, most->name, most->bytes / kGib);
  }
  if (kind == kNothing) return "nothing: no plan is faster than " + plan->plan.label();
  const auto most =
      std::max_element(against->lost.begin(), against->lost.end(),
                       [](const auto& a, const auto& b) { return a.seconds < b.seconds; });
  return format("slower: %s takes %.4g s, %.4g s (%.1f %%) more; most of it in %s (%.4g s)%s",
                plan->plan.label().substr(0, 120).c_str(), plan->step_time_s, against->lost_s,
                100 * against->lost_s / (plan->step_time_s - against->lost_s), most->name,
                most->seconds, against->tie ? "; within the error of the prediction" : "");
}

}  // namespace shardwright
