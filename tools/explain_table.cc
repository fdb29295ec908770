#include "tools/explain_table.h"

#include <algorithm>
#include <cmath>
#include <iomanip>
#include <nlohmann/json.hpp>
#include <sstream>

#include "planner/plan_json.h"
#include "tools/colours.h"
#include "tools/format.h"

namespace shardwright {
namespace {

constexpr size_t kColumns = 100;
constexpr double kRounding = 2e-9;  // simulated times are whole nanoseconds

std::string signed_seconds(double seconds) {
  return (seconds < 0 ? "-" : "+") + seconds_text(std::abs(seconds));
}

// At most kColumns wide, broken at spaces; further lines are indented. Leading spaces stay.
void print_wrapped(const std::string& text, const std::string& indent, std::ostream& out) {
  std::istringstream words(text);
  std::string line(std::min(text.find_first_not_of(' '), text.size()), ' ');
  bool fresh = true;
  for (std::string word; words >> word; fresh = false) {
    if (!fresh && line.size() + 1 + word.size() > kColumns) {
      out << line << "\n";
      line = indent + word;
    } else {
      line += (fresh ? "" : " ") + word;
    }
  }
  out << line << "\n";
}

void print_part(const std::string& name, double seconds, double all, std::ostream& out) {
  out << "  " << std::left << std::setw(20) << name << std::right << std::setw(11)
      << seconds_text(seconds) << std::setw(9) << percent_text(seconds / all) << "\n";
}

void print_time(const TimeBreakdown& time, std::ostream& out) {
  out << coloured(Colour::kHeading, "Time of a step, by what the slowest stage spends it on\n");
  for (const NamedSeconds& part : time.parts) {
    if (std::abs(part.seconds) > kRounding) print_part(part.name, part.seconds, time.step_s, out);
  }
  print_part("step", time.step_s, time.step_s, out);
  if (time.mfu > 0) out << "  model FLOPs utilisation " << percent_text(time.mfu) << "\n";
}

void print_memory(const MemoryBreakdown& memory, std::ostream& out) {
  out << "\nMemory at the fullest moment, GiB of "
      << bytes_text(static_cast<Bytes>(memory.available)) << "\n"
      << coloured(Colour::kHeading,
                  " stage  device   weights  gradients  optimizer  activations   rest   moment\n");
  for (const RankMemory& stage : memory.stages) {
    double weights = 0, gradients = 0, optimizer = 0, activations = 0;
    for (const MemoryPart& part : stage.parts) {
      const std::string name = part.name;
      if (name == "weights") weights += part.bytes;
      if (name == "gradients of weights") gradients += part.bytes;
      if (name == "optimizer") optimizer += part.bytes;
      if (name == "activations") activations += part.bytes;
    }
    const double rest = stage.device_bytes - weights - gradients - optimizer - activations;
    const auto gib = [](double bytes) { return bytes / (int64_t{1} << 30); };
    out << std::setw(5) << stage.stage << (stage.stage == memory.fullest ? '*' : ' ') << std::fixed
        << std::setprecision(2) << std::setw(8) << gib(stage.device_bytes) << std::setw(10)
        << gib(weights) << std::setw(11) << gib(gradients) << std::setw(11) << gib(optimizer)
        << std::setw(13) << gib(activations) << std::setw(7) << gib(rest) << "   " << stage.phase
        << "\n";
  }
}

void print_comparison(const Comparison& c, std::ostream& out) {
  print_wrapped("  " + signed_seconds(c.lost_s) +
                    (c.tie ? "  tie (+-" + seconds_text(c.spread_s) + ")" : "") + "  " +
                    c.plan.plan.label(),
                "    ", out);
  std::string choices, parts;
  for (const ChoiceDifference& one : c.choices) {
    choices += (choices.empty() ? "" : ", ") + one.name + " " + one.there + " for " + one.here;
  }
  std::vector<NamedSeconds> lost = c.lost;
  std::stable_sort(lost.begin(), lost.end(), [](const auto& a, const auto& b) {
    return std::abs(a.seconds) > std::abs(b.seconds);
  });
  for (size_t i = 0; i < 4 && i < lost.size(); ++i) {
    if (std::abs(lost[i].seconds) <= kRounding) break;
    parts += (parts.empty() ? "" : ", ") + std::string(lost[i].name) + " " +
             signed_seconds(lost[i].seconds);
  }
  if (!choices.empty()) print_wrapped("    has " + choices, "      ", out);
  if (!parts.empty()) print_wrapped("    loses " + parts, "      ", out);
  if (c.tie) print_wrapped("    to tell them apart measure: " + c.measurement, "      ", out);
}

void print_others(const Explanation& e, std::ostream& out) {
  if (e.others.empty()) return;
  out << "\n"
      << coloured(Colour::kHeading,
                  "Other plans of the search, best first: what they lose against this one\n");
  for (const Comparison& other : e.others) print_comparison(other, out);
  const bool ties =
      std::any_of(e.others.begin(), e.others.end(), [](const auto& c) { return c.tie; });
  if (ties) {
    print_wrapped(
        "A tie assumes that both plans share the error of each part's prediction (80 % "
        "interval of the stack), independent of other parts.",
        "", out);
  }
}

void print_hardware(const ExplainReport& report, const ClusterSpec& cluster, std::ostream& out) {
  if (!report.sensitivities.empty()) {
    out << "\n"
        << coloured(Colour::kHeading, "Other hardware        this plan   planned again   as\n");
  }
  for (const Sensitivity& s : report.sensitivities) {
    out << "  " << std::left << std::setw(14) << s.what.name(cluster).substr(0, 14) << std::right
        << (s.factor > 1 ? " +10%" : " -10%") << std::setw(11) << seconds_text(s.plan_s)
        << std::setw(15) << (s.best_s > 0 ? seconds_text(s.best_s) : "nothing fits") << "   "
        << s.best_label.substr(0, 48) << "\n";
  }
  for (const BreakEven& b : report.break_evens) {
    const LinkLevel& level = cluster.levels[b.level];
    if (b.below == 0 && b.above == 0) {
      out << "\n"
          << level.name << ": no other plan takes over between 1/8 and 8 times "
          << level.bytes_per_s / 1e9 << " GB/s\n";
    }
    const std::pair<double, std::string> sides[] = {{b.below, b.below_label},
                                                    {b.above, b.above_label}};
    for (const auto& [factor, label] : sides) {
      if (factor == 0) continue;
      std::ostringstream line;
      line << level.name << (factor < 1 ? " at or below " : " at or above ") << std::setprecision(3)
           << factor * level.bytes_per_s / 1e9 << " GB/s: " << label;
      out << "\n";
      print_wrapped(line.str(), "  ", out);
    }
  }
}

// What pins, bans and bounds cost.
void print_unlimited(const RankedPlan& plan, const RankedPlan& fastest, std::ostream& out) {
  const double lost = plan.step_time_s - fastest.step_time_s;
  out << "\n";
  if (lost <= kRounding) {
    out << "The choices that were asked for cost nothing.\n";
    return;
  }
  print_wrapped("The choices that were asked for cost " + seconds_text(lost) + " (" +
                    percent_text(lost / plan.step_time_s) + "); without them: " +
                    fastest.plan.label() + ", " + seconds_text(fastest.step_time_s),
                "  ", out);
}

void print_own(const RankedPlan& plan, std::ostream& out) {
  const TimeParts& p = plan.parts;
  out << plan.plan.label().substr(0, 95) << "\nBusy time of stage " << p.stage
      << ", which computes longest\n";
  const std::pair<const char*, double> parts[] = {{"compute", p.compute_s},
                                                  {"tensor", p.tp_s},
                                                  {"pipeline messages", p.pp_s},
                                                  {"gradients", p.dp_s},
                                                  {"optimizer", p.optimizer_s}};
  for (const auto& [name, seconds] : parts) {
    if (seconds != 0) print_part(name, seconds, plan.step_time_s, out);
  }
  print_part("step", plan.step_time_s, plan.step_time_s, out);
  out << "  " << percent_text(plan.bubble_share) << " of all ranks' time is waiting\n"
      << "\nMemory by stage\n";
  for (size_t stage = 0; stage < plan.stages.size(); ++stage) {
    std::string line = "  " + std::to_string(stage) + (stage == tightest(plan.stages) ? "*" : "");
    for (const NamedBytes& part : parts_of(plan.stages[stage])) {
      line += std::string("  ") + part.name + " " + bytes_text(part.bytes);
    }
    print_wrapped(line, "      ", out);
  }
}

// --- JSON ----------------------------------------------------------------------------------------

Json to_json(const std::vector<NamedSeconds>& parts) {
  Json json = Json::object();
  for (const NamedSeconds& part : parts) json[part.name] = part.seconds;
  return json;
}

Json to_json(const RankMemory& memory) {
  Json json = {{"stage", memory.stage}, {"phase", memory.phase}};
  for (const MemoryPart& part : memory.parts) json["parts"][part.name] = part.bytes;
  json["allocated_bytes"] = memory.allocated_bytes;
  json["reserved_bytes"] = memory.reserved_bytes;
  json["device_bytes"] = memory.device_bytes;
  return json;
}

Json to_json(const Comparison& c) {
  Json json = {{"label", c.plan.plan.label()},
               {"plan", choices_json(c.plan.plan)},
               {"step_time_s", c.plan.step_time_s},
               {"lost_s", c.lost_s},
               {"lost_parts_s", to_json(c.lost)},
               {"spread_s", c.spread_s},
               {"tie", c.tie}};
  if (c.tie) json["measurement"] = c.measurement;
  json["choices"] = Json::array();
  for (const ChoiceDifference& one : c.choices) {
    json["choices"].push_back({{"name", one.name}, {"here", one.here}, {"there", one.there}});
  }
  return json;
}

Json to_json(const Explanation& e) {
  Json json = {{"label", e.plan.plan.label()},
               {"step_time_s", e.time.step_s},
               {"mfu", e.time.mfu},
               {"time_parts_s", to_json(e.time.parts)},
               {"binds", e.binds}};
  json["memory"] = {{"available_bytes", e.memory.available}, {"fullest_stage", e.memory.fullest}};
  json["memory"]["stages"] = Json::array();
  for (const RankMemory& stage : e.memory.stages) {
    json["memory"]["stages"].push_back(to_json(stage));
  }
  json["others"] = Json::array();
  for (const Comparison& other : e.others) json["others"].push_back(to_json(other));
  return json;
}

Json to_json(const WhyNot& w) {
  constexpr const char* kKinds[] = {"rule", "memory", "time", "nothing"};
  Json json = {{"rejected_by", kKinds[w.kind]}, {"line", w.line()}};
  for (const Rejection& rejection : w.rejections) json["rules"].push_back(rejection.line());
  if (w.kind == WhyNot::kMemory) {
    json["missing_bytes"] = w.missing_bytes;
    json["memory"] = to_json(w.memory);
  }
  if (w.against) json["against"] = to_json(*w.against);
  return json;
}

Json own_json(const RankedPlan& plan) {
  Json json = {{"label", plan.plan.label()},
               {"step_time_s", plan.step_time_s},
               {"bubble_share", plan.bubble_share},
               {"time_parts", to_json(plan.parts)}};
  json["stages"] = Json::array();
  for (const StageMemory& stage : plan.stages) json["stages"].push_back(to_json(stage));
  return json;
}

}  // namespace

std::string explain_table(const ExplainReport& report, const ClusterSpec& cluster) {
  std::ostringstream out;
  if (report.own) print_own(*report.own, out);
  if (report.explanation) {
    print_wrapped(report.explanation->plan.plan.label(), "  ", out);
    print_time(report.explanation->time, out);
    print_memory(report.explanation->memory, out);
    print_wrapped("What binds: " + report.explanation->binds, "  ", out);
    if (!report.limits.empty()) print_wrapped("Asked for: " + report.limits, "  ", out);
    print_others(*report.explanation, out);
    if (report.unlimited) print_unlimited(report.explanation->plan, *report.unlimited, out);
  }
  if (report.why_not) {
    out << "\n";
    print_wrapped("Why not: " + report.why_not->line(), "  ", out);
    if (report.why_not->against) print_comparison(*report.why_not->against, out);
  }
  print_hardware(report, cluster, out);
  return out.str();
}

Json explain_json(const ExplainReport& report, const ClusterSpec& cluster) {
  Json json = report.own ? own_json(*report.own) : to_json(*report.explanation);
  if (!report.limits.empty()) json["limits"] = report.limits;
  if (report.unlimited) {
    json["without_constraints"] = {{"label", report.unlimited->plan.label()},
                                   {"plan", choices_json(report.unlimited->plan)},
                                   {"step_time_s", report.unlimited->step_time_s}};
  }
  if (report.why_not) json["why_not"] = to_json(*report.why_not);
  for (const Sensitivity& s : report.sensitivities) {
    json["sensitivities"].push_back({{"what", s.what.name(cluster)},
                                     {"factor", s.factor},
                                     {"plan_s", s.plan_s},
                                     {"best_s", s.best_s},
                                     {"best", s.best_label}});
  }
  for (const BreakEven& b : report.break_evens) {
    json["break_even"].push_back({{"link", cluster.levels[b.level].name},
                                  {"below", b.below},
                                  {"below_plan", b.below_label},
                                  {"above", b.above},
                                  {"above_plan", b.above_label}});
  }
  return json;
}

}  // namespace shardwright
