#include "planner/validate/validation_text.h"

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>

#include "costmodel/stack.h"

namespace shardwright {
namespace {

__attribute__((format(printf, 1, 2))) std::string text_of(const char* format, ...) {
  char buffer[512];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(buffer, sizeof(buffer), format, arguments);
  va_end(arguments);
  return buffer;
}

Json stats_json(const ErrorStats& stats) {
  if (stats.count == 0) return nullptr;
  return {{"rows", stats.count},
          {"mean_abs_pct", stats.mean_abs_pct},
          {"median_abs_pct", stats.median_abs_pct},
          {"p90_abs_pct", stats.p90_abs_pct},
          {"max_abs_pct", stats.max_abs_pct},
          {"bias_pct", stats.bias_pct}};
}

Json set_json(const SetReport& set, const char* key) {
  Json json;
  json[key] = set.name;
  json["rows"] = set.rows;
  json["refused"] = set.refused;
  json["time"] = stats_json(set.time);
  json["memory"] = stats_json(set.memory);
  json["oom"] = {{"tp", set.oom.tp},
                 {"fp", set.oom.fp},
                 {"tn", set.oom.tn},
                 {"fn", set.oom.fn},
                 {"balanced_accuracy", set.oom.balanced_accuracy()}};
  json["apart"] = {{"rows", set.apart}, {"time", stats_json(set.time_apart)}};
  return json;
}

template <typename T>
Json maybe(const std::optional<T>& value) {
  return value ? Json(*value) : Json(nullptr);
}

Json row_json(const RowReport& row) {
  Json json;
  json["id"] = row.id;
  json["source"] = row.source;
  json["status"] = row.ok ? "ok" : "refused";
  json["reason"] = row.reason.empty() ? Json(nullptr) : Json(row.reason);
  json["predicted_s"] = maybe(row.predicted_s);
  json["measured_s"] = maybe(row.measured_s);
  json["error_pct"] = maybe(row.time_error_pct());
  json["predicted_mem_gib"] = maybe(row.predicted_mem_gib);
  json["measured_mem_gib"] = maybe(row.measured_mem_gib);
  json["predicted_oom"] = maybe(row.predicted_oom);
  json["measured_oom"] = row.ok ? Json(row.measured_oom) : Json(nullptr);
  json["interval_s"] = row.low_s && row.high_s ? Json({*row.low_s, *row.high_s}) : Json(nullptr);
  json["apart"] = row.apart;
  return json;
}

std::string cells(const ErrorStats& s) {
  if (s.count == 0) return text_of("%6s%7s%7s%7s%7s%8s", "-", "-", "-", "-", "-", "-");
  return text_of("%6lld%7.1f%7.1f%7.1f%7.1f%+8.1f", static_cast<long long>(s.count), s.mean_abs_pct,
                 s.median_abs_pct, s.p90_abs_pct, s.max_abs_pct, s.bias_pct);
}

void add_section(const char* title, const std::vector<SetReport>& sets, std::string* out) {
  *out += text_of("%-44s %5s %4s %4s | %-42s | %-42s\n", title, "rows", "ref", "apart",
                  "time: n   mean  median   p90    max   bias",
                  "memory: n  mean median   p90    max   bias");
  for (const SetReport& set : sets) {
    *out += text_of("%-44s %5lld %4lld %4lld | ", printable(set.name, 41).c_str(),
                    static_cast<long long>(set.rows), static_cast<long long>(set.refused),
                    static_cast<long long>(set.apart)) +
            cells(set.time) + " | " + cells(set.memory) + "\n";
  }
  *out += "\n";
}

void add_oom(const std::vector<SetReport>& sets, std::string* out) {
  *out += text_of("%-44s %5s %5s %5s %5s %10s %7s %9s\n", "out of memory", "tp", "fp", "tn", "fn",
                  "precision", "recall", "balanced");
  for (const SetReport& set : sets) {
    if (set.oom.count() == 0) continue;
    *out += text_of("%-44s %5lld %5lld %5lld %5lld %10.3f %7.3f %9.3f\n",
                    printable(set.name, 41).c_str(), static_cast<long long>(set.oom.tp),
                    static_cast<long long>(set.oom.fp), static_cast<long long>(set.oom.tn),
                    static_cast<long long>(set.oom.fn), set.oom.precision(), set.oom.recall(),
                    set.oom.balanced_accuracy());
  }
  *out += "\n";
}

// Rows that share a reason stand together, however many there are.
void add_reasons(const Validation& validation, std::string* out) {
  for (const bool refused : {true, false}) {
    *out += refused ? "refused rows\n" : "rows not timed, or reported apart\n";
    for (const RowReport& row : validation.rows) {
      if (row.reason.empty() || row.ok == refused) continue;
      *out += "  " + printable(row.id, 100) + ": " + printable(row.reason, 300) + "\n";
    }
  }
}

std::string percent(double value) { return text_of("%.1f", value); }

void add_markdown_sets(const char* title, const std::vector<SetReport>& sets, std::string* out) {
  *out += std::string("| ") + title +
          " | rows | refused | apart | time n | mean | median | p90 | max | bias | one constant: "
          "mean | memory n | mean | max | bias "
          "|\n|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n";
  for (const SetReport& s : sets) {
    *out += "| " + printable(s.name, 70) + " | " + std::to_string(s.rows) + " | " +
            std::to_string(s.refused) + " | " + std::to_string(s.apart) + " | ";
    *out += s.time.count == 0
                ? "- | | | | | | "
                : std::to_string(s.time.count) + " | " + percent(s.time.mean_abs_pct) + " | " +
                      percent(s.time.median_abs_pct) + " | " + percent(s.time.p90_abs_pct) + " | " +
                      percent(s.time.max_abs_pct) + " | " + text_of("%+.1f", s.time.bias_pct) +
                      " | ";
    *out += s.constant.count == 0 ? "| " : percent(s.constant.mean_abs_pct) + " | ";
    *out += s.memory.count == 0
                ? "- | | | |\n"
                : std::to_string(s.memory.count) + " | " + text_of("%.2f", s.memory.mean_abs_pct) +
                      " | " + percent(s.memory.max_abs_pct) + " | " +
                      text_of("%+.1f", s.memory.bias_pct) + " |\n";
  }
  *out += "\n";
}

void add_worst(const Validation& validation, bool memory, size_t limit, std::string* out) {
  std::vector<const RowReport*> rows;
  const auto error = [&](const RowReport& row) {
    return memory ? row.memory_error_pct() : row.apart ? std::nullopt : row.time_error_pct();
  };
  for (const RowReport& row : validation.rows) {
    if (row.ok && error(row)) rows.push_back(&row);
  }
  std::stable_sort(rows.begin(), rows.end(), [&](const RowReport* a, const RowReport* b) {
    return std::abs(*error(*a)) > std::abs(*error(*b));
  });
  rows.resize(std::min(rows.size(), limit));
  *out += "| row | predicted | measured | error % |\n|---|---|---|---|\n";
  for (const RowReport* row : rows) {
    *out += "| " + printable(row->id, 80) + " | " +
            text_of("%.4g | %.4g | %+.1f |\n", memory ? *row->predicted_mem_gib : *row->predicted_s,
                    memory ? *row->measured_mem_gib : *row->measured_s, *error(*row));
  }
  *out += "\n";
}

// Factors of the step time: what is usual, how far owners lie from it, and of how many owners and
// families a value was fitted.
void add_factors(const std::string& profiles_dir, std::string* out) {
  const Result<FactorTable> table = load_factors(profiles_dir);
  if (!table) return;
  *out +=
      "| factor | of | unit | usual | spread, ln | in a family | range | owners | meaning |\n"
      "|---|---|---|---|---|---|---|---|---|\n";
  for (size_t i = 0; i < kNumFactors; ++i) {
    const FactorInfo& info = factor_infos()[i];
    *out += text_of("| %s | %s | %s | %.3g | %.2f | %.2f | %g to %g | %zu | %s |\n", info.name,
                    name_of(info.owner), info.unit, table->usual[i], table->spread[i],
                    table->within[i], info.low, info.high,
                    table->of[static_cast<size_t>(info.owner)].size(), info.reason);
  }
  *out += "\n";
}

void add_parameters(const std::string& profiles_dir, std::string* out) {
  std::vector<MemoryStack> stacks;
  for (const std::string& name : shipped_names("memory", profiles_dir)) {
    if (const Result<MemoryStack> stack = load_memory_stack(name, profiles_dir)) {
      stacks.push_back(*stack);
    }
  }
  *out += "| parameter | unit | range | meaning |";
  for (const MemoryStack& stack : stacks) *out += " " + stack.name + " |";
  *out += "\n|---|---|---|---|";
  for (size_t i = 0; i < stacks.size(); ++i) *out += "---|";
  *out += "\n";
  for (const MemoryParameter& p : memory_parameters()) {
    *out += text_of("| %s | %s | %g to %g | %s |", p.name, p.unit, p.low, p.high, p.meaning);
    for (const MemoryStack& stack : stacks) *out += text_of(" %g |", stack.*p.value);
    *out += "\n";
  }
  *out += "\n";
  for (const MemoryStack& stack : stacks) *out += "- " + stack.name + ": " + stack.source + "\n";
}

}  // namespace

Json to_json(const Validation& validation) {
  Json json;
  json["sources"] = Json::array();
  for (const SetReport& set : validation.sources)
    json["sources"].push_back(set_json(set, "source"));
  json["ops"] = Json::array();
  json["records"] = Json::array();
  for (const RowReport& row : validation.rows) json["records"].push_back(row_json(row));
  json["groups"] = Json::array();
  for (const SetReport& set : validation.groups) json["groups"].push_back(set_json(set, "group"));
  return json;
}

std::string table_of(const Validation& validation) {
  std::string out = "errors in %: predicted / measured - 1\n\n";
  add_section("source", validation.sources, &out);
  add_section("group", validation.groups, &out);
  add_oom(validation.sources, &out);
  add_reasons(validation, &out);
  return out;
}

std::string markdown_of(const Validation& validation, const std::string& profiles_dir) {
  std::string out;
  add_markdown_sets("group", validation.groups, &out);
  add_markdown_sets("source", validation.sources, &out);
  out += "### Out of memory\n\n| source | tp | fp | tn | fn | precision | recall | balanced |\n";
  out += "|---|---|---|---|---|---|---|---|\n";
  for (const SetReport& set : validation.sources) {
    if (set.oom.tp + set.oom.fn == 0) continue;
    out += "| " + printable(set.name, 70) +
           text_of(" | %lld | %lld | %lld | %lld | %.3f | %.3f | %.3f |\n",
                   static_cast<long long>(set.oom.tp), static_cast<long long>(set.oom.fp),
                   static_cast<long long>(set.oom.tn), static_cast<long long>(set.oom.fn),
                   set.oom.precision(), set.oom.recall(), set.oom.balanced_accuracy());
  }
  out += "\n### Worst rows, time\n\n";
  add_worst(validation, false, 25, &out);
  out += "### Worst rows, memory\n\n";
  add_worst(validation, true, 15, &out);
  out += "### Parameters of time\n\n";
  add_factors(profiles_dir, &out);
  out += "### Parameters of memory\n\n";
  add_parameters(profiles_dir, &out);
  return out;
}

}  // namespace shardwright
