// Finding clusters and devices by what a user typed: a path, a shorthand or a shipped name.
#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "costmodel/cluster_spec.h"
#include "costmodel/profile_json.h"

namespace shardwright {
namespace {

constexpr const char* kCommandLine = "command line";

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

std::string joined(const std::vector<std::string>& names) {
  std::string out;
  for (const std::string& name : names) out += (out.empty() ? "" : ", ") + name;
  return out.empty() ? "none is shipped" : out;
}

std::string shipped_path(const std::string& kind, const std::string& name,
                         const std::string& profiles_dir) {
  return profiles_dir + "/" + kind + "/" + name + ".json";
}

bool is_file(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::is_regular_file(path, ignored);
}

// The whole of `text` as a number from 1 to kMaxDevices; false for anything else.
bool parse_count(std::string_view text, int64_t* out) {
  const char* end = text.data() + text.size();
  const auto [stop, status] = std::from_chars(text.data(), end, *out);
  return status == std::errc() && stop == end && *out >= 1 && *out <= kMaxDevices;
}

struct Shorthand {
  std::string device;
  int64_t per_node = 0;
  int64_t nodes = 1;
};

Result<Shorthand> parse_shorthand(const std::string& text) {
  const size_t colon = text.rfind(':');
  Shorthand out;
  out.device = text.substr(0, colon);
  const std::string_view counts = std::string_view(text).substr(colon + 1);
  const size_t times = counts.find('x');
  const bool parsed = times == std::string_view::npos
                          ? parse_count(counts, &out.per_node)
                          : parse_count(counts.substr(0, times), &out.per_node) &&
                                parse_count(counts.substr(times + 1), &out.nodes);
  if (!parsed || out.per_node * out.nodes > kMaxDevices) {
    return Error{kCommandLine, "cluster", '"' + printable(text) + '"',
                 "DEVICE:PER_NODE or DEVICE:PER_NODExNODES with at most " +
                     std::to_string(kMaxDevices) + " devices"};
  }
  return out;
}

LinkLevel level_of(const UsualLink& link, int64_t size) {
  return {link.name, size, link.bytes_per_s, link.latency_s, link.topology, link.curves};
}

// Appends the device's usual link of this scope as the level that joins `size` devices.
std::optional<Error> add_level(const DeviceProfile& device, bool network, int64_t size,
                               ClusterSpec* out) {
  for (const UsualLink& link : device.links) {
    if (link.network != network) continue;
    out->levels.push_back(level_of(link, size));
    return std::nullopt;
  }
  return Error{out->source, "links",
               "no link of scope " + std::string(network ? "network" : "node"),
               "a device with its usual links, or a cluster file"};
}

Result<ClusterSpec> cluster_of_shorthand(const std::string& text, const std::string& profiles_dir) {
  const Result<Shorthand> parsed = parse_shorthand(text);
  if (!parsed) return parsed.error();
  Result<DeviceProfile> device = load_shipped_device(parsed->device, profiles_dir);
  if (!device) return device.error();
  ClusterSpec out;
  out.name = out.source = text;
  out.figures_source = "usual links of " + parsed->device;
  out.groups = {{parsed->device, parsed->per_node, parsed->nodes}};
  const bool several_nodes = parsed->nodes > 1;
  // A node of one device has no link of its own, unless it is the whole cluster.
  if (parsed->per_node > 1 || !several_nodes) {
    if (auto error = add_level(*device, false, parsed->per_node, &out)) return *error;
  }
  if (several_nodes) {
    if (auto error = add_level(*device, true, out.num_devices(), &out)) return *error;
  }
  out.devices.emplace(parsed->device, *std::move(device));
  return out;
}

// Of a relative's models those that the device has a peak for; what is timed in bf16 stands for
// fp16 where that is the only 16-bit type.
void keep_known_types(const Json& peaks, Json* models) {
  if (!models->is_object()) return;
  if (!peaks.contains("bf16") && peaks.contains("fp16") && models->contains("bf16")) {
    (*models)["fp16"] = (*models)["bf16"];
  }
  Json kept = Json::object();
  for (const auto& item : models->items()) {
    if (peaks.contains(item.key())) kept[item.key()] = item.value();
  }
  *models = std::move(kept);
}

// A device without timings of its own has "rates": {"like": NAME}: the tables of the shipped device
// that is nearest to it, under its own peaks.
std::optional<Error> take_rates_of_relative(const std::string& file,
                                            const std::string& profiles_dir, Json* device) {
  if (!device->is_object() || !device->contains("rates")) return std::nullopt;
  Json& rates = (*device)["rates"];
  if (!rates.is_object()) return std::nullopt;
  Fields fields(rates, file, "rates.");
  const std::string name = fields.text("like");
  if (auto error = fields.finish()) return error;
  const std::string path = shipped_path("devices", name, profiles_dir);
  if (!is_plain_name(name) || !is_file(path)) {
    return Error{file, "rates.like", quote(Json(name)), "a shipped device"};
  }
  const Result<Json> relative = read_json_file(path);
  if (!relative) return relative.error();
  if (!relative->is_object() || !relative->contains("rates") || !(*relative)["rates"].is_array()) {
    return Error{file, "rates.like", quote(Json(name)), "a device with rates of its own"};
  }
  rates = (*relative)["rates"];
  const Json peaks = device->value("peak_flops_per_s", Json::object());
  for (Json& set : rates) {
    if (!set.is_object()) continue;
    for (const char* kind : {"gemm", "attention"}) {
      if (set.contains(kind)) keep_known_types(peaks, &set[kind]);
    }
  }
  return std::nullopt;
}

Result<ClusterSpec> cluster_of_file(const std::string& path, const std::string& profiles_dir) {
  const Result<Json> json = read_json_file(path);
  if (!json) return json.error();
  return read_cluster(*json, path, profiles_dir);
}

}  // namespace

std::vector<std::string> shipped_names(const std::string& kind, const std::string& profiles_dir) {
  std::vector<std::string> out;
  std::error_code ignored;
  for (const auto& entry :
       std::filesystem::directory_iterator(profiles_dir + "/" + kind, ignored)) {
    if (entry.path().extension() == ".json") out.push_back(entry.path().stem().string());
  }
  std::sort(out.begin(), out.end());  // a folder lists its files in no fixed order
  return out;
}

Result<DeviceProfile> load_shipped_device(const std::string& name,
                                          const std::string& profiles_dir) {
  const std::string path = shipped_path("devices", name, profiles_dir);
  if (!is_plain_name(name) || !is_file(path)) {
    return Error{kCommandLine, "device", '"' + printable(name) + '"',
                 "one of " + joined(shipped_names("devices", profiles_dir))};
  }
  Result<Json> json = read_json_file(path);
  if (!json) return json.error();
  if (auto error = take_rates_of_relative(path, profiles_dir, &*json)) return *error;
  Result<DeviceProfile> device = read_device_profile(*json, path, "");
  if (device && device->name != name) {
    return Error{path, "name", printable(device->name), "the name of the file, " + name};
  }
  return device;
}

Result<ClusterSpec> load_cluster(const std::string& text, const std::string& profiles_dir) {
  const bool looks_like_path = text.find('/') != std::string::npos || text.ends_with(".json");
  if (looks_like_path || is_file(text)) return cluster_of_file(text, profiles_dir);
  if (text.find(':') != std::string::npos) return cluster_of_shorthand(text, profiles_dir);
  const std::string path = shipped_path("clusters", text, profiles_dir);
  if (is_plain_name(text) && is_file(path)) return cluster_of_file(path, profiles_dir);
  return Error{kCommandLine, "cluster", '"' + printable(text) + '"',
               "a cluster file, DEVICE:PER_NODE[xNODES] or one of " +
                   joined(shipped_names("clusters", profiles_dir))};
}

std::string default_machine_path() {
  if (const std::string path = environment("SHARDWRIGHT_MACHINE"); !path.empty()) return path;
  std::string cache = environment("XDG_CACHE_HOME");
  if (cache.empty()) cache = environment("HOME") + "/.cache";
  return cache + "/shardwright/machine.json";
}

std::string default_profiles_dir() {
  const std::string path = environment("SHARDWRIGHT_PROFILES");
  return path.empty() ? SHARDWRIGHT_PROFILES_DIR : path;
}

}  // namespace shardwright
