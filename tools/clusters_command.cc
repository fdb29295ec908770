#include "tools/clusters_command.h"

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <ostream>
#include <vector>

#include "costmodel/cluster_spec.h"

namespace shardwright {
namespace {

constexpr int kExitBadInput = 2;
constexpr size_t kNameWidth = 24;  // keeps every table within 100 columns

using Cells = std::vector<std::string>;

int report(const Error& error, std::ostream& err) {
  err << printable(error.line(), 4000) << "\n";
  return kExitBadInput;
}

std::string number(double value) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.4g", value);
  return text;
}

std::string name_cell(const std::string& name) { return printable(name, kNameWidth - 3); }

// Columns as wide as their widest cell, two spaces apart; the first to the left, the rest right.
void print_table(const std::vector<Cells>& rows, std::ostream& out) {
  std::vector<size_t> widths(rows.front().size(), 0);
  for (const Cells& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  for (const Cells& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) {
      const std::string fill(widths[i] - row[i].size(), ' ');
      out << (i == 0 ? "" : "  ") << (i == 0 ? row[i] + fill : fill + row[i]);
    }
    out << "\n";
  }
}

std::string peak_cell(const DeviceProfile& device, DataType type) {
  const auto found = device.peak_flops_per_s.find(type);
  return found == device.peak_flops_per_s.end() ? "-" : number(found->second / 1e12);
}

const Cells kDeviceHead = {"device",       "memory GiB",   "GB/s",
                           "fp32 TFLOP/s", "bf16 TFLOP/s", "fp8 TFLOP/s"};

Cells device_row(const DeviceProfile& device) {
  constexpr double kGibibyte = 1024.0 * 1024 * 1024;
  return {name_cell(device.name),
          number(static_cast<double>(device.memory_bytes) / kGibibyte),
          number(device.memory_bytes_per_s / 1e9),
          peak_cell(device, DataType::kFp32),
          peak_cell(device, DataType::kBf16),
          peak_cell(device, DataType::kFp8)};
}

void print_groups(const ClusterSpec& cluster, std::ostream& out) {
  std::vector<Cells> rows = {{"group of", "nodes", "devices a node", "ranks"}};
  int64_t first = 0;
  for (const NodeGroup& group : cluster.groups) {
    const int64_t next = first + group.devices_per_node * group.nodes;
    rows.push_back({name_cell(group.device), std::to_string(group.nodes),
                    std::to_string(group.devices_per_node),
                    std::to_string(first) + "-" + std::to_string(next - 1)});
    first = next;
  }
  print_table(rows, out);
}

void print_levels(const ClusterSpec& cluster, std::ostream& out) {
  std::vector<Cells> rows = {{"level", "joins", "GB/s", "latency us", "topology", "curves"}};
  for (const LinkLevel& level : cluster.levels) {
    rows.push_back({name_cell(level.name), std::to_string(level.size),
                    number(level.bytes_per_s / 1e9), number(level.latency_s * 1e6),
                    printable(level.topology, 16), std::to_string(level.curves.size())});
  }
  print_table(rows, out);
}

void print_cluster(const ClusterSpec& cluster, std::ostream& out) {
  out << printable(cluster.name, 70) << ": " << cluster.num_devices() << " devices\n\n";
  print_groups(cluster, out);
  out << "\n";
  std::vector<Cells> rows = {kDeviceHead};
  for (const auto& [name, device] : cluster.devices) rows.push_back(device_row(device));
  print_table(rows, out);
  out << "\n";
  print_levels(cluster, out);
  out << "\nGB/s of a level: per device and direction.\n";
}

struct Shipped {
  std::vector<DeviceProfile> devices;
  std::vector<ClusterSpec> clusters;
};

Result<Shipped> load_shipped(const std::string& profiles_dir) {
  Shipped out;
  for (const std::string& name : shipped_names("devices", profiles_dir)) {
    Result<DeviceProfile> device = load_shipped_device(name, profiles_dir);
    if (!device) return device.error();
    out.devices.push_back(*std::move(device));
  }
  for (const std::string& name : shipped_names("clusters", profiles_dir)) {
    Result<ClusterSpec> cluster =
        load_cluster(profiles_dir + "/clusters/" + name + ".json", profiles_dir);
    if (!cluster) return cluster.error();
    out.clusters.push_back(*std::move(cluster));
  }
  return out;
}

Json names_of(const Shipped& shipped) {
  Json out = {{"devices", Json::array()}, {"clusters", Json::array()}};
  for (const DeviceProfile& device : shipped.devices) out["devices"].push_back(device.name);
  for (const ClusterSpec& cluster : shipped.clusters) out["clusters"].push_back(cluster.name);
  return out;
}

void print_shipped(const Shipped& shipped, std::ostream& out) {
  std::vector<Cells> rows = {kDeviceHead};
  for (const DeviceProfile& device : shipped.devices) rows.push_back(device_row(device));
  print_table(rows, out);
  out << "\n";
  rows = {{"cluster", "devices", "groups", "levels"}};
  for (const ClusterSpec& cluster : shipped.clusters) {
    rows.push_back({name_cell(cluster.name), std::to_string(cluster.num_devices()),
                    std::to_string(cluster.groups.size()), std::to_string(cluster.levels.size())});
  }
  print_table(rows, out);
  out << "\nA device with a count is a cluster too: h100-sxm-80gb:8x64 is 64 nodes of 8.\n";
}

}  // namespace

int run_clusters_show(const std::string& text, bool json, std::ostream& out, std::ostream& err) {
  const Result<ClusterSpec> cluster = load_cluster(text, default_profiles_dir());
  if (!cluster) return report(cluster.error(), err);
  if (json) {
    out << to_json(*cluster).dump(2) << "\n";
  } else {
    print_cluster(*cluster, out);
  }
  return 0;
}

int run_clusters_list(bool json, std::ostream& out, std::ostream& err) {
  const Result<Shipped> shipped = load_shipped(default_profiles_dir());
  if (!shipped) return report(shipped.error(), err);
  if (json) {
    out << names_of(*shipped).dump(2) << "\n";
  } else {
    print_shipped(*shipped, out);
  }
  return 0;
}

}  // namespace shardwright
