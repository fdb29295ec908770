#include "tools/validate_command.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "costmodel/json.h"

namespace shardwright {
namespace {

// Nine rows: two runs, one printed twice, six refused for six reasons, one of them no JSON at all.
const std::string kMixed = SHARDWRIGHT_SOURCE_DIR "/tests/tools/records/mixed.jsonl";

class Validate : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(::setenv("SHARDWRIGHT_PROFILES", SHARDWRIGHT_SOURCE_DIR "/profiles", 1), 0);
  }
  int run(const std::string& path, bool json) {
    ValidateArguments arguments;
    arguments.paths = {path};
    arguments.json = json;
    return run_validate(arguments, out_, err_);
  }
  std::ostringstream out_, err_;
};

// A stack file that cannot be read is bad input of the whole call, not a reason at every row.
TEST_F(Validate, RefusesAStackThatCannotBeRead) {
  ValidateArguments arguments;
  arguments.paths = {kMixed};
  for (const std::string& stack : {std::string("/nowhere/stack.json"), kMixed}) {
    arguments.time.stack = stack;
    EXPECT_EQ(run_validate(arguments, out_, err_), 2);
    EXPECT_NE(err_.str().find(stack), std::string::npos) << err_.str();
  }
  EXPECT_EQ(out_.str(), "");
}

TEST_F(Validate, RefusesRowsByNameAndNeverTheFile) {
  ASSERT_EQ(run(kMixed, true), 0) << err_.str();
  const Json json = Json::parse(out_.str());
  ASSERT_EQ(json["records"].size(), 9u);
  EXPECT_EQ(json["sources"][0]["source"], "Sample runs");
  int64_t refused = 0;
  for (const Json& row : json["records"]) {
    const bool good = row["id"].get<std::string>().starts_with("good");
    EXPECT_EQ(row["status"], good ? "ok" : "refused") << row;
    EXPECT_EQ(row["reason"].is_string(), row["id"] != "good-1" && row["id"] != "good-oom") << row;
    refused += good ? 0 : 1;
  }
  EXPECT_EQ(refused, 6);
}

TEST_F(Validate, GivesFiguresOfGoodRows) {
  ASSERT_EQ(run(kMixed, true), 0) << err_.str();
  const Json json = Json::parse(out_.str());
  const Json& good = json["records"][0];
  EXPECT_EQ(good["measured_s"], 4.0);
  EXPECT_GT(good["predicted_s"].get<double>(), 0.1);
  EXPECT_NEAR(good["error_pct"].get<double>(), 100 * (good["predicted_s"].get<double>() / 4.0 - 1),
              1e-9);
  EXPECT_EQ(good["measured_mem_gib"], 40.0);
  EXPECT_FALSE(good["predicted_oom"].get<bool>());
  const Json& oom = json["records"][1];
  EXPECT_TRUE(oom["measured_s"].is_null());
  EXPECT_TRUE(oom["measured_oom"].get<bool>());
  EXPECT_TRUE(oom["predicted_oom"].get<bool>());
}

TEST_F(Validate, ReportsTheSameFigureOnce) {
  ASSERT_EQ(run(kMixed, true), 0) << err_.str();
  const Json json = Json::parse(out_.str());
  EXPECT_EQ(json["records"][2]["reason"], "the same figure as good-1");
  EXPECT_EQ(json["sources"][0]["time"]["rows"], 1);
}

TEST_F(Validate, TableNamesReasons) {
  ASSERT_EQ(run(kMixed, false), 0) << err_.str();
  EXPECT_NE(out_.str().find("TPUv4"), std::string::npos);
  EXPECT_NE(out_.str().find("colour"), std::string::npos);
}

// With the parts of the time, and each factor named with its owner.
TEST_F(Validate, TakesARunApart) {
  ValidateArguments arguments;
  arguments.paths = {kMixed};
  arguments.time.take_apart = "good-1";
  ASSERT_EQ(run_validate(arguments, out_, err_), 0) << err_.str();
  for (const char* text : {"allocated ", "step ", "measured 4.000 s", "compute: ", "pace of "}) {
    EXPECT_NE(out_.str().find(text), std::string::npos) << text << "\n" << out_.str();
  }
  arguments.time.take_apart = "no-such-run";
  EXPECT_EQ(run_validate(arguments, out_, err_), 2);
  EXPECT_NE(err_.str().find("no-such-run"), std::string::npos) << err_.str();
}

// The parts of the time add up to the step: 1e-9 for the order of the sums. Every factor makes it
// longer, by its own share at most (1 % for the step of the derivative).
TEST_F(Validate, PartsAddUpToTheStep) {
  const std::string profiles = SHARDWRIGHT_SOURCE_DIR "/profiles";
  const auto rows = read_record_files({kMixed});
  ASSERT_TRUE(rows);
  TimeModelOptions options;
  options.take_apart = "good-1";
  const auto time = stack_time_model(profiles, options);
  ASSERT_TRUE(time);
  const auto validation = validate(*rows, profiles, *time);
  ASSERT_TRUE(validation);
  const RowReport& row = validation->rows.front();
  ASSERT_EQ(row.id, options.take_apart);
  EXPECT_NEAR(row.time_parts.total() / *row.predicted_s, 1, 1e-9);
  ASSERT_FALSE(row.rests_on.empty());
  for (const FactorUse& use : row.rests_on) {
    EXPECT_GT(use.slope, 0) << info_of(use.factor).name;
    EXPECT_LE(use.slope, 1.01) << info_of(use.factor).name;
  }
}

TEST_F(Validate, RefusesAPathThatIsNotThere) {
  EXPECT_EQ(run("/nonexistent", false), 2);
  EXPECT_NE(err_.str().find("/nonexistent"), std::string::npos);
}

}  // namespace
}  // namespace shardwright
