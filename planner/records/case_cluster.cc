#include <algorithm>
#include <nlohmann/json.hpp>

#include "planner/records/run_case.h"

namespace shardwright {
namespace {

constexpr double kGib = 1024.0 * 1024.0 * 1024.0;

// The nodes must be whole: a domain that the run fills only in part counts by its largest part
// that divides the run (256 devices in domains of 72 are 4 x 64).
int64_t devices_per_node(const RecordCluster& c) {
  int64_t per_node = std::min(c.gpus, c.gpus_per_node);
  while (c.gpus % per_node != 0) --per_node;
  return per_node;
}

// The first profile of the rule's list that is shipped.
Result<DeviceProfile> device_of(const Record& record, const RuleList& devices,
                                const std::string& profiles_dir) {
  const std::vector<std::string> names = devices.texts(record, "profile");
  const std::vector<std::string> shipped = shipped_names("devices", profiles_dir);
  for (const std::string& name : names) {
    if (std::find(shipped.begin(), shipped.end(), name) != shipped.end()) {
      return load_shipped_device(name, profiles_dir);
    }
  }
  return Error{record.id, "cluster.gpu", '"' + printable(record.cluster.gpu) + '"',
               "a device of profiles/records/devices.json"};
}

// A printed network speed replaces the usual one; curves measured at another speed go.
void set_speed(std::optional<double> gb_per_s, LinkLevel* level) {
  if (!gb_per_s || *gb_per_s * 1e9 == level->bytes_per_s) return;
  level->bytes_per_s = *gb_per_s * 1e9;
  level->curves.clear();
}

}  // namespace

Result<ClusterSpec> cluster_of(const Record& record, const RuleList& devices,
                               const std::string& profiles_dir, std::string* device,
                               double* capacity_gib) {
  Result<DeviceProfile> profile = device_of(record, devices, profiles_dir);
  if (!profile) return profile.error();
  *device = profile->name;
  const int64_t per_node = devices_per_node(record.cluster);
  const int64_t nodes = record.cluster.gpus / per_node;
  const std::string shorthand =
      profile->name + ":" + std::to_string(per_node) + "x" + std::to_string(nodes);
  Result<ClusterSpec> cluster = load_cluster(shorthand, profiles_dir);
  if (!cluster) return cluster.error();
  const std::optional<double> memory = devices.number(record, "memory_gib");
  *capacity_gib = memory ? *memory : static_cast<double>(profile->memory_bytes) / kGib;
  DeviceProfile& held = cluster->devices.begin()->second;
  held.memory_bytes = static_cast<Bytes>(*capacity_gib * kGib);
  const std::optional<double> bandwidth = devices.number(record, "memory_gb_per_s");
  if (bandwidth) held.memory_bytes_per_s = *bandwidth * 1e9;
  if (per_node > 1) set_speed(devices.number(record, "node_gb_per_s"), &cluster->levels.front());
  if (nodes > 1) set_speed(devices.number(record, "network_gb_per_s"), &cluster->levels.back());
  return cluster;
}

}  // namespace shardwright
