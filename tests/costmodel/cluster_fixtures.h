// Small devices and clusters in round numbers, so that expected times have a closed form.
#pragma once

#include <string>

#include "costmodel/cluster_spec.h"

namespace shardwright {

// 100 TFLOP/s in bf16, 10 in fp32, 1 TB/s, 1 GiB; half of each reached; 3 us floors; no launch
// cost.
inline Json toy_device(const std::string& name = "toy") {
  const Json model = {{"floor_s", 3e-6}, {"flop_share", 0.5}, {"bandwidth_share", 0.5}};
  Json json = {{"schema", "shardwright.device/1"},
               {"name", name},
               {"source", "made up"},
               {"memory_bytes", int64_t{1} << 30},
               {"memory_bytes_per_s", 1e12},
               {"peak_flops_per_s", {{"fp32", 1e13}, {"bf16", 1e14}}},
               {"launch_s", 0.0},
               {"pass_floor_s", 2e-6},
               {"pass_bandwidth_share", 0.5},
               {"overlaps_communication", false},
               {"rates", Json::array()}};
  Json rates = {{"active_ranks", 1}};
  rates["gemm"]["bf16"] = {{"forward", model}, {"input_grad", model}, {"weight_grad", model}};
  rates["attention"]["bf16"] = {{"forward", model}, {"backward", model}};
  rates["passes"] = Json::object();
  json["rates"].push_back(rates);
  return json;
}

inline Json level(const std::string& name, int64_t size, double gb_per_s, double latency_us) {
  return {{"name", name},
          {"size", size},
          {"gb_per_s", gb_per_s},
          {"latency_us", latency_us},
          {"topology", "switch"}};
}

inline Json group(const std::string& device, int64_t devices_per_node, int64_t nodes) {
  return {{"device", device}, {"devices_per_node", devices_per_node}, {"nodes", nodes}};
}

// 3 nodes of 4: 100 GB/s and 1 us inside a node, 10 GB/s and 5 us between.
inline Json toy_cluster() {
  Json json = {{"schema", "shardwright.cluster/1"}, {"name", "toys"}};
  json["groups"] = Json::array({group("toy", 4, 3)});
  json["levels"] = Json::array({level("node", 4, 100, 1), level("network", 12, 10, 5)});
  json["devices"]["toy"] = toy_device();
  return json;
}

inline Result<ClusterSpec> read_toy(const Json& json) {
  return read_cluster(json, "c.json", "/no/profiles");
}
inline Result<DeviceProfile> read_toy_device(const Json& json) {
  return read_device_profile(json, "d.json", "");
}

}  // namespace shardwright
