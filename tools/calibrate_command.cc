#include "tools/calibrate_command.h"

#include <nlohmann/json.hpp>
#include <ostream>

#include "costmodel/calibrate/calibrate_device.h"
#include "costmodel/cluster_spec.h"
#include "costmodel/json_text.h"
#include "tools/exit_codes.h"

namespace shardwright {
namespace {

Result<DeviceProfile> read_base(const CalibrateOpsOptions& options) {
  if (options.base.empty()) return load_shipped_device(options.device, default_profiles_dir());
  const Result<Json> json = read_json_file(options.base);
  if (!json) return json.error();
  return read_device_profile(*json, options.base, "");
}

Result<DeviceProfile> fit(const CalibrateOpsOptions& options) {
  const Result<std::vector<std::string>> paths = find_measured_ops({options.ops});
  if (!paths) return paths.error();
  const Result<DeviceProfile> base = read_base(options);
  if (!base) return base.error();
  std::vector<MeasuredOps> files;
  for (const std::string& path : *paths) {
    Result<MeasuredOps> file = read_measured_ops(path);
    if (!file) return file.error();
    if (file->device == options.device) files.push_back(*std::move(file));
  }
  Result<DeviceProfile> out = calibrate_device(*base, files, {options.quick, options.collectives});
  if (!out || options.large_from.empty()) return out;
  const Result<DeviceProfile> from =
      load_shipped_device(options.large_from, default_profiles_dir());
  if (!from) return from.error();
  take_large_products(*from, &*out);
  return out;
}

}  // namespace

int run_calibrate_ops(const CalibrateOpsOptions& options, std::ostream& out, std::ostream& err) {
  const Result<DeviceProfile> profile = fit(options);
  std::optional<Error> error;
  if (!profile) error = profile.error();
  if (!error) error = write_file_atomically(options.output, page_text(to_json(*profile)));
  if (error) {
    err << printable(error->line(), 4000) << "\n";
    return kExitBadInput;
  }
  out << options.device << ": fitted, written to " << printable(options.output, 1000) << "\n";
  return 0;
}

}  // namespace shardwright
