#include "tools/validate_ops.h"

#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <ostream>

#include "costmodel/calibrate/validate_ops.h"
#include "costmodel/cluster_spec.h"
#include "costmodel/json.h"
#include "tools/exit_codes.h"

namespace shardwright {
namespace {

constexpr size_t kMostRefusals = 5;  // lines of a file in the table; --json has all

double two_digits(double value) { return std::round(value * 100) / 100; }

Json to_json(const OpsReport& report) {
  Json out = {{"ops", Json::array()}, {"files", Json::array()}};
  for (const OpsErrors& row : report.errors) {
    out["ops"].push_back({{"kind", name_of(row.kind)},
                          {"device", row.device},
                          {"dtype", row.type},
                          {"subset", row.subset},
                          {"rows", row.rows},
                          {"median_abs_pct", two_digits(row.median_abs_pct)},
                          {"p90_abs_pct", two_digits(row.p90_abs_pct)},
                          {"max_abs_pct", two_digits(row.max_abs_pct)},
                          {"bias_pct", two_digits(row.bias_pct)}});
  }
  for (const OpsFileReport& file : report.files) {
    Json lines = Json::array();
    for (const RefusedOp& one : file.lines) {
      lines.push_back({{"line", one.line}, {"reason", one.reason}});
    }
    out["files"].push_back({{"file", file.file},
                            {"rows", file.rows},
                            {"refused", file.refused},
                            {"refused_rows", lines}});
  }
  return out;
}

void print(const OpsReport& report, std::ostream& out) {
  out << "kind         device           dtype  subset                  rows  median   p90    max"
         "   bias  (% of measured)\n";
  for (const OpsErrors& row : report.errors) {
    char line[200];
    std::snprintf(line, sizeof(line), "%-12s %-16s %-6s %-21s %6lld %7.1f %6.1f %6.0f %+6.1f\n",
                  name_of(row.kind), printable(row.device, 16).c_str(), row.type.c_str(),
                  row.subset.c_str(), static_cast<long long>(row.rows), row.median_abs_pct,
                  row.p90_abs_pct, row.max_abs_pct, row.bias_pct);
    out << line;
  }
  for (const OpsFileReport& file : report.files) {
    if (!file.refused.empty()) {
      out << "refused " << printable(file.file, 1000) << ": " << printable(file.refused, 4000)
          << "\n";
    }
    for (size_t i = 0; i < file.lines.size() && i < kMostRefusals; ++i) {
      out << "refused " << printable(file.file, 1000) << ":" << file.lines[i].line << ": "
          << file.lines[i].reason << "\n";
    }
    if (file.lines.size() > kMostRefusals) {
      out << "refused " << file.lines.size() - kMostRefusals << " more rows of "
          << printable(file.file, 1000) << "\n";
    }
  }
}

}  // namespace

int run_validate_ops(const ValidateOpsOptions& options, std::ostream& out, std::ostream& err) {
  const Result<std::vector<std::string>> files = find_measured_ops(options.paths);
  if (!files) {
    err << printable(files.error().line(), 4000) << "\n";
    return kExitBadInput;
  }
  const std::string profiles = default_profiles_dir();
  const OpsReport report = options.cross
                               ? cross_validate_ops(*files, profiles, {options.quick, true})
                               : validate_ops(*files, profiles);
  if (options.json) {
    out << to_json(report).dump(2, ' ', false, Json::error_handler_t::replace) << "\n";
  } else {
    print(report, out);
  }
  return 0;
}

}  // namespace shardwright
