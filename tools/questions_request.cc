#include "tools/questions_request.h"

#include <array>
#include <charconv>
#include <cmath>

namespace shardwright {
namespace {

constexpr const char* kCommandLine = "command line";
constexpr const char* kObjectives = "step, tokens-per-device, cost, energy or devices";
constexpr const char* kMeasures = "two of step, memory, devices, cost and energy, as in step,cost";
constexpr double kMost = 1e18;

// A positive number, in full.
bool parse_positive(const std::string& text, double* out) {
  const char* end = text.data() + text.size();
  const auto [stop, status] = std::from_chars(text.data(), end, *out);
  return status == std::errc() && stop == end && *out > 0 && *out <= kMost;
}

Error wrong(const std::string& field, const std::string& found, const std::string& expected) {
  return {kCommandLine, field, found.empty() ? "nothing" : '"' + printable(found) + '"', expected};
}

Result<Deadline> parse_deadline(const std::string& text) {
  const size_t at = text.find('@');
  Deadline out;
  const bool good = at != std::string::npos && parse_positive(text.substr(0, at), &out.tokens) &&
                    parse_positive(text.substr(at + 1), &out.days);
  if (!good) return wrong("deadline", text, "TOKENS@DAYS, as in 1e12@30");
  return out;
}

Result<ParetoRequest> parse_pareto(const QuestionArguments& arguments) {
  const std::vector<std::string> names = split_commas(arguments.pareto);
  ParetoRequest out;
  const bool good = names.size() == 2 && names[0] != names[1] &&
                    parse_measure(names[0], &out.first) && parse_measure(names[1], &out.second);
  if (!good) return wrong("pareto", arguments.pareto, kMeasures);
  const double step = arguments.memory_step_gib;
  if (!(step >= 0) || step > 1 << 20) {
    return Error{kCommandLine, "memory-step", std::to_string(step), "GiB from 0"};
  }
  out.memory_step = static_cast<Bytes>(step * (int64_t{1} << 30));
  return out;
}

std::optional<Error> check_limits(const QuestionArguments& a) {
  const std::pair<const char*, std::optional<double>> limits[] = {
      {"max-cost-per-mtoken", a.max_usd_per_mtoken}, {"max-watts", a.max_watts}};
  for (const auto& [name, value] : limits) {
    if (!value || (*value > 0 && std::isfinite(*value))) continue;
    return Error{kCommandLine, name, std::to_string(*value), "a number above 0"};
  }
  if (!a.max_devices || *a.max_devices > 0) return std::nullopt;
  return Error{kCommandLine, "max-devices", std::to_string(*a.max_devices), "a number above 0"};
}

// One question at a time.
std::optional<Error> check_alone(const QuestionArguments& a, bool over_counts) {
  const bool limited =
      over_counts || a.max_usd_per_mtoken || a.max_watts || a.max_devices || !a.deadline.empty();
  const std::pair<const char*, bool> questions[] = {
      {"max-micro-batch", a.max_micro_batch},
      {"max-seq", a.max_seq},
      {"pareto", !a.pareto.empty()},
      {"compare-clusters", !a.compare_clusters.empty()}};
  std::string first;
  for (const auto& [name, asked] : questions) {
    if (!asked) continue;
    if (!first.empty()) return wrong(name, "with " + first, "one question at a time");
    first = name;
  }
  const bool plain = first == "max-micro-batch" || first == "max-seq";
  if (plain && limited) {
    return wrong(first, "with an objective, a deadline or a limit",
                 "pins, bounds and memory limits beside it");
  }
  if (first == "pareto" && over_counts) {
    return wrong(first, "with an objective", "limits and a deadline beside it");
  }
  return std::nullopt;
}

Result<std::vector<double>> parse_list(const char* field, const std::string& text, size_t count) {
  std::vector<double> out;
  if (text.empty()) return out;
  for (const std::string& one : split_commas(text)) {
    out.push_back(0);
    if (!parse_positive(one, &out.back())) return wrong(field, text, "a number above 0");
  }
  if (out.size() == 1 || out.size() == count) return out;
  return wrong(field, text, "one number, or " + std::to_string(count) + " for as many clusters");
}

}  // namespace

std::vector<std::string> split_commas(const std::string& text) {
  std::vector<std::string> out;
  for (size_t start = 0; start <= text.size();) {
    const size_t end = std::min(text.find(',', start), text.size());
    out.push_back(text.substr(start, end - start));
    start = end + 1;
  }
  return out;
}

Result<QuestionRequest> question_request_of(const QuestionArguments& arguments) {
  QuestionRequest out;
  if (auto error = check_limits(arguments)) return *error;
  if (!arguments.objective.empty() && !parse_objective(arguments.objective, &out.objective)) {
    return wrong("objective", arguments.objective, kObjectives);
  }
  if (arguments.min_devices) {
    if (!arguments.objective.empty() && out.objective != Objective::kDevices) {
      return wrong("min-devices", "with --objective " + arguments.objective, "one objective");
    }
    out.objective = Objective::kDevices;
  }
  if (auto error = check_alone(arguments, out.objective != Objective::kStep)) return *error;
  out.limits.max_devices = arguments.max_devices.value_or(0);
  out.limits.max_watts = arguments.max_watts.value_or(0);
  out.limits.max_usd_per_mtoken = arguments.max_usd_per_mtoken.value_or(0);
  if (!arguments.deadline.empty()) {
    const Result<Deadline> deadline = parse_deadline(arguments.deadline);
    if (!deadline) return deadline.error();
    out.deadline = *deadline;
    out.limits.min_tokens_per_s = deadline->tokens_per_s();
  }
  if (!arguments.pareto.empty()) {
    const Result<ParetoRequest> pareto = parse_pareto(arguments);
    if (!pareto) return pareto.error();
    out.pareto = *pareto;
  }
  return out;
}

Result<KnownRates> rates_of(const QuestionArguments& arguments, size_t index, size_t count,
                            const ClusterSpec& cluster) {
  const auto usd = parse_list("price-per-device-hour", arguments.usd_per_hour, count);
  if (!usd) return usd.error();
  const auto watts = parse_list("watts-per-device", arguments.watts, count);
  if (!watts) return watts.error();
  const auto of = [&](const std::vector<double>& list) {
    return list.empty() ? 0 : list[list.size() == 1 ? 0 : index];
  };
  KnownRates out{{of(*usd), of(*watts)}, "as given"};
  const StatedPower& power = cluster.device_of(0).power;
  if (out.rates.watts == 0) {
    out.rates.watts = power.watts;
    out.watts_source = power.source;
  }
  return out;
}

std::optional<Error> check_rates(const QuestionRequest& question, const DeviceRates& rates) {
  const ParetoRequest* pareto = question.pareto ? &*question.pareto : nullptr;
  const auto measures = [&](Measure m) {
    return pareto != nullptr && (pareto->first == m || pareto->second == m);
  };
  const bool money = question.objective == Objective::kCost || measures(Measure::kCost) ||
                     question.limits.max_usd_per_mtoken > 0;
  if (money && rates.usd_per_hour == 0) {
    return wrong("price-per-device-hour", "", "USD, since cost is asked about");
  }
  const bool power = question.objective == Objective::kEnergy || measures(Measure::kEnergy) ||
                     question.limits.max_watts > 0;
  if (power && rates.watts == 0) {
    return wrong("watts-per-device", "",
                 "watts, since power or energy is asked about and the device's profile has none");
  }
  return std::nullopt;
}

}  // namespace shardwright
