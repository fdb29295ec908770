#include "executor/run/run_folder.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace shardwright {
namespace {

namespace fs = std::filesystem;

class RunFolderTest : public ::testing::Test {
 protected:
  void SetUp() override { fs::remove_all(path_); }
  std::string path_ = ::testing::TempDir() + "run_folder_test";
};

TEST_F(RunFolderTest, RoundTrip) {
  Result<RunFolder> folder = RunFolder::create(path_ + "/deep", "{\"plan\": 1}\n");
  ASSERT_TRUE(folder.ok()) << folder.error().line();
  EXPECT_FALSE(folder->add({0, 5.5, 1.25, 0.5}, 1000));
  Timeline timeline;
  timeline.ranks.push_back({0, 123, 1, {{0, 5, {2, 3}}, {5, 9, {}}}});
  const RunSummary summary{1, 3, 1000, "threads", {9, 7, 8}};
  EXPECT_FALSE(folder->finish(summary, timeline));
  EXPECT_EQ(read_measured_timeline(path_ + "/deep").value(), timeline);
  const RunSummary read = read_run_summary(path_ + "/deep").value();
  EXPECT_EQ(read.median_makespan(), 8);
  EXPECT_EQ(read.backend, "threads");
  std::ifstream metrics(path_ + "/deep/metrics.jsonl");
  std::string line;
  std::getline(metrics, line);
  EXPECT_EQ(line, R"({"step":0,"loss":5.5,"grad_norm":1.25,"seconds":0.5,"tokens_per_s":2000.0})");
}

TEST_F(RunFolderTest, RefusesAFolderThatHoldsARun) {
  ASSERT_TRUE(RunFolder::create(path_, "{}").ok());
  EXPECT_FALSE(RunFolder::create(path_, "{}").ok());
}

TEST_F(RunFolderTest, RefusesAnUnwritablePlace) {
  const auto folder = RunFolder::create("/proc/no/run", "{}");
  ASSERT_FALSE(folder.ok());
  EXPECT_NE(folder.error().line().find("/proc/no/run"), std::string::npos);
}

TEST_F(RunFolderTest, RefusesTruncatedAndWrongFiles) {
  fs::create_directories(path_);
  const auto refused = [&](const std::string& name, const std::string& text) {
    std::ofstream(path_ + "/" + name) << text;
    return name == "run.json" ? !read_run_summary(path_).ok() : !read_measured_timeline(path_).ok();
  };
  EXPECT_TRUE(refused("run.json", ""));
  EXPECT_TRUE(refused("run.json", "[]"));
  EXPECT_TRUE(refused("run.json", R"({"schema": "shardwright.run/1"})"));
  EXPECT_TRUE(refused("timeline.json", "{"));
  EXPECT_TRUE(refused("timeline.json", R"({"schema": "shardwright.timeline/1", "ranks": [3]})"));
  EXPECT_TRUE(refused("timeline.json",
                      R"({"schema": "shardwright.timeline/1", "ranks": [{"rank": 0, "peak_bytes": 1,
                          "peak_index": 0, "events": [[5, 3, []]]}]})"));
  EXPECT_TRUE(refused("timeline.json", R"({"schema": "other", "ranks": []})"));
}

}  // namespace
}  // namespace shardwright
