#include "tools/clusters_command.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "costmodel/cluster_spec.h"

namespace shardwright {
namespace {

class Clusters : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(::setenv("SHARDWRIGHT_PROFILES", SHARDWRIGHT_SOURCE_DIR "/profiles", 1), 0);
  }
  int show(const std::string& text, bool json) { return run_clusters_show(text, json, out_, err_); }
  size_t longest_line() const {
    std::istringstream lines(out_.str());
    size_t longest = 0;
    for (std::string line; std::getline(lines, line);) longest = std::max(longest, line.size());
    return longest;
  }

  std::ostringstream out_, err_;
};

TEST_F(Clusters, ShowPrintsAlignedTables) {
  ASSERT_EQ(show("mixed-a100-h100", false), 0) << err_.str();
  EXPECT_EQ(out_.str(),
            "mixed-a100-h100: 32 devices\n"
            "\n"
            "group of       nodes  devices a node  ranks\n"
            "a100-sxm-80gb      2               8   0-15\n"
            "h100-sxm-80gb      2               8  16-31\n"
            "\n"
            "device         memory GiB  GB/s  fp32 TFLOP/s  bf16 TFLOP/s  fp8 TFLOP/s\n"
            "a100-sxm-80gb          80  2039          19.5           312            -\n"
            "h100-sxm-80gb          80  3350            67           989         1979\n"
            "\n"
            "level   joins   GB/s  latency us  topology  curves\n"
            "nvlink      8    222        1.57    switch       0\n"
            "leaf       16   23.5           5    switch       0\n"
            "spine      32  11.75           7    switch       0\n"
            "\n"
            "GB/s of a level: per device and direction.\n");
}

TEST_F(Clusters, ShowAsJsonReadsBack) {
  ASSERT_EQ(show("h100-sxm-80gb:8x4", true), 0) << err_.str();
  const Result<Json> json = parse_json(out_.str(), "out");
  ASSERT_TRUE(json.ok()) << json.error().line();
  const Result<ClusterSpec> cluster = read_cluster(*json, "out", "/no/profiles");
  ASSERT_TRUE(cluster.ok()) << cluster.error().line();
  EXPECT_EQ(cluster->num_devices(), 32);
}

TEST_F(Clusters, ShowFitsInAHundredColumns) {
  ASSERT_EQ(show("h200-sxm-141gb:8x131072", false), 0) << err_.str();
  EXPECT_LE(longest_line(), 100u);
}

TEST_F(Clusters, ShowOfBadInputIsOneLine) {
  EXPECT_EQ(show("h100-sxm-80gb:8x", false), 2);
  EXPECT_EQ(out_.str(), "");
  EXPECT_EQ(err_.str(),
            "command line: cluster: found \"h100-sxm-80gb:8x\", expected DEVICE:PER_NODE or "
            "DEVICE:PER_NODExNODES with at most 1048576 devices\n");
}

TEST_F(Clusters, ListNamesWhatIsShipped) {
  ASSERT_EQ(run_clusters_list(false, out_, err_), 0) << err_.str();
  EXPECT_NE(out_.str().find("\nh200-sxm-141gb"), std::string::npos);
  EXPECT_NE(out_.str().find("\nmixed-a100-h100"), std::string::npos);
  EXPECT_LE(longest_line(), 100u);
}

TEST_F(Clusters, ListAsJson) {
  ASSERT_EQ(run_clusters_list(true, out_, err_), 0) << err_.str();
  const Result<Json> json = parse_json(out_.str(), "out");
  ASSERT_TRUE(json.ok()) << json.error().line();
  EXPECT_EQ((*json)["devices"][0], "a100-pcie-80gb");
  EXPECT_EQ((*json)["clusters"][0], "h100-node");
}

}  // namespace
}  // namespace shardwright
