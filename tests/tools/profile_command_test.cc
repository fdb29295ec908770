#include "tools/profile_command.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>

#include "costmodel/cluster_spec.h"

namespace shardwright {
namespace {

namespace fs = std::filesystem;

class ProfileCommand : public testing::Test {
 protected:
  void SetUp() override {
    fs::remove_all(folder_);
    fs::create_directories(folder_);
    options_.quick = true;
    options_.progress = [this](const std::string&) { ++points_; };
  }
  void TearDown() override { fs::remove_all(folder_); }
  int profile(const std::string& path, bool json) {
    return run_profile(options_, path, json, out_, err_);
  }

  const fs::path folder_ = fs::path(testing::TempDir()) / "profile_command_test";
  ProfileOptions options_;
  int points_ = 0;
  std::ostringstream out_, err_;
};

TEST_F(ProfileCommand, WritesAClusterAndPrintsATable) {
  const std::string path = folder_ / "machine.json";
  ASSERT_EQ(profile(path, false), 0) << err_.str();
  const Result<ClusterSpec> cluster = load_cluster(path, "/nowhere");
  ASSERT_TRUE(cluster.ok()) << cluster.error().line();
  EXPECT_NE(out_.str().find(cluster->device_of(0).name), std::string::npos);
  std::istringstream lines(out_.str());
  for (std::string line; std::getline(lines, line);) {
    if (line == path) continue;
    EXPECT_LE(line.size(), 100u) << line;
  }
  EXPECT_TRUE(err_.str().empty());
  EXPECT_GT(points_, 0);
  // The file alone: no probe and no half-written one beside it.
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_), fs::directory_iterator()), 1);
}

TEST_F(ProfileCommand, JsonSaysWhereAndHowFast) {
  const std::string path = folder_ / "machine.json";
  ASSERT_EQ(profile(path, true), 0) << err_.str();
  const Result<Json> json = parse_json(out_.str(), "stdout");
  ASSERT_TRUE(json.ok());
  EXPECT_EQ((*json)["path"], path);
  EXPECT_GT((*json)["peak_fp32_gflops"].get<double>(), 0);
  EXPECT_FALSE((*json)["active"].empty());
}

TEST_F(ProfileCommand, AnUnwritablePathIsFoundBeforeMeasuring) {
  for (const fs::path& path : {folder_, folder_ / "missing" / "machine.json"}) {
    err_.str("");
    EXPECT_EQ(profile(path, false), 2);
    EXPECT_EQ(points_, 0);
    const std::string said = err_.str();
    EXPECT_EQ(said.rfind(path.string() + ": found", 0), 0u) << said;
    EXPECT_EQ(said.find('\n'), said.size() - 1) << said;
  }
}

}  // namespace
}  // namespace shardwright
