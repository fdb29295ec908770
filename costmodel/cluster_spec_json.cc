#include <algorithm>
#include <nlohmann/json.hpp>

#include "costmodel/cluster_spec.h"
#include "costmodel/profile_json.h"

namespace shardwright {
namespace {

constexpr const char* kSchema = "shardwright.cluster/1";

std::optional<Error> read_groups(const Json& json, const std::string& file, ClusterSpec* out) {
  if (json.empty()) return Error{file, "groups", "an empty list", "at least one group of nodes"};
  int64_t devices = 0;
  for (size_t i = 0; i < json.size(); ++i) {
    Fields fields(json[i], file, element("groups", i) + ".");
    NodeGroup group;
    group.device = fields.text("device");
    group.devices_per_node = fields.integer("devices_per_node", 1, kMaxDevices);
    group.nodes = fields.integer("nodes", 1, kMaxDevices);
    devices += group.devices_per_node * group.nodes;
    if (devices > kMaxDevices) {
      fields.fail("nodes", std::to_string(devices) + " devices up to this group",
                  "at most " + std::to_string(kMaxDevices) + " devices");
    }
    if (auto error = fields.finish()) return error;
    out->groups.push_back(std::move(group));
  }
  return std::nullopt;
}

// Sizes nest: each a multiple of the one before.
std::optional<Error> read_level(const Json& json, const std::string& file, const std::string& field,
                                int64_t size_before, LinkLevel* out) {
  Fields fields(json, file, field + ".");
  out->name = fields.text("name");
  out->size = fields.integer("size", 1, kMaxDevices);
  if (size_before > 0 && (out->size % size_before != 0 || out->size == size_before)) {
    fields.fail("size", std::to_string(out->size),
                "a larger multiple of " + std::to_string(size_before) + ", the level before");
  }
  out->bytes_per_s = kGigabyte * fields.number("gb_per_s", 1e-9, 1e9);
  out->latency_s = kPerMicrosecond * fields.number("latency_us", 0, 1e9);
  out->topology = fields.text("topology");
  const Json curves = fields.has("curves") ? fields.array("curves") : Json::array();
  if (auto error = fields.finish()) return error;
  return read_collective_curves(curves, file, field + ".curves", &out->curves);
}

std::optional<Error> read_levels(const Json& json, const std::string& file, ClusterSpec* out) {
  if (json.empty()) return Error{file, "levels", "an empty list", "at least one level of links"};
  for (size_t i = 0; i < json.size(); ++i) {
    LinkLevel level;
    const int64_t before = i == 0 ? 0 : out->levels.back().size;
    if (auto error = read_level(json[i], file, element("levels", i), before, &level)) return error;
    out->levels.push_back(std::move(level));
  }
  if (out->levels.back().size == out->num_devices()) return std::nullopt;
  return Error{file, element("levels", json.size() - 1) + ".size",
               std::to_string(out->levels.back().size),
               std::to_string(out->num_devices()) + ": the last level joins all devices"};
}

// Whether the nodes of a group that starts at rank `start` lie each within one instance of a level,
// or each hold whole instances.
bool nests(const NodeGroup& group, int64_t start, int64_t level_size) {
  const int64_t inner = std::min(group.devices_per_node, level_size);
  const int64_t outer = std::max(group.devices_per_node, level_size);
  return outer % inner == 0 && start % inner == 0;
}

std::optional<Error> check_nodes(const std::string& file, const ClusterSpec& cluster) {
  int64_t start = 0;
  for (size_t g = 0; g < cluster.groups.size(); ++g) {
    const NodeGroup& group = cluster.groups[g];
    for (size_t i = 0; i + 1 < cluster.levels.size(); ++i) {  // the last joins all
      if (nests(group, start, cluster.levels[i].size)) continue;
      return Error{file, element("groups", g) + ".devices_per_node",
                   std::to_string(group.devices_per_node) + " from rank " + std::to_string(start),
                   "nodes that do not straddle " + element("levels", i) + " of " +
                       std::to_string(cluster.levels[i].size)};
    }
    start += group.devices_per_node * group.nodes;
  }
  return std::nullopt;
}

bool is_used(const ClusterSpec& cluster, const std::string& device) {
  for (const NodeGroup& group : cluster.groups) {
    if (group.device == device) return true;
  }
  return false;
}

std::optional<Error> read_inline_devices(const Json& json, const std::string& file,
                                         ClusterSpec* out) {
  for (const auto& item : json.items()) {
    const std::string field = "devices." + printable(item.key());
    if (!is_used(*out, item.key())) {
      return Error{file, field, "a device of no group", "only devices that a group names"};
    }
    Result<DeviceProfile> device = read_device_profile(item.value(), file, field + ".");
    if (!device) return device.error();
    if (device->name != item.key()) {
      return Error{file, field + ".name", printable(device->name), "the key, " + item.key()};
    }
    out->devices.emplace(item.key(), *std::move(device));
  }
  return std::nullopt;
}

// Devices of groups that the file does not carry itself.
std::optional<Error> load_named_devices(const Json& inline_devices, const std::string& file,
                                        const std::string& profiles_dir, ClusterSpec* out) {
  for (size_t g = 0; g < out->groups.size(); ++g) {
    const std::string& name = out->groups[g].device;
    if (inline_devices.contains(name) || out->devices.count(name) > 0) continue;
    Result<DeviceProfile> device = load_shipped_device(name, profiles_dir);
    if (!device) {
      Error error = device.error();
      if (error.file != "command line") return error;  // the shipped profile itself is at fault
      return Error{file, element("groups", g) + ".device", error.found, error.expected};
    }
    out->devices.emplace(name, *std::move(device));
  }
  return std::nullopt;
}

Json level_to_json(const LinkLevel& level) {
  Json out = {{"name", level.name},
              {"size", level.size},
              {"gb_per_s", in_unit(level.bytes_per_s, kGigabyte)},
              {"latency_us", in_unit(level.latency_s, kPerMicrosecond)},
              {"topology", level.topology}};
  if (!level.curves.empty()) out["curves"] = to_json(level.curves);
  return out;
}

}  // namespace

Result<ClusterSpec> read_cluster(const Json& json, const std::string& file,
                                 const std::string& profiles_dir) {
  ClusterSpec out;
  out.source = file;
  Fields fields(json, file);
  const std::string schema = fields.text("schema");
  if (schema != kSchema) fields.fail("schema", quote(schema), kSchema);
  out.name = fields.text("name");
  out.figures_source = fields.text_or("source", "");
  const Json& groups = fields.array("groups");
  const Json& levels = fields.array("levels");
  const Json devices = fields.has("devices") ? fields.object("devices") : Json::object();
  if (auto error = fields.finish()) return *error;
  if (auto error = read_groups(groups, file, &out)) return *error;
  if (auto error = read_levels(levels, file, &out)) return *error;
  if (auto error = check_nodes(file, out)) return *error;
  if (auto error = load_named_devices(devices, file, profiles_dir, &out)) return *error;
  if (auto error = read_inline_devices(devices, file, &out)) return *error;
  return out;
}

Json to_json(const ClusterSpec& cluster) {
  Json out = {{"schema", kSchema}, {"name", cluster.name}};
  if (!cluster.figures_source.empty()) out["source"] = cluster.figures_source;
  for (const NodeGroup& group : cluster.groups) {
    out["groups"].push_back({{"device", group.device},
                             {"devices_per_node", group.devices_per_node},
                             {"nodes", group.nodes}});
  }
  for (const LinkLevel& level : cluster.levels) out["levels"].push_back(level_to_json(level));
  for (const auto& [name, device] : cluster.devices) out["devices"][name] = to_json(device);
  return out;
}

}  // namespace shardwright
