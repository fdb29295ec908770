// A small cluster of two kinds of devices for tests, and software on it.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "planner/search/software.h"

namespace shardwright {

// Two nodes, one of A100 and one of H100, `each` devices a node, under the A100's links.
inline ClusterSpec mixed_cluster(int64_t each, const std::string& profiles) {
  ClusterSpec cluster =
      load_cluster("a100-sxm-80gb:" + std::to_string(each) + "x2", profiles).value();
  const char* const second = "h100-sxm-80gb";
  cluster.devices[second] = load_shipped_device(second, profiles).value();
  cluster.groups = {{"a100-sxm-80gb", each, 1}, {second, each, 1}};
  return cluster;
}

inline std::unique_ptr<Software> megatron_on(const ModelSpec& model, const ClusterSpec& cluster,
                                             const std::string& profiles) {
  auto loaded = Software::load(model, cluster, "megatron-core-2025", profiles);
  EXPECT_TRUE(loaded.ok());
  return *std::move(loaded);
}

}  // namespace shardwright
