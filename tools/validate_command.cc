#include "tools/validate_command.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <ostream>

#include "planner/validate/validation_text.h"
#include "tools/exit_codes.h"
#include "tools/format.h"

namespace shardwright {
namespace {

int refuse(const Error& error, std::ostream& err) {
  err << printable(error.line(), 4000) << "\n";
  return kExitBadInput;
}

void print_time(const RowReport& row, std::ostream& out) {
  if (!row.predicted_s) return;
  out << "step " << seconds_text(*row.predicted_s);
  if (row.measured_s) out << ", measured " << seconds_text(*row.measured_s);
  out << "\n";
  const EstimateParts& parts = row.time_parts;
  const std::pair<const char*, double> named[] = {
      {"compute", parts.compute},       {"tensor", parts.tensor},
      {"context", parts.context},       {"experts", parts.experts},
      {"sharding", parts.sharding},     {"host", parts.host},
      {"bubble", parts.bubble},         {"gradients", parts.gradients},
      {"parameters", parts.parameters}, {"optimizer", parts.optimizer},
      {"fixed and pace", parts.fixed},
  };
  for (const auto& [name, seconds] : named) {
    if (seconds == 0) continue;
    const char* sign = seconds < 0 ? "-" : "";
    out << "  " << name << ": " << sign << seconds_text(std::abs(seconds)) << "\n";
  }
  if (!row.rests_on.empty()) out << "rests on (percent of the step for one percent of each)\n";
  for (const FactorUse& use : row.rests_on) {
    char text[64];
    std::snprintf(text, sizeof(text), "%.4g: %.3f", use.value, use.slope);
    out << "  " << info_of(use.factor).name << " of " << use.owner << ", " << text << "\n";
  }
}

void take_apart(const RowReport& row, std::ostream& out) {
  out << row.id << (row.ok ? "" : " refused") << " " << row.reason << "\n";
  if (!row.ok) return;
  out << "fullest stage " << row.memory.stage << ", " << row.memory.phase << "\n";
  for (const MemoryPart& part : row.memory.parts) {
    out << "  " << part.name << ": " << bytes_text(static_cast<int64_t>(part.bytes)) << "\n";
  }
  out << "  allocated " << bytes_text(static_cast<int64_t>(row.memory.allocated_bytes))
      << ", reserved " << bytes_text(static_cast<int64_t>(row.memory.reserved_bytes)) << ", device "
      << bytes_text(static_cast<int64_t>(row.memory.device_bytes)) << "\n";
  print_time(row, out);
}

}  // namespace

int run_validate(const ValidateArguments& arguments, std::ostream& out, std::ostream& err) {
  const Result<std::vector<RecordRow>> rows = read_record_files(arguments.paths);
  if (!rows) return refuse(rows.error(), err);
  const std::string profiles = default_profiles_dir();
  if (!arguments.runs_given.empty() || arguments.ablations) {
    const Result<std::string> text = arguments.ablations
                                         ? ablations_of(*rows, profiles)
                                         : transfer_of(*rows, profiles, arguments.runs_given);
    if (!text) return refuse(text.error(), err);
    out << *text;
    return kExitOk;
  }
  const Result<TimeModel> time = arguments.cross ? left_out_time_model(*rows, profiles)
                                                 : stack_time_model(profiles, arguments.time);
  if (!time) return refuse(time.error(), err);
  const Result<Validation> validation = validate(*rows, profiles, *time);
  if (!validation) return refuse(validation.error(), err);
  if (!arguments.time.take_apart.empty()) {
    const auto row =
        std::find_if(validation->rows.begin(), validation->rows.end(),
                     [&](const RowReport& one) { return one.id == arguments.time.take_apart; });
    if (row == validation->rows.end()) {
      return refuse({arguments.paths.front(), "--explain", arguments.time.take_apart,
                     "the id of one of its rows"},
                    err);
    }
    take_apart(*row, out);
  } else if (arguments.json) {
    out << to_json(*validation).dump(1, ' ', false, Json::error_handler_t::replace) << "\n";
  } else if (arguments.markdown) {
    out << markdown_of(*validation, profiles);
  } else {
    out << table_of(*validation);
  }
  return kExitOk;
}

}  // namespace shardwright
