#include "planner/validate/transfer_text.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "planner/intervals.h"

namespace shardwright {
namespace {

// Mean of |error| in percent, each row's choices of given runs sharing its weight.
struct MeanError {
  double sum = 0, rows = 0;
  void add(const std::vector<double>& log_ratios) {
    if (log_ratios.empty()) return;
    double mean = 0;
    for (double ratio : log_ratios) mean += std::abs(std::exp(ratio) - 1);
    sum += 100 * mean / static_cast<double>(log_ratios.size());
    rows += 1;
  }
  double mean() const { return rows > 0 ? sum / rows : NAN; }
};

// One line of the table: the fit that saw the source, then every count.
struct Line {
  double rows = 0;
  std::vector<MeanError> errors;
};

std::vector<double> after(const Residuals& residuals, int count) {
  if (count == 0) return {residuals.left_out};
  const auto found = residuals.after.find(count);
  return found == residuals.after.end() ? std::vector<double>() : found->second;
}

void add(const Residuals& residuals, const std::vector<int>& counts, Line* line) {
  line->rows += 1;
  line->errors.resize(counts.size() + 1);
  line->errors[0].add({residuals.fitted});
  for (size_t k = 0; k < counts.size(); ++k) line->errors[k + 1].add(after(residuals, counts[k]));
}

std::string cell(double value) {
  char text[32] = " - |";
  if (!std::isnan(value)) std::snprintf(text, sizeof text, " %.1f |", value);
  return text;
}

std::string row_text(const std::string& name, const Line& line) {
  std::string text = "| " + name + " | " + std::to_string(std::lround(line.rows)) + " |";
  for (const MeanError& error : line.errors) text += cell(error.mean());
  return text + "\n";
}

// Every source counts once, with its own mean.
Line over_sources(const std::map<std::string, Line>& sources,
                  const std::map<std::string, bool>& chosen, size_t columns) {
  Line out;
  out.errors.resize(columns);
  for (const auto& [source, line] : sources) {
    if (!chosen.at(source)) continue;
    out.rows += 1;
    for (size_t k = 0; k < columns; ++k) {
      const double mean = line.errors[k].mean();
      if (std::isnan(mean)) continue;
      out.errors[k].sum += mean;
      out.errors[k].rows += 1;
    }
  }
  return out;
}

std::string head(const std::string& first, const std::vector<int>& counts, const char* known) {
  std::string text = "| " + first + " |" + known, line = "|---|";
  for (const char* c = known; *c != 0; ++c) {
    if (*c == '|') line += "---|";
  }
  for (int count : counts) {
    text += count == 0 ? " left out |" : " after " + std::to_string(count) + " |";
    line += "---|";
  }
  return text + "\n" + line + "\n";
}

// 80 % intervals after every count, of the sources that have more rows than the largest count.
std::string interval_rows(const TimedRuns& timed, const std::vector<Residuals>& residuals,
                          const std::map<std::string, bool>& long_enough,
                          const std::vector<int>& counts) {
  std::string text = head("80 % of measured / predicted", counts, "");
  for (bool moe : {false, true}) {
    text += moe ? "| MoE |" : "| dense |";
    for (int count : counts) {
      std::vector<JudgedRun> runs;
      for (size_t i = 0; i < residuals.size(); ++i) {
        const TimedCase& one = *timed.cases[i];
        if (!one.counts || !long_enough.at(one.timed.source)) continue;
        JudgedRun run;
        run.residuals.after[1] = after(residuals[i], count);
        run.source = one.timed.source;
        run.moe = one.run.model.kinds.back().moe.experts > 0;
        run.weight = one.timed.weight;
        runs.push_back(std::move(run));
      }
      const IntervalTable table = interval_table(runs);
      const Interval* one = find_interval(table, Knowledge::kCalibrated, moe);
      char cell_text[64] = " - |";
      if (one != nullptr) {
        std::snprintf(cell_text, sizeof cell_text, " %.2f to %.2f |", std::exp(one->low),
                      std::exp(one->high));
      }
      text += cell_text;
    }
    text += "\n";
  }
  return text;
}

}  // namespace

std::string transfer_text(const TimedRuns& timed, const std::vector<Residuals>& residuals,
                          const std::vector<int>& counts) {
  std::map<std::string, Line> groups, sources;
  std::map<std::string, bool> nvidia, others, long_enough;
  for (size_t i = 0; i < residuals.size(); ++i) {
    const TimedCase& one = *timed.cases[i];
    if (!one.counts) continue;
    for (const std::string& group : one.run.groups) add(residuals[i], counts, &groups[group]);
    add(residuals[i], counts, &sources[one.timed.source]);
    nvidia[one.timed.source] = one.run.origin == "NVIDIA";
    others[one.timed.source] = one.run.origin != "NVIDIA";
  }
  const int most = counts.empty() ? 0 : *std::max_element(counts.begin(), counts.end());
  for (const auto& [source, line] : sources) long_enough[source] = line.rows > most;
  std::string text = head("group", counts, " rows | in the fit |");
  for (const auto& [name, line] : groups) text += row_text(name, line);
  text += "\n" + head("sources, each counts once", counts, " sources | in the fit |");
  const size_t columns = counts.size() + 1;
  text += row_text("NVIDIA", over_sources(sources, nvidia, columns));
  text += row_text("others", over_sources(sources, others, columns));
  text += row_text("of more than " + std::to_string(most) + " runs",
                   over_sources(sources, long_enough, columns));
  text += "\n" + head("source", counts, " rows | in the fit |");
  for (const auto& [name, line] : sources) text += row_text(name.substr(0, 70), line);
  return text + "\n" + interval_rows(timed, residuals, long_enough, counts);
}

}  // namespace shardwright
