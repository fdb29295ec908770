// ClusterSpec: which devices there are and what links them.
//
// A cluster is a list of node groups (groups may hold different devices) and a list of link levels,
// innermost first. Level 0 joins `size` devices (a node, an NVLink domain); level i joins groups of
// level i-1. Ranks are numbered node by node.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "costmodel/device_profile.h"

namespace shardwright {

struct NodeGroup {
  std::string device;  // a key of ClusterSpec::devices
  int64_t devices_per_node = 0;
  int64_t nodes = 0;
};

struct LinkLevel {
  std::string name;        // "nvlink", "infiniband", "shared-memory"
  int64_t size = 0;        // devices joined by one instance of this level; the last covers all
  double bytes_per_s = 0;  // per device and direction
  double latency_s = 0;    // of one message
  std::string topology;    // "switch", "ring", "host"; for people and later models
  std::vector<CollectiveCurve> curves;
};

struct ClusterSpec {
  std::string name;
  std::string source;  // path, or the shorthand that made it; not written, so digests ignore it
  std::string figures_source;  // where the figures come from: "source" in the file, may be empty
  std::vector<NodeGroup> groups;
  std::vector<LinkLevel> levels;
  std::map<std::string, DeviceProfile> devices;

  int64_t num_devices() const;
  // The device of a rank. REQUIRES: 0 <= rank < num_devices().
  const DeviceProfile& device_of(int64_t rank) const;
  int64_t devices_per_node_of(int64_t rank) const;
  // The innermost level that joins all of [first, last]. REQUIRES: both in range.
  const LinkLevel& level_joining(int64_t first, int64_t last) const;
};

// The largest cluster that is read: bounds every loop over ranks.
constexpr int64_t kMaxDevices = int64_t{1} << 20;

// `text` is a path to a cluster JSON ("schema": "shardwright.cluster/1", devices inline or named),
// a shorthand DEVICE:PER_NODE[xNODES], e.g. "h100-sxm-80gb:8x64", or the name of a shipped cluster.
// Shipped profiles are looked up in `profiles_dir`/devices and /clusters. A shorthand's levels are
// the usual links of its device.
Result<ClusterSpec> load_cluster(const std::string& text, const std::string& profiles_dir);
Result<ClusterSpec> read_cluster(const Json& json, const std::string& file,
                                 const std::string& profiles_dir);
// Carries its devices inline, so that it means the same wherever it is read.
Json to_json(const ClusterSpec& cluster);

// profiles_dir/devices/NAME.json; an error that lists the shipped names when there is none.
Result<DeviceProfile> load_shipped_device(const std::string& name, const std::string& profiles_dir);
// Names of the JSON files in profiles_dir/`kind` ("devices" or "clusters"), sorted; empty when the
// folder cannot be read.
std::vector<std::string> shipped_names(const std::string& kind, const std::string& profiles_dir);

// This machine's measured cluster as `shardwright profile` writes it by default:
// $SHARDWRIGHT_MACHINE, else $XDG_CACHE_HOME/shardwright/machine.json, else ~/.cache/...
std::string default_machine_path();
// $SHARDWRIGHT_PROFILES, else the folder that the build was configured from.
std::string default_profiles_dir();

}  // namespace shardwright
