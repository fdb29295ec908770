#include "costmodel/cluster_spec.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/costmodel/cluster_fixtures.h"

namespace shardwright {
namespace {

// Ranks 0-7: two nodes of 4 "toy"; ranks 8-15: one node of 8 "big". Three levels.
Json mixed_cluster() {
  Json json = {{"schema", "shardwright.cluster/1"}, {"name", "mixed"}, {"source", "made up"}};
  json["groups"] = Json::array({group("toy", 4, 2), group("big", 8, 1)});
  json["levels"] =
      Json::array({level("wire", 4, 100, 1), level("leaf", 8, 20, 2), level("spine", 16, 10, 5)});
  const Json curve = {
      {"kind", "all_reduce"}, {"ranks", 4}, {"points", Json::array({Json::array({1024.0, 1e-5})})}};
  json["levels"][0]["curves"] = Json::array({curve});
  json["devices"]["big"] = toy_device("big");  // devices are written in the order of their names
  json["devices"]["toy"] = toy_device();
  return json;
}

TEST(ClusterSpec, DeviceOfRankAcrossGroups) {
  const ClusterSpec cluster = *read_toy(mixed_cluster());
  EXPECT_EQ(cluster.num_devices(), 16);
  for (int64_t rank = 0; rank < 16; ++rank) {
    EXPECT_EQ(cluster.device_of(rank).name, rank < 8 ? "toy" : "big") << rank;
    EXPECT_EQ(cluster.devices_per_node_of(rank), rank < 8 ? 4 : 8) << rank;
  }
  EXPECT_THROW(cluster.device_of(16), BrokenInvariant);
  EXPECT_THROW(cluster.device_of(-1), BrokenInvariant);
}

TEST(ClusterSpec, InnermostLevelThatJoins) {
  const ClusterSpec cluster = *read_toy(mixed_cluster());
  EXPECT_EQ(cluster.level_joining(0, 0).name, "wire");
  EXPECT_EQ(cluster.level_joining(0, 3).name, "wire");
  EXPECT_EQ(cluster.level_joining(4, 7).name, "wire");
  EXPECT_EQ(cluster.level_joining(3, 4).name, "leaf");
  EXPECT_EQ(cluster.level_joining(11, 12).name, "leaf");
  EXPECT_EQ(cluster.level_joining(7, 8).name, "spine");
  EXPECT_EQ(cluster.level_joining(15, 0).name, "spine");
  EXPECT_THROW(cluster.level_joining(0, 16), BrokenInvariant);
  EXPECT_THROW(cluster.level_joining(-1, 0), BrokenInvariant);
}

TEST(ClusterSpecJson, RoundTripsByteForByte) {
  for (const Json& json : {mixed_cluster(), toy_cluster()}) {
    const Result<ClusterSpec> cluster = read_toy(json);
    ASSERT_TRUE(cluster.ok()) << cluster.error().line();
    EXPECT_EQ(to_json(*cluster).dump(2), json.dump(2));
  }
}

TEST(ClusterSpecJson, WhereTheFileLiesIsNotWritten) {
  const Json json = toy_cluster();
  const ClusterSpec cluster = *read_cluster(json, "some/where.json", "/no/profiles");
  EXPECT_EQ(cluster.source, "some/where.json");
  EXPECT_EQ(to_json(cluster).dump().find("some/where"), std::string::npos);
}

TEST(ClusterSpecJson, OneDeviceIsACluster) {
  Json json = toy_cluster();
  json["groups"] = Json::array({group("toy", 1, 1)});
  json["levels"] = Json::array({level("none", 1, 1, 0)});
  ASSERT_TRUE(read_toy(json).ok()) << read_toy(json).error().line();
}

TEST(ClusterSpecJson, LevelsInsideANodeAndDomainsOfSeveralNodes) {
  Json json = toy_cluster();  // pairs inside nodes of 4, a domain of two nodes, a network
  json["groups"] = Json::array({group("toy", 4, 4)});
  json["levels"] =
      Json::array({level("pair", 2, 50, 1), level("rack", 8, 20, 2), level("network", 16, 10, 5)});
  ASSERT_TRUE(read_toy(json).ok()) << read_toy(json).error().line();
}

TEST(ClusterSpecJson, NodesMayNotStraddle) {
  Json json = toy_cluster();  // one node of 2, then nodes of 4 that a level of 4 would cut in two
  json["groups"] = Json::array({group("toy", 2, 1), group("toy", 4, 1)});
  json["levels"] = Json::array({level("wire", 2, 100, 1), level("network", 6, 10, 5)});
  ASSERT_TRUE(read_toy(json).ok()) << read_toy(json).error().line();
  json["groups"] = Json::array({group("toy", 2, 1), group("toy", 4, 2), group("toy", 2, 1)});
  json["levels"] = Json::array({level("wire", 4, 100, 1), level("network", 12, 10, 5)});
  const Result<ClusterSpec> cluster = read_toy(json);
  ASSERT_FALSE(cluster.ok());
  EXPECT_EQ(cluster.error().line(),
            "c.json: groups[1].devices_per_node: found 4 from rank 2, expected nodes that do not "
            "straddle levels[0] of 4");
}

struct Rejection {
  const char* pointer;  // JSON pointer to what is replaced; the value null removes it
  Json value;
  const char* error;  // the line after the file
};

void PrintTo(const Rejection& rejection, std::ostream* out) {
  *out << rejection.pointer << " = " << rejection.value.dump();
}

class ClusterRejects : public testing::TestWithParam<Rejection> {};

TEST_P(ClusterRejects, NamesTheField) {
  Json json = mixed_cluster();
  json[Json::json_pointer(GetParam().pointer)] = GetParam().value;
  const Result<ClusterSpec> cluster = read_toy(json);
  ASSERT_FALSE(cluster.ok());
  const std::string line = cluster.error().line();
  EXPECT_EQ(line.rfind(std::string("c.json: ") + GetParam().error, 0), 0u) << line;
}

INSTANTIATE_TEST_SUITE_P(
    Fields, ClusterRejects,
    testing::Values(
        Rejection{"/schema", "shardwright.plan/1", "schema: found \"shardwright.plan/1\""},
        Rejection{"/name", nullptr, "name: found nothing"},
        Rejection{"/source", 7, "source: found 7"},
        Rejection{"/nodes", 2, "nodes: found an unknown key"},
        Rejection{"/groups", Json::array(), "groups: found an empty list"},
        Rejection{"/groups", 1, "groups: found 1"},
        Rejection{"/groups/0", 1, "groups[0]: found 1, expected an object"},
        Rejection{"/groups/0/nodes", 0, "groups[0].nodes: found 0"},
        Rejection{"/groups/0/nodes", kMaxDevices, "groups[0].nodes: found 4194304 devices"},
        Rejection{"/groups/0/devices_per_node", -1, "groups[0].devices_per_node: found -1"},
        Rejection{"/groups/0/rack", 1, "groups[0].rack: found an unknown key"},
        Rejection{"/groups/1/device", "huge", "groups[1].device: found \"huge\""},
        Rejection{"/groups/1/device", "../big", "groups[1].device: found \"../big\""},
        Rejection{"/groups/1/devices_per_node", 6, "levels[2].size: found 16, expected 14"}));

INSTANTIATE_TEST_SUITE_P(
    Levels, ClusterRejects,
    testing::Values(
        Rejection{"/levels", Json::array(), "levels: found an empty list"},
        Rejection{"/levels/2/size", 32, "levels[2].size: found 32, expected 16: the last level"},
        Rejection{"/levels/1/size", 6, "levels[1].size: found 6, expected a larger multiple of 4"},
        Rejection{"/levels/1/size", 4, "levels[1].size: found 4, expected a larger multiple of 4"},
        Rejection{"/levels/0/size", 0, "levels[0].size: found 0"},
        Rejection{"/levels/0/gb_per_s", 0, "levels[0].gb_per_s: found 0"},
        Rejection{"/levels/0/latency_us", "1", "levels[0].latency_us: found"},
        Rejection{"/levels/0/topology", nullptr, "levels[0].topology: found nothing"},
        Rejection{"/levels/0/width", 1, "levels[0].width: found an unknown key"},
        Rejection{"/levels/0/curves/0/ranks", 0, "levels[0].curves[0].ranks: found 0"}));

INSTANTIATE_TEST_SUITE_P(
    Devices, ClusterRejects,
    testing::Values(Rejection{"/devices/spare", toy_device("spare"),
                              "devices.spare: found a device of no"},
                    Rejection{"/devices/big/name", "small", "devices.big.name: found small"},
                    Rejection{"/devices/big/memory_bytes", 0, "devices.big.memory_bytes: found 0"},
                    Rejection{"/devices/big/extra", 0, "devices.big.extra: found an unknown key"},
                    Rejection{"/devices/big", 1, "devices.big: found 1, expected an object"}));

}  // namespace
}  // namespace shardwright
