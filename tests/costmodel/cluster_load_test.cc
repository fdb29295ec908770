#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "costmodel/cluster_spec.h"
#include "tests/costmodel/cluster_fixtures.h"

namespace shardwright {
namespace {

const std::string kProfiles = SHARDWRIGHT_SOURCE_DIR "/profiles";

std::string rejection(const std::string& text) {
  const Result<ClusterSpec> cluster = load_cluster(text, kProfiles);
  return cluster.ok() ? "accepted" : cluster.error().line();
}

TEST(Shorthand, NodesAndNetworkBecomeLevels) {
  const Result<ClusterSpec> cluster = load_cluster("h100-sxm-80gb:8x64", kProfiles);
  ASSERT_TRUE(cluster.ok()) << cluster.error().line();
  EXPECT_EQ(cluster->num_devices(), 512);
  EXPECT_EQ(cluster->name, "h100-sxm-80gb:8x64");
  ASSERT_EQ(cluster->levels.size(), 2u);
  EXPECT_EQ(cluster->levels[0].name, "nvlink");
  EXPECT_EQ(cluster->levels[0].size, 8);
  EXPECT_FALSE(cluster->levels[0].curves.empty());
  EXPECT_EQ(cluster->levels[1].name, "infiniband");
  EXPECT_EQ(cluster->levels[1].size, 512);
  const Json json = to_json(*cluster);
  EXPECT_EQ(to_json(*read_toy(json)).dump(), json.dump());
}

TEST(Shorthand, OneLevelIsEnoughForOneNodeOrNodesOfOne) {
  const ClusterSpec node = *load_cluster("h100-sxm-80gb:4", kProfiles);
  ASSERT_EQ(node.levels.size(), 1u);
  EXPECT_EQ(node.levels[0].name, "nvlink");
  EXPECT_EQ(node.levels[0].size, 4);
  EXPECT_EQ(load_cluster("h100-sxm-80gb:4x1", kProfiles)->num_devices(), 4);
  EXPECT_EQ(load_cluster("h100-sxm-80gb:1", kProfiles)->num_devices(), 1);
  const ClusterSpec ones = *load_cluster("h100-sxm-80gb:1x4", kProfiles);
  ASSERT_EQ(ones.levels.size(), 1u);
  EXPECT_EQ(ones.levels[0].name, "infiniband");
}

TEST(Shorthand, LargestIsAcceptedAndOneMoreIsNot) {
  EXPECT_EQ(load_cluster("h100-sxm-80gb:8x131072", kProfiles)->num_devices(), kMaxDevices);
  EXPECT_NE(rejection("h100-sxm-80gb:8x131073").find("at most 1048576 devices"), std::string::npos);
}

TEST(Shorthand, MalformedOnesAreErrors) {
  for (const char* counts :
       {"", "x", "8x", "x8", "8x8x8", "0", "8x0", "-8", "8x-1", " 8", "8 ", "8.5", "1e3", "0x8",
        "8X8", "99999999999999999999", "4294967296x4294967296", "1048576x1048576"}) {
    const std::string line = rejection(std::string("h100-sxm-80gb:") + counts);
    EXPECT_NE(line.find("expected DEVICE:PER_NODE or DEVICE:PER_NODExNODES"), std::string::npos)
        << counts << ": " << line;
  }
}

TEST(Shorthand, UnknownDeviceListsTheKnown) {
  const std::string line = rejection("h1000:8");
  EXPECT_NE(line.find("found \"h1000\""), std::string::npos) << line;
  EXPECT_NE(line.find("a100-sxm-80gb, b200-sxm, b300-sxm, cpu-amd-epyc-core"), std::string::npos)
      << line;
  EXPECT_NE(rejection(":8").find("device: found \"\""), std::string::npos);
  EXPECT_NE(rejection("..:8").find("device: found \"..\""), std::string::npos);
}

TEST(LoadCluster, ShippedNameOrPath) {
  const Result<ClusterSpec> named = load_cluster("mixed-a100-h100", kProfiles);
  ASSERT_TRUE(named.ok()) << named.error().line();
  EXPECT_EQ(named->levels.size(), 3u);
  EXPECT_EQ(named->device_of(15).name, "a100-sxm-80gb");
  EXPECT_EQ(named->device_of(16).name, "h100-sxm-80gb");
  const std::string path = kProfiles + "/clusters/mixed-a100-h100.json";
  const Result<ClusterSpec> found = load_cluster(path, kProfiles);
  ASSERT_TRUE(found.ok()) << found.error().line();
  EXPECT_EQ(found->source, path);
  EXPECT_EQ(to_json(*found).dump(), to_json(*named).dump());
}

TEST(LoadCluster, EveryShippedClusterReads) {
  for (const std::string& name : shipped_names("clusters", kProfiles)) {
    const Result<ClusterSpec> cluster = load_cluster(name, kProfiles);
    ASSERT_TRUE(cluster.ok()) << cluster.error().line();
    EXPECT_EQ(cluster->name, name);
    EXPECT_FALSE(cluster->figures_source.empty()) << name;
  }
}

TEST(LoadCluster, MissingFilesAndNamesAreErrors) {
  EXPECT_EQ(rejection("no/such.json").rfind("no/such.json", 0), 0u);
  EXPECT_NE(
      rejection("nonsense").find("expected a cluster file, DEVICE:PER_NODE[xNODES] or one of"),
      std::string::npos);
  EXPECT_NE(rejection(""), "accepted");
  EXPECT_NE(rejection("/"), "accepted");
  EXPECT_NE(rejection(std::string("bad\0name", 8)), "accepted");
}

TEST(LoadCluster, AShippedDeviceMustBearItsFilesName) {
  const std::string folder = testing::TempDir() + "cluster_load_profiles";
  std::filesystem::create_directories(folder + "/devices");
  const std::string path = folder + "/devices/other.json";
  ASSERT_FALSE(write_file_atomically(path, toy_device("toy").dump()));
  const Result<DeviceProfile> device = load_shipped_device("other", folder);
  ASSERT_FALSE(device.ok());
  EXPECT_EQ(device.error().line(),
            path + ": name: found toy, expected the name of the file, other");
  ASSERT_FALSE(write_file_atomically(folder + "/devices/toy.json", toy_device("toy").dump()));
  const Result<ClusterSpec> cluster = load_cluster("toy:4", folder);  // a device without links
  ASSERT_FALSE(cluster.ok());
  EXPECT_NE(cluster.error().line().find("links: found no link of scope node"), std::string::npos);
  std::filesystem::remove_all(folder);
}

TEST(Defaults, MachinePathFollowsTheEnvironment) {
  ::setenv("HOME", "/h", 1);
  ::unsetenv("XDG_CACHE_HOME");
  ::unsetenv("SHARDWRIGHT_MACHINE");
  EXPECT_EQ(default_machine_path(), "/h/.cache/shardwright/machine.json");
  ::setenv("XDG_CACHE_HOME", "/x", 1);
  EXPECT_EQ(default_machine_path(), "/x/shardwright/machine.json");
  ::setenv("SHARDWRIGHT_MACHINE", "/m.json", 1);
  EXPECT_EQ(default_machine_path(), "/m.json");
}

TEST(Defaults, ProfilesDirFollowsTheEnvironment) {
  ::unsetenv("SHARDWRIGHT_PROFILES");
  EXPECT_FALSE(shipped_names("devices", default_profiles_dir()).empty());
  ::setenv("SHARDWRIGHT_PROFILES", "/p", 1);
  EXPECT_EQ(default_profiles_dir(), "/p");
  ::unsetenv("SHARDWRIGHT_PROFILES");
  EXPECT_TRUE(shipped_names("devices", "/no/such").empty());
}

}  // namespace
}  // namespace shardwright
