#include "tools/lint_report.h"

#include <cmath>
#include <iomanip>
#include <nlohmann/json.hpp>
#include <sstream>

#include "planner/plan_json.h"
#include "tools/colours.h"
#include "tools/format.h"
#include "tools/job_json.h"
#include "tools/plan_table.h"

namespace shardwright {
namespace {

constexpr size_t kWidth = 100, kShownStages = 16;

std::string bytes_of(double bytes) { return bytes_text(std::llround(bytes)); }

// "  text" broken at blanks, continued four deep.
void print_wrapped(const std::string& text, std::ostream& out) {
  std::string line = "  ";
  std::istringstream words(printable(text, 4000));
  std::string word;
  bool first = true;
  while (words >> word) {
    if (!first && line.size() + 1 + word.size() > kWidth) {
      out << line << "\n";
      line = "    " + word;
    } else {
      line += (first ? "" : " ") + word;
    }
    first = false;
  }
  out << line << "\n";
}

void print_list(const char* title, const std::vector<std::string>& lines, std::ostream& out,
                Colour colour = Colour::kHeading) {
  if (lines.empty()) return;
  out << "\n" << coloured(colour, title) << "\n";
  for (const std::string& line : lines) print_wrapped(line, out);
}

std::vector<std::string> illegal_of(const LintReport& report) {
  std::vector<std::string> out = report.job.illegal;
  for (const Rejection& rejection : report.rejections) out.push_back(rejection.line());
  return out;
}

// The plan's choices in the words of plan.json, those that differ from a plain plan.
std::string choices_text(const Plan& plan) {
  std::string out;
  const Json choices = choices_json(plan);
  for (const auto& [key, value] : choices.items()) {
    if (key == "stage_layers") continue;
    out += (out.empty() ? "" : ", ") + key + " " +
           (value.is_string() ? value.get<std::string>() : value.dump());
  }
  return out + ", stage_layers " + stages_text(plan.stage_layers);
}

void print_memory(const JobPrediction& predicted, std::ostream& out) {
  out << "\nMemory of a rank, by stage: " << bytes_of(predicted.device_bytes) << " a device\n"
      << coloured(Colour::kHeading,
                  "  stage   allocated    reserved   of device         free  fullest in\n");
  for (size_t i = 0; i < predicted.stages.size(); ++i) {
    if (i >= kShownStages && i + 1 < predicted.stages.size()) continue;
    if (i > kShownStages) out << "  ...\n";
    const RankMemory& m = predicted.stages[i];
    const double free = predicted.device_bytes - m.device_bytes;
    out << std::setw(7) << m.stage << std::setw(12) << bytes_of(m.allocated_bytes) << std::setw(12)
        << bytes_of(m.reserved_bytes) << std::setw(12) << bytes_of(m.device_bytes) << std::setw(13)
        << (free < 0 ? "-" + bytes_of(-free) : bytes_of(free)) << "  " << m.phase << "\n";
  }
}

void print_time(const LintReport& report, std::ostream& out) {
  const JobPrediction& predicted = *report.predicted;
  const double step = predicted.time.step_s;
  out << "\nTime: " << seconds_text(step) << " a step";
  if (predicted.low_s) {
    out << " (" << seconds_text(*predicted.low_s) << " to " << seconds_text(*predicted.high_s)
        << ")";
  }
  out << ", " << rate_text(static_cast<double>(report.job.plan.tokens_per_step()) / step)
      << " tokens/s; as stack " << printable(report.job.software.stack) << "\n";
  if (!report.waste.empty()) out << "\nOf it\n";
  for (const Waste& waste : report.waste) {
    out << std::setw(9) << percent_text(waste.seconds / step) << std::setw(12)
        << seconds_text(waste.seconds) << "  " << waste.what << "\n";
  }
}

void print_changes(const LintReport& report, std::ostream& out) {
  const double step = report.predicted->time.step_s;
  const bool fits = report.predicted->fits();
  if (report.changes.empty()) {
    out << "\nNo single change " << (fits ? "makes it faster" : "makes it fit") << ".\n";
    return;
  }
  out << "\nThe single change that helps most"
      << (fits ? "" : ", of those that make it fit (their time is what fitting costs)") << "\n";
  for (const Change& change : report.changes) {
    const double gain = 1 - change.step_s / step;
    out << std::setw(9) << (gain < 0 ? "-" + percent_text(-gain) : percent_text(gain))
        << std::setw(12) << seconds_text(change.step_s) << std::setw(12)
        << bytes_of(change.device_bytes) << "  " << change.what << "\n";
  }
}

Json json_of(const std::vector<Change>& changes) {
  Json out = Json::array();
  for (const Change& change : changes) {
    out.push_back({{"what", change.what},
                   {"step_time_s", change.step_s},
                   {"memory_bytes", static_cast<int64_t>(std::llround(change.device_bytes))},
                   {"plan", choices_json(change.plan)}});
  }
  return out;
}

}  // namespace

std::string lint_text(const LintReport& report, const ModelSpec& model,
                      const ClusterSpec& cluster) {
  std::ostringstream out;
  out << "A " << name_of(report.job.framework) << " job: " << printable(model.name, 40) << " on "
      << report.job.plan.ranks() << " of " << printable(cluster.name, 40) << "\n";
  print_wrapped(choices_text(report.job.plan), out);
  const std::vector<std::string> illegal = illegal_of(report);
  print_list("Illegal", illegal, out, Colour::kBad);
  print_list("Contradictions", report.job.contradictions, out, Colour::kBad);
  if (report.predicted) {
    const bool fits = report.predicted->fits();
    out << "\n"
        << (fits ? coloured(Colour::kGood, "It fits") : coloured(Colour::kBad, "It does not fit"))
        << ": the fullest rank (stage " << report.predicted->fullest().stage << ") takes "
        << bytes_of(report.predicted->fullest().device_bytes) << " of "
        << bytes_of(report.predicted->device_bytes) << "\n";
    print_memory(*report.predicted, out);
    print_time(report, out);
    print_changes(report, out);
  } else {
    print_list("Not predicted", {report.not_predicted}, out);
  }
  print_list("Assumed", report.job.assumed, out);
  print_list("Unknown settings, not looked at", report.job.unknown, out);
  out << "\n";
  print_wrapped("Flags as of " + report.checked_against, out);
  return out.str();
}

Json to_json(const LintReport& report) {
  Json json;
  json["framework"] = name_of(report.job.framework);
  json["flags_of"] = report.checked_against;
  json["fine"] = report.fine();
  json["plan"] = choices_json(report.job.plan);
  json["illegal"] = illegal_of(report);
  json["contradictions"] = report.job.contradictions;
  json["assumed"] = report.job.assumed;
  json["unknown"] = report.job.unknown;
  if (!report.predicted) {
    json["not_predicted"] = report.not_predicted;
    return json;
  }
  json["predicted"] = to_json(*report.predicted, report.job.software);
  json["waste"] = Json::array();
  for (const Waste& waste : report.waste) {
    json["waste"].push_back({{"what", waste.what}, {"seconds", waste.seconds}});
  }
  json["changes"] = json_of(report.changes);
  return json;
}

}  // namespace shardwright
