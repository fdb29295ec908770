#include "tools/compare_report.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "tools/format.h"

namespace shardwright {
namespace {

constexpr size_t kMostStepRows = 20;

template <typename... Values>
std::string printed(const char* format, Values... values) {
  char line[256];
  std::snprintf(line, sizeof line, format, values...);
  return line;
}

std::string error_text(std::optional<double> percent) {
  if (!percent) return "-";
  return *percent > 9999 ? "> 9999%" : printed("%+.1f%%", *percent);
}

// The middle 80 % of the steps: how steady the measured figure is.
std::string spread_text(std::vector<Nanoseconds> makespans) {
  if (makespans.size() < 2) return "";
  std::sort(makespans.begin(), makespans.end());
  const size_t last = makespans.size() - 1;
  return printed("  (p10 %s, p90 %s of %zu steps)",
                 seconds_text(to_seconds(makespans[last / 10])).c_str(),
                 seconds_text(to_seconds(makespans[last - last / 10])).c_str(), makespans.size());
}

std::string head_of(const CompareReport& report) {
  const Comparison& c = report.comparison;
  const double predicted_s = to_seconds(c.predicted_step_ns);
  const double measured_s = to_seconds(c.measured_step_ns);
  const double tokens = static_cast<double>(report.plan.tokens_per_step());
  const char* row = "%-12s %12s %12s %9s";
  std::string out =
      printed("%s on %d ranks (%s), %lld steps, loss %.4f -> %.4f\n\n", report.plan.label().c_str(),
              c.ranks, report.run.backend.c_str(), static_cast<long long>(report.run.steps),
              report.loss_first, report.loss_last);
  out += printed(row, "", "predicted", "measured", "error") + "\n";
  out += printed(row, "step time", seconds_text(predicted_s).c_str(),
                 seconds_text(measured_s).c_str(), error_text(c.step_error_pct()).c_str()) +
         spread_text(report.run.makespans) + "\n";
  out += printed(row, "tokens/s", rate_text(tokens / predicted_s).c_str(),
                 rate_text(tokens / measured_s).c_str(),
                 error_text(error_pct(measured_s, predicted_s)).c_str()) +
         "\n";
  return out +
         printed(row, "memory peak", bytes_text(c.predicted_peak_bytes).c_str(),
                 bytes_text(c.measured_peak_bytes).c_str(),
                 error_text(c.peak_error_pct()).c_str()) +
         "\n";
}

double rank_ms(const Comparison& comparison, Nanoseconds total) {
  return static_cast<double>(total) / 1e6 / comparison.ranks;
}

std::string row_text(const Comparison& c, const CompareRow& row) {
  const auto error = error_pct(to_seconds(row.predicted_ns), to_seconds(row.measured_ns));
  return printed("%-30s %7s %10.3f %10.3f %10.3f %9s %7.1f%%", row.name.c_str(),
                 row.count == 0 ? "" : std::to_string(row.count).c_str(),
                 rank_ms(c, row.predicted_ns), rank_ms(c, row.measured_ns),
                 rank_ms(c, row.miss_ns()), error_text(error).c_str(), c.share_pct(row));
}

std::string header_text(const char* name) {
  return printed("\n%-30s %7s %10s %10s %10s %9s %8s", name, "count", "predicted", "measured",
                 "difference", "error", "share");
}

std::string instruction_table(const Comparison& c) {
  std::string out = header_text("by instruction") + "  waiting\n";
  for (const CompareRow& row : c.by_instruction) {
    out += row_text(c, row);
    if (row.count > 0) out += printed(" %8.3f", rank_ms(c, row.measured_waiting_ns));
    out += "\n";
  }
  return out;
}

std::string step_table(const Comparison& c) {
  std::string out = header_text("by step") + "\n";
  const size_t shown = std::min(c.by_step.size(), kMostStepRows);
  for (size_t i = 0; i < shown; ++i) out += row_text(c, c.by_step[i]) + "\n";
  if (shown == c.by_step.size()) return out;
  CompareRow others;
  others.name = "others (" + std::to_string(c.by_step.size() - shown) + " rows)";
  for (size_t i = shown; i < c.by_step.size(); ++i) {
    others.count += c.by_step[i].count;
    others.predicted_ns += c.by_step[i].predicted_ns;
    others.measured_ns += c.by_step[i].measured_ns;
  }
  return out + row_text(c, others) + "\n";
}

Json error_json(std::optional<double> percent) { return percent ? Json(*percent) : Json(); }
Json loss_json(double loss) { return std::isfinite(loss) ? Json(loss) : Json(); }

Json rows_json(const Comparison& c, const std::vector<CompareRow>& rows) {
  Json out = Json::array();
  for (const CompareRow& row : rows) {
    const double predicted_s = to_seconds(row.predicted_ns);
    const double measured_s = to_seconds(row.measured_ns);
    out.push_back({{"name", row.name},
                   {"count", row.count},
                   {"predicted_s", predicted_s},
                   {"measured_s", measured_s},
                   {"error_pct", error_json(error_pct(predicted_s, measured_s))},
                   {"share_pct", c.share_pct(row)}});
  }
  return out;
}

}  // namespace

std::string compare_table(const CompareReport& report) {
  const Comparison& c = report.comparison;
  return head_of(report) +
         "\nMilliseconds of one training step, average of the ranks; worst first. Both tables add "
         "up to\nthe step time. Counts are of all ranks together; waiting: inside the instruction, "
         "but in no step.\n" +
         instruction_table(c) + step_table(c);
}

Json compare_json(const CompareReport& report) {
  const Comparison& c = report.comparison;
  return {{"step_time",
           {{"predicted_s", to_seconds(c.predicted_step_ns)},
            {"measured_s", to_seconds(c.measured_step_ns)},
            {"error_pct", error_json(c.step_error_pct())}}},
          {"memory_peak",
           {{"predicted_bytes", c.predicted_peak_bytes},
            {"measured_bytes", c.measured_peak_bytes},
            {"error_pct", error_json(c.peak_error_pct())}}},
          {"by_instruction", rows_json(c, c.by_instruction)},
          {"by_step", rows_json(c, c.by_step)},
          {"loss_first", loss_json(report.loss_first)},
          {"loss_last", loss_json(report.loss_last)}};
}

}  // namespace shardwright
