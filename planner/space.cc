#include "planner/space.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

#include "costmodel/pricer.h"

namespace shardwright {
namespace {

constexpr const char* kCommandLine = "command line";
constexpr int64_t kMaxSize = int64_t{1} << 30;
constexpr std::array<const char*, 4> kSizes = {"dp", "tp", "pp", "micro_batch"};
constexpr const char* kPins = "dp, tp, pp, micro_batch, schedule or recompute";

bool parse_size(const std::string& text, int64_t* out) {
  const char* end = text.data() + text.size();
  const auto [stop, status] = std::from_chars(text.data(), end, *out);
  return status == std::errc() && stop == end && *out >= 1 && *out <= kMaxSize;
}

std::optional<Error> check_pin(const std::string& name, const std::string& value) {
  const std::string found = '"' + printable(value) + '"';
  int64_t size = 0;
  ScheduleKind schedule{};
  Recompute recompute{};
  if (std::find(kSizes.begin(), kSizes.end(), name) != kSizes.end()) {
    if (parse_size(value, &size)) return std::nullopt;
    return Error{kCommandLine, "pin " + name, found, "a whole number of at least 1"};
  }
  if (name == "schedule") {
    if (parse_schedule(value, &schedule) && schedule <= ScheduleKind::kOneFOneB) {
      return std::nullopt;
    }
    return Error{kCommandLine, "pin schedule", found, "gpipe or 1f1b"};
  }
  if (name == "recompute") {
    if (parse_recompute(value, &recompute) && recompute != Recompute::kSelective) {
      return std::nullopt;
    }
    return Error{kCommandLine, "pin recompute", found, "none or full"};
  }
  return Error{kCommandLine, "pin", '"' + printable(name) + '"', kPins};
}

std::optional<Error> check_size(const char* name, int64_t value, int64_t high) {
  if (value >= 1 && value <= high) return std::nullopt;
  return Error{kCommandLine, name, std::to_string(value),
               "a whole number from 1 to " + std::to_string(high)};
}

// The pinned value alone, else all `free` ones.
std::vector<int64_t> sizes(const SearchRequest& request, const char* name,
                           std::vector<int64_t> free) {
  const auto pin = request.pins.find(name);
  int64_t value = 0;
  if (pin != request.pins.end() && parse_size(pin->second, &value)) return {value};
  return free;
}
template <typename Kind>
std::vector<Kind> kinds(const SearchRequest& request, const char* name,
                        bool (*parse)(const std::string&, Kind*), std::vector<Kind> free) {
  const auto pin = request.pins.find(name);
  Kind value{};
  if (pin != request.pins.end() && parse(pin->second, &value)) return {value};
  return free;
}

// (dp, tp, pp) with dp * tp * pp = ranks, as far as the pins allow.
std::vector<std::array<int64_t, 3>> degrees(const SearchRequest& request) {
  std::vector<std::array<int64_t, 3>> out;
  for (int64_t dp : sizes(request, "dp", divisors(request.ranks))) {
    if (request.ranks % dp != 0) continue;
    const int64_t rest = request.ranks / dp;
    for (int64_t tp : sizes(request, "tp", divisors(rest))) {
      if (rest % tp != 0) continue;
      for (int64_t pp : sizes(request, "pp", {rest / tp})) {
        if (dp * tp * pp == request.ranks) out.push_back({dp, tp, pp});
      }
    }
  }
  return out;
}

// A batch that the replicas cannot share equally is still one candidate, so that it is counted as
// refused.
std::vector<int64_t> micro_batches(const SearchRequest& request, int64_t dp) {
  const int64_t each = request.global_batch / dp;
  const bool divides = each * dp == request.global_batch;
  return sizes(request, "micro_batch", divides ? divisors(each) : std::vector<int64_t>{1});
}

std::string pinned_degrees(const SearchRequest& request) {
  std::string text;
  for (const char* name : {"dp", "tp", "pp"}) {
    const auto pin = request.pins.find(name);
    if (pin != request.pins.end())
      text += (text.empty() ? "" : ", ") + pin->first + "=" + pin->second;
  }
  return text;
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

std::optional<Error> add_pin(const std::string& text, SearchRequest* request) {
  const size_t equals = text.find('=');
  if (equals == std::string::npos) {
    return Error{kCommandLine, "pin", '"' + printable(text) + '"',
                 std::string("NAME=VALUE with ") + kPins};
  }
  const std::string name = text.substr(0, equals), value = text.substr(equals + 1);
  if (auto error = check_pin(name, value)) return error;
  if (!request->pins.emplace(name, value).second) {
    return Error{kCommandLine, "pin " + name, "a second value, " + value,
                 "each choice pinned once"};
  }
  return std::nullopt;
}

std::optional<Error> check_request(const ClusterSpec& cluster, SearchRequest* request) {
  if (request->ranks == 0) request->ranks = cluster.num_devices();
  if (auto error = check_size("ranks", request->ranks, cluster.num_devices())) return error;
  if (auto error = check_size("seq", request->seq, kMaxSize)) return error;
  if (auto error = check_size("global-batch", request->global_batch, kMaxSize)) return error;
  if (auto error = check_size("top", request->top, kMaxSize)) return error;
  for (const auto& [name, value] : request->pins) {
    if (auto error = check_pin(name, value)) return error;
  }
  if (degrees(*request).empty()) {
    return Error{kCommandLine, "pin", pinned_degrees(*request),
                 "degrees with dp * tp * pp = " + std::to_string(request->ranks) + " ranks"};
  }
  return check_supports(cluster, request->precision);
}

std::vector<Plan> enumerate_plans(const SearchRequest& request) {
  std::vector<Plan> plans;
  Plan plan;
  plan.seq = request.seq;
  plan.global_batch = request.global_batch;
  plan.precision = request.precision;
  plan.optimizer = request.optimizer;
  const auto recomputes =
      kinds(request, "recompute", parse_recompute, {Recompute::kNone, Recompute::kFull});
  const auto schedules =
      kinds(request, "schedule", parse_schedule, {ScheduleKind::kGPipe, ScheduleKind::kOneFOneB});
  for (const auto& [dp, tp, pp] : degrees(request)) {
    plan.dp = dp;
    plan.tp = tp;
    plan.pp = pp;
    for (int64_t micro_batch : micro_batches(request, dp)) {
      plan.micro_batch = micro_batch;
      for (Recompute recompute : recomputes) {
        plan.recompute = recompute;
        for (ScheduleKind schedule : schedules) {
          plan.schedule = schedule;
          plans.push_back(plan);
        }
      }
    }
  }
  return plans;
}

}  // namespace shardwright
