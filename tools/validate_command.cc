#include "tools/validate_command.h"

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

void explain(const Validation& validation, const std::string& id, std::ostream& out) {
  for (const RowReport& row : validation.rows) {
    if (row.id != id) continue;
    out << row.id << (row.ok ? "" : " refused") << " " << row.reason << "\n";
    if (!row.ok) return;
    out << "fullest stage " << row.memory.stage << ", " << row.memory.phase << "\n";
    for (const MemoryPart& part : row.memory.parts) {
      out << "  " << part.name << ": " << bytes_text(static_cast<int64_t>(part.bytes)) << "\n";
    }
    out << "  allocated " << bytes_text(static_cast<int64_t>(row.memory.allocated_bytes))
        << ", reserved " << bytes_text(static_cast<int64_t>(row.memory.reserved_bytes))
        << ", device " << bytes_text(static_cast<int64_t>(row.memory.device_bytes)) << "\n";
  }
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
  if (!arguments.explain.empty()) {
    explain(*validation, arguments.explain, out);
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
