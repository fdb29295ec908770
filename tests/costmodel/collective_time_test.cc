// The toy cluster has 3 nodes of 4: 100 GB/s and 1 us inside a node, 10 GB/s and 5 us between.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>
#include <tuple>

#include "costmodel/pricer.h"
#include "tests/costmodel/cluster_fixtures.h"

namespace shardwright {
namespace {

constexpr Bytes kBytes = 12000000;
constexpr double kInner = 12e6 / 100e9;  // seconds of all bytes over the link inside a node
constexpr double kOuter = 12e6 / 10e9;   // and between nodes
constexpr double kMicro = 1e-6;

double price(const Json& cluster, CollectiveKind kind, const GroupPlacement& group) {
  return collective_s(*read_toy(cluster), {kind, Axis::kDp, kBytes}, group);
}
double price(CollectiveKind kind, const GroupPlacement& group) {
  return price(toy_cluster(), kind, group);
}

TEST(CollectiveTime, OneMemberCostsNothing) {
  for (CollectiveKind kind : {CollectiveKind::kAllReduce, CollectiveKind::kSend}) {
    EXPECT_EQ(price(kind, {5, 3, 1}), 0);
  }
}

TEST(CollectiveTime, InsideANode) {
  const GroupPlacement group{4, 1, 4};
  EXPECT_DOUBLE_EQ(price(CollectiveKind::kAllReduce, group), 6 * kMicro + 1.5 * kInner);
  EXPECT_DOUBLE_EQ(price(CollectiveKind::kAllGather, group), 3 * kMicro + 0.75 * kInner);
  EXPECT_DOUBLE_EQ(price(CollectiveKind::kReduceScatter, group), 3 * kMicro + 0.75 * kInner);
  EXPECT_DOUBLE_EQ(price(CollectiveKind::kAllToAll, group), 3 * kMicro + 0.75 * kInner);
  EXPECT_DOUBLE_EQ(price(CollectiveKind::kBroadcast, group), kMicro + kInner);
  EXPECT_DOUBLE_EQ(price(CollectiveKind::kSend, {4, 1, 2}), kMicro + kInner);
  EXPECT_DOUBLE_EQ(price(CollectiveKind::kReceive, {4, 3, 2}), kMicro + kInner);
}

TEST(CollectiveTime, OneMemberANodeUsesTheNetworkOnly) {
  const GroupPlacement group{1, 4, 3};
  EXPECT_DOUBLE_EQ(price(CollectiveKind::kAllReduce, group), 4 * 5 * kMicro + 4.0 / 3 * kOuter);
  EXPECT_DOUBLE_EQ(price(CollectiveKind::kAllGather, group), 2 * 5 * kMicro + 2.0 / 3 * kOuter);
  EXPECT_DOUBLE_EQ(price(CollectiveKind::kAllToAll, group), 2 * 5 * kMicro + 2.0 / 3 * kOuter);
  EXPECT_DOUBLE_EQ(price(CollectiveKind::kBroadcast, group), 5 * kMicro + kOuter);
  EXPECT_DOUBLE_EQ(price(CollectiveKind::kSend, {3, 1, 2}), 5 * kMicro + kOuter);
}

// Ranks 0, 1, 4, 5, 8, 9: two a node, as they would be if they were all there is.
TEST(CollectiveTime, RunsOfRanksPayBothLevels) {
  const GroupPlacement group{0, 1, 6, 2, 4};
  EXPECT_DOUBLE_EQ(price(CollectiveKind::kAllGather, group),
                   (kMicro + 0.5 * kInner) + (2 * 5 * kMicro + 2.0 / 3 * kOuter / 2));
  // Every other rank of two nodes, in runs that share a node: as without runs.
  EXPECT_DOUBLE_EQ(price(CollectiveKind::kAllReduce, {0, 1, 8, 2, 2}),
                   price(CollectiveKind::kAllReduce, {0, 1, 8}));
}

// How many nodes runs lie in, counted member by member.
TEST(CollectiveTime, RunsThatFillNodesEvenlyAreCountedExactly) {
  for (const auto& [first, stride, size, run, jump] :
       {std::tuple{0, 1, 4, 2, 8}, {1, 1, 6, 2, 4}, {2, 1, 2, 1, 8}, {0, 2, 4, 2, 4}}) {
    const GroupPlacement group{first, stride, size, run, jump};
    std::set<int64_t> nodes;
    for (int64_t i = 0; i < size; ++i) nodes.insert(group.member(i) / 4);
    const auto n = static_cast<double>(nodes.size());
    const double members = static_cast<double>(size) / n;
    const double inside =
        members > 1 ? (members - 1) * kMicro + (members - 1) / members * kInner : 0;
    const double outside = (n - 1) * 5 * kMicro + (n - 1) / n * kOuter / members;
    EXPECT_NEAR(price(CollectiveKind::kAllGather, group), inside + outside, 1e-12) << first;
  }
}

TEST(CollectiveTime, WholeClusterPaysBothLevels) {
  const GroupPlacement group{0, 1, 12};
  EXPECT_DOUBLE_EQ(price(CollectiveKind::kAllReduce, group),
                   (6 * kMicro + 1.5 * kInner) + (4 * 5 * kMicro + 4.0 / 3 * kOuter / 4));
  EXPECT_DOUBLE_EQ(price(CollectiveKind::kAllGather, group),
                   (3 * kMicro + 0.75 * kInner) + (2 * 5 * kMicro + 2.0 / 3 * kOuter / 4));
  EXPECT_DOUBLE_EQ(price(CollectiveKind::kReduceScatter, group),
                   price(CollectiveKind::kAllGather, group));
  // 3 of 12 peers are in the node, 8 beyond it.
  EXPECT_DOUBLE_EQ(price(CollectiveKind::kAllToAll, group),
                   (3 * kMicro + 3.0 / 12 * kInner) + (8 * 5 * kMicro + 8.0 / 12 * kOuter));
  EXPECT_DOUBLE_EQ(price(CollectiveKind::kBroadcast, group),
                   (kMicro + kInner) + (5 * kMicro + kOuter));
}

TEST(CollectiveTime, StridedGroupHasFewerMembersInANode) {
  const GroupPlacement group{1, 2, 6};  // ranks 1 3 | 5 7 | 9 11
  EXPECT_DOUBLE_EQ(price(CollectiveKind::kAllReduce, group),
                   (2 * kMicro + kInner) + (4 * 5 * kMicro + 4.0 / 3 * kOuter / 2));
  EXPECT_DOUBLE_EQ(price(CollectiveKind::kAllToAll, group),
                   (kMicro + kInner / 6) + (4 * 5 * kMicro + 4.0 / 6 * kOuter));
}

TEST(CollectiveTime, UnevenGroupTakesMeanShareAndLargestCount) {
  const GroupPlacement group{2, 1, 3};  // ranks 2 3 | 4
  EXPECT_DOUBLE_EQ(price(CollectiveKind::kAllGather, group),
                   (kMicro + 0.5 * kInner) + (5 * kMicro + 0.5 * kOuter * 2 / 3));
}

TEST(CollectiveTime, ThreeLevels) {
  Json json = toy_cluster();
  json["groups"] = Json::array({group("toy", 4, 4)});
  json["levels"] =
      Json::array({level("node", 4, 100, 1), level("leaf", 8, 20, 2), level("spine", 16, 10, 5)});
  const double leaf = 12e6 / 20e9;
  EXPECT_DOUBLE_EQ(
      price(json, CollectiveKind::kAllReduce, {0, 1, 16}),
      (6 * kMicro + 1.5 * kInner) + (2 * 2 * kMicro + leaf / 4) + (2 * 5 * kMicro + kOuter / 8));
  EXPECT_DOUBLE_EQ(price(json, CollectiveKind::kAllGather, {0, 4, 4}),  // one member a node
                   (2 * kMicro + 0.5 * leaf) + (5 * kMicro + 0.5 * kOuter / 2));
  EXPECT_DOUBLE_EQ(price(json, CollectiveKind::kAllGather, {8, 1, 8}),  // one leaf
                   (3 * kMicro + 0.75 * kInner) + (2 * kMicro + 0.5 * leaf / 4));
  EXPECT_DOUBLE_EQ(price(json, CollectiveKind::kAllReduce, {3, 8, 2}),  // skips the leaf
                   2 * 5 * kMicro + kOuter);
  EXPECT_DOUBLE_EQ(price(json, CollectiveKind::kAllToAll, {0, 1, 16}),
                   (3 * kMicro + 3.0 / 16 * kInner) + (4 * 2 * kMicro + 4.0 / 16 * leaf) +
                       (8 * 5 * kMicro + 8.0 / 16 * kOuter));
}

Json curve(const char* kind, int64_t ranks, double seconds) {
  return {{"kind", kind},
          {"ranks", ranks},
          {"points",
           Json::array({Json::array({kBytes / 2, seconds}), Json::array({kBytes, 3 * seconds})})}};
}

TEST(CollectiveTime, MeasuredCurveOfKindAndRanks) {
  Json json = toy_cluster();
  json["levels"][0]["curves"] = Json::array({curve("all_reduce", 4, 1), curve("send", 2, 5)});
  EXPECT_DOUBLE_EQ(price(json, CollectiveKind::kAllReduce, {4, 1, 4}), 3);
  EXPECT_DOUBLE_EQ(price(json, CollectiveKind::kSend, {0, 1, 2}), 15);
  EXPECT_DOUBLE_EQ(price(json, CollectiveKind::kReceive, {0, 1, 2}), 15);
  Json own = json;
  own["levels"][0]["curves"].push_back(curve("receive", 2, 2));
  EXPECT_DOUBLE_EQ(price(own, CollectiveKind::kReceive, {0, 1, 2}), 6);
  // Another number of ranks, another kind, another level: the formula.
  EXPECT_EQ(price(json, CollectiveKind::kAllReduce, {0, 1, 3}),
            price(CollectiveKind::kAllReduce, {0, 1, 3}));
  EXPECT_EQ(price(json, CollectiveKind::kAllGather, {0, 1, 4}),
            price(CollectiveKind::kAllGather, {0, 1, 4}));
  EXPECT_EQ(price(json, CollectiveKind::kAllReduce, {0, 4, 3}),
            price(CollectiveKind::kAllReduce, {0, 4, 3}));
}

TEST(CollectiveTime, CurvesInEachStage) {
  Json json = toy_cluster();
  json["levels"][0]["curves"] =
      Json::array({curve("reduce_scatter", 4, 1), curve("all_gather", 4, 10),
                   curve("all_reduce", 4, 1000), curve("all_to_all", 4, 7)});
  json["levels"][1]["curves"] = Json::array({curve("all_reduce", 3, 100)});
  // All bytes inside the node; a quarter, below the first point, between nodes.
  EXPECT_DOUBLE_EQ(price(json, CollectiveKind::kAllReduce, {0, 1, 12}), 3 + 30 + 100);
  // All-to-all inside the node: four members with a third of the bytes.
  EXPECT_DOUBLE_EQ(price(json, CollectiveKind::kAllToAll, {0, 1, 12}),
                   7 + (8 * 5 * kMicro + 8.0 / 12 * kOuter));
}

TEST(CollectiveTime, GroupOutsideTheClusterIsABrokenInvariant) {
  EXPECT_THROW(price(CollectiveKind::kAllReduce, {0, 1, 13}), BrokenInvariant);
  EXPECT_THROW(price(CollectiveKind::kAllReduce, {-1, 1, 2}), BrokenInvariant);
  EXPECT_THROW(price(CollectiveKind::kAllReduce, {0, 0, 2}), BrokenInvariant);
}

// The published single-node figures that the shipped profile is made of.
TEST(CollectiveTime, ShippedNodeGivesItsMeasuredTimes) {
  const ClusterSpec node = *load_cluster("h100-sxm-80gb:8", SHARDWRIGHT_SOURCE_DIR "/profiles");
  const auto time = [&](CollectiveKind kind) {
    return collective_s(node, {kind, Axis::kTp, Bytes{512} << 20}, {0, 1, 8});
  };
  EXPECT_NEAR(time(CollectiveKind::kAllReduce), 2111e-6, 1e-6);
  EXPECT_NEAR(time(CollectiveKind::kAllGather), 1402e-6, 1e-6);
  EXPECT_NEAR(time(CollectiveKind::kAllToAll), 1490e-6, 1e-6);
}

}  // namespace
}  // namespace shardwright
