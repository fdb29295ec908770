#include "costmodel/cluster_spec.h"

#include "costmodel/check.h"

namespace shardwright {
namespace {

const NodeGroup& group_of(const ClusterSpec& cluster, int64_t rank) {
  SW_CHECK_GE(rank, 0, cluster.name);
  int64_t left = rank;
  for (const NodeGroup& group : cluster.groups) {
    const int64_t devices = group.devices_per_node * group.nodes;
    if (left < devices) return group;
    left -= devices;
  }
  SW_CHECK(false, "rank " << rank << " of " << cluster.num_devices() << " devices");
}

}  // namespace

int64_t ClusterSpec::num_devices() const {
  int64_t sum = 0;
  for (const NodeGroup& group : groups) sum += group.devices_per_node * group.nodes;
  return sum;
}

const DeviceProfile& ClusterSpec::device_of(int64_t rank) const {
  const NodeGroup& group = group_of(*this, rank);
  const auto found = devices.find(group.device);
  SW_CHECK(found != devices.end(), "no device " << group.device);
  return found->second;
}

int64_t ClusterSpec::devices_per_node_of(int64_t rank) const {
  return group_of(*this, rank).devices_per_node;
}

const LinkLevel& ClusterSpec::level_joining(int64_t first, int64_t last) const {
  SW_CHECK(first >= 0 && last >= 0, first << " and " << last);
  SW_CHECK(!levels.empty(), name);
  for (const LinkLevel& level : levels) {
    if (first / level.size == last / level.size) return level;
  }
  SW_CHECK(false, "rank " << first << " or " << last << " of " << num_devices() << " devices");
}

}  // namespace shardwright
