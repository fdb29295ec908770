// `explain` from a written plan to tables, JSON and exit codes.
#include "tools/explain_command.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>

#include "costmodel/json.h"
#include "tools/exit_codes.h"
#include "tools/plan_command.h"

namespace shardwright {
namespace {

class ExplainCommand : public testing::Test {
 protected:
  void SetUp() override {
    ::setenv("SHARDWRIGHT_PROFILES", SHARDWRIGHT_SOURCE_DIR "/profiles", 1);
    arguments_.plan = testing::TempDir() + "explain_" + std::to_string(::getpid()) + ".json";
  }
  void TearDown() override { std::filesystem::remove(arguments_.plan); }
  void write_plan(const std::string& stack) {
    PlanArguments plan;
    plan.model = "llama-3.1-8b";
    plan.cluster = "h100-sxm-80gb:8x2";
    plan.seq = 8192;
    plan.global_batch = 32;
    plan.precision = "bf16";
    plan.stack = stack;
    plan.out = arguments_.plan;
    std::ostringstream out, err;
    plan.pins = pins_;
    ASSERT_EQ(run_plan(plan, out, err), kExitOk) << err.str();
  }
  std::vector<std::string> pins_;
  int explain() {
    out_.str("");
    err_.str("");
    return run_explain(arguments_, out_, err_);
  }
  ExplainArguments arguments_;
  std::ostringstream out_, err_;
};

TEST_F(ExplainCommand, TablesFitAScreenAndJsonAddsUp) {
  write_plan("megatron-core-2025");
  arguments_.why_not = "tp=4,pp=2";
  arguments_.sensitivity = arguments_.break_even = true;
  ASSERT_EQ(explain(), kExitOk) << err_.str();
  std::istringstream lines(out_.str());
  for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 100U) << line;
  arguments_.json = true;
  ASSERT_EQ(explain(), kExitOk) << err_.str();
  const Json json = Json::parse(out_.str(), nullptr, false);
  double sum = 0;
  for (const auto& part : json["time_parts_s"].items()) sum += part.value().get<double>();
  EXPECT_NEAR(sum, json["step_time_s"].get<double>(), 1e-9);
  EXPECT_EQ(json["why_not"]["rejected_by"], "time");
  EXPECT_EQ(json["sensitivities"].size(), 8U);  // memory, compute, two links; up and down
  EXPECT_EQ(json["break_even"].size(), 2U);
}

// Other plans are looked for within the pins that the plan was made with, and what these cost is
// said; why-not asks of all plans.
TEST_F(ExplainCommand, KeepsToTheLimitsOfThePlan) {
  pins_ = {"tp=4"};
  write_plan("megatron-core-2025");
  arguments_.why_not = "tp=1";
  arguments_.json = true;
  ASSERT_EQ(explain(), kExitOk) << err_.str();
  const Json json = Json::parse(out_.str(), nullptr, false);
  EXPECT_EQ(json["limits"], "--pin tp=4");
  ASSERT_FALSE(json["others"].empty());
  for (const Json& other : json["others"]) EXPECT_EQ(other["plan"]["tp"], 4) << other;
  // At this size tensor parallelism costs: the plan without the pin is faster.
  EXPECT_LT(json["without_constraints"]["step_time_s"], json["step_time_s"]);
  EXPECT_EQ(json["why_not"]["rejected_by"], "nothing");
  arguments_.json = false;
  ASSERT_EQ(explain(), kExitOk) << err_.str();
  EXPECT_NE(out_.str().find("Asked for: --pin tp=4"), std::string::npos) << out_.str();
}

TEST_F(ExplainCommand, OwnPlansAreExplainedAndTheRestRefused) {
  write_plan("shardwright");
  ASSERT_EQ(explain(), kExitOk) << err_.str();
  std::istringstream lines(out_.str());
  for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 100U) << line;
  arguments_.why_not = "tp=4";
  EXPECT_EQ(explain(), kExitBadInput);
  EXPECT_NE(err_.str().find("plan --stack NAME"), std::string::npos) << err_.str();
}

TEST_F(ExplainCommand, BadInputIsOneLine) {
  EXPECT_EQ(explain(), kExitBadInput);  // no such file
  write_plan("megatron-core-2025");
  arguments_.why_not = "colour=red";
  EXPECT_EQ(explain(), kExitBadInput);
  EXPECT_EQ(err_.str().rfind("command line: why-not: found \"colour=red\"", 0), 0U) << err_.str();
  EXPECT_EQ(out_.str(), "");
}

}  // namespace
}  // namespace shardwright
