// `plan` and `simulate` from arguments to output: tables, JSON, files and exit codes.
#include "tools/plan_command.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>

#include "costmodel/hf_config.h"
#include "costmodel/json.h"
#include "costmodel/parameters.h"
#include "planner/export/job_pricer.h"
#include "tools/exit_codes.h"
#include "tools/plan_table.h"
#include "tools/simulate_command.h"

namespace shardwright {
namespace {

namespace fs = std::filesystem;

struct Outcome {
  int code = 0;
  std::string out, err;
  Json json() const { return Json::parse(out, nullptr, false); }
};

class PlanCommand : public testing::Test {
 protected:
  void SetUp() override {
    ::setenv("SHARDWRIGHT_PROFILES", SHARDWRIGHT_SOURCE_DIR "/profiles", 1);
    folder_ = fs::path(testing::TempDir()) / ("plan_command_" + std::to_string(::getpid()));
    fs::create_directories(folder_);
    arguments_.model = "llama-3.1-8b";
    arguments_.cluster = "h100-sxm-80gb:8x8";
    arguments_.seq = 8192;
    arguments_.global_batch = 512;
    arguments_.precision = "bf16";
    arguments_.stack = kOwnStack;
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::string path(const std::string& name) const { return (folder_ / name).string(); }
  Outcome plan() const {
    std::ostringstream out, err;
    const int code = run_plan(arguments_, out, err);
    return {code, out.str(), err.str()};
  }
  static Outcome simulate(const SimulateArguments& arguments) {
    std::ostringstream out, err;
    const int code = run_simulate(arguments, out, err);
    return {code, out.str(), err.str()};
  }
  static void expect_lines_within(const std::string& text, size_t columns) {
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), columns) << line;
  }
  void expect_refused(const std::string& start) const {
    const Outcome outcome = plan();
    EXPECT_EQ(outcome.code, kExitBadInput);
    EXPECT_EQ(outcome.out, "");
    EXPECT_EQ(outcome.err.rfind(start, 0), 0U) << outcome.err;
    EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
  }

  fs::path folder_;
  PlanArguments arguments_;
};

TEST_F(PlanCommand, TableFitsAScreen) {
  const Outcome outcome = plan();
  EXPECT_EQ(outcome.code, kExitOk) << outcome.err;
  expect_lines_within(outcome.out, 100);
  // Over dp * tp * pp = 64: divisors of 512 / dp, two recomputations, GPipe and 1F1B, and with v
  // chunks a stage, v a divisor of its 32 / pp layers, interleaved 1F1B and breadth-first.
  EXPECT_NE(outcome.out.find("2476 candidates"), std::string::npos) << outcome.out;
}

TEST_F(PlanCommand, JsonIsBestFirstAndCountsAddUp) {
  arguments_.json = true;
  arguments_.top = 7;
  const Json json = plan().json();
  ASSERT_EQ(json["plans"].size(), 7U);
  double before = 0;
  for (const Json& one : json["plans"]) {
    EXPECT_GE(one["step_time_s"].get<double>(), before);
    before = one["step_time_s"];
    EXPECT_EQ(one["dp"].get<int>() * one["tp"].get<int>() * one["pp"].get<int>(), 64);
    EXPECT_NEAR(one["tokens_per_s"].get<double>() * before, 512 * 8192, 1);
    for (const char* key : {"micro_batch", "schedule", "recompute", "stage_layers",
                            "memory_peak_bytes", "bubble_share", "stages", "time_parts"}) {
      EXPECT_TRUE(one.contains(key)) << key;
    }
  }
  const Json& search = json["search"];
  EXPECT_EQ(search["candidates"].get<int>(),
            search["pruned_rules"].get<int>() + search["pruned_memory"].get<int>() +
                search["pruned_bound"].get<int>() + search["simulated"].get<int>());
  EXPECT_LT(search["seconds"].get<double>(), 60);
}

TEST_F(PlanCommand, WritesTheSameBytesTwiceAndSimulateAgrees) {
  arguments_.json = true;
  arguments_.cluster = "h100-sxm-80gb:8";
  arguments_.global_batch = 16;
  arguments_.out = path("a.json");
  const Json best = plan().json()["plans"][0];
  arguments_.out = path("b.json");
  plan();
  EXPECT_EQ(read_file(path("a.json")).value(), read_file(path("b.json")).value());
  SimulateArguments arguments;
  arguments.plan = path("a.json");
  arguments.trace = path("trace.json");
  arguments.json = true;
  const Outcome simulated = simulate(arguments);
  ASSERT_EQ(simulated.code, kExitOk) << simulated.err;
  EXPECT_EQ(simulated.json()["step_time_s"], best["step_time_s"]);
  EXPECT_EQ(simulated.json()["memory_peak_bytes"], best["memory_peak_bytes"]);
  EXPECT_EQ(simulated.json()["bubble_share"].get<double>(), best["bubble_share"].get<double>());
  const Json trace = read_json_file(path("trace.json")).value();
  EXPECT_GT(trace["traceEvents"].size(), 1000U);
}

// GPT-2's 50257 rows on two GPUs: 25216 on each, in the plan as in its simulation. AdamW under bf16
// holds 18 bytes of each parameter: fp32 weights, gradients and two moments, a bf16 copy.
TEST_F(PlanCommand, GpusPadTheVocabulary) {
  arguments_.json = true;
  arguments_.model = "gpt2";
  arguments_.cluster = "h100-sxm-80gb:2";
  arguments_.seq = 1024;
  arguments_.global_batch = 4;
  arguments_.pins = {"tp=2", "micro_batch=1", "recompute=none"};
  arguments_.out = path("plan.json");
  const Outcome planned = plan();
  ASSERT_EQ(planned.code, kExitOk) << planned.err;
  const Json best = planned.json()["plans"][0];
  const ModelSpec model = load_model("gpt2", SHARDWRIGHT_SOURCE_DIR "/profiles").value();
  ChunkShape half;
  half.num_layers = model.layers();
  half.embedding = half.head = true;
  half.tp = 2;
  const int64_t padded = local_parameters(model, half) + (25216 - 25129) * model.hidden;
  const Json& stage = best["stages"][0];
  EXPECT_EQ(stage["parameters_bytes"].get<int64_t>() + stage["gradients_bytes"].get<int64_t>() +
                stage["optimizer_bytes"].get<int64_t>(),
            18 * padded)
      << stage;
  SimulateArguments arguments;
  arguments.plan = path("plan.json");
  arguments.json = true;
  const Outcome simulated = simulate(arguments);
  ASSERT_EQ(simulated.code, kExitOk) << simulated.err;
  EXPECT_EQ(simulated.json()["memory_peak_bytes"], best["memory_peak_bytes"]);
}

TEST_F(PlanCommand, SimulatePrintsTablesAndPrograms) {
  arguments_.cluster = "h100-sxm-80gb:4";
  arguments_.global_batch = 8;
  arguments_.out = path("plan.json");
  ASSERT_EQ(plan().code, kExitOk);
  SimulateArguments arguments;
  arguments.plan = path("plan.json");
  const Outcome table = simulate(arguments);
  EXPECT_EQ(table.code, kExitOk) << table.err;
  expect_lines_within(table.out, 100);
  arguments.program = true;
  EXPECT_EQ(simulate(arguments).out.rfind("shardwright.program/1 ", 0), 0U);
  arguments.plan = path("none.json");
  EXPECT_EQ(simulate(arguments).code, kExitBadInput);
  arguments.plan = path("plan.json");
  arguments.trace = path("no/such/folder/trace.json");
  EXPECT_EQ(simulate(arguments).code, kExitBadInput);
}

TEST_F(PlanCommand, NothingFitsSaysWhatWould) {
  arguments_.cluster = "h100-sxm-80gb:1";
  arguments_.out = path("never.json");
  arguments_.json = true;
  const Outcome outcome = plan();
  EXPECT_EQ(outcome.code, kExitNothingFits);
  EXPECT_EQ(outcome.err.rfind("nothing fits: the smallest plan (dp1 tp1 pp1 mb1 1f1b full)", 0), 0U)
      << outcome.err;
  EXPECT_TRUE(outcome.json()["plans"].empty());
  EXPECT_GT(outcome.json()["nearest"]["missing_bytes"].get<int64_t>(), 0);
  EXPECT_GT(outcome.json()["nearest"]["devices_that_fit"].get<int64_t>(), 1);
  EXPECT_FALSE(fs::exists(path("never.json")));
}

// A framework's stack: the whole space, with its counts, its bound and the limits that were given.
TEST_F(PlanCommand, StackSearchesTheWholeSpace) {
  arguments_.stack = "";
  arguments_.maxs = {"pp=4"};
  arguments_.bans = {"zero=3", "tp=1|2"};
  const Outcome table = plan();
  EXPECT_EQ(table.code, kExitOk) << table.err;
  expect_lines_within(table.out, 100);
  EXPECT_NE(table.out.find(usual_stack(Framework::kMegatron)), std::string::npos);
  arguments_.json = true;
  arguments_.out = path("stack.json");
  const Json json = plan().json();
  ASSERT_EQ(json["plans"].size(), 5U);
  for (const Json& one : json["plans"]) {
    EXPECT_LE(one["pp"].get<int>(), 4);
    EXPECT_GE(one["tp"].get<int>(), 4);
    EXPECT_NE(one.value("zero", 0), 3);
    EXPECT_GE(one["step_time_s"].get<double>(), json["search"]["lower_bound_s"].get<double>());
  }
  const Json& search = json["search"];
  EXPECT_EQ(search["candidates"].get<int64_t>(),
            search["pruned_rules"].get<int64_t>() + search["pruned_memory"].get<int64_t>() +
                search["pruned_bound"].get<int64_t>() + search["simulated"].get<int64_t>());
  EXPECT_EQ(search["optimality_gap_pct"].get<double>(), 0);
  SimulateArguments arguments;
  arguments.plan = path("stack.json");
  arguments.json = true;
  arguments.trace = path("trace.json");
  const Json simulated = simulate(arguments).json(), &best = json["plans"][0];
  EXPECT_EQ(simulated["step_time_s"], best["step_time_s"]);
  ASSERT_EQ(simulated["ranks"].size(), best["pp"].get<size_t>());  // one of each stage
  // The trace ends with the step, in microseconds.
  double end = 0;
  const Json trace = read_json_file(path("trace.json")).value();
  for (const Json& event : trace["traceEvents"]) {
    if (event["ph"] == "X") {
      end = std::max(end, event["ts"].get<double>() + event["dur"].get<double>());
    }
  }
  EXPECT_NEAR(end * 1e-6, best["step_time_s"].get<double>(), 1e-8);
  arguments.json = false;
  expect_lines_within(simulate(arguments).out, 100);
  arguments.program = true;
  EXPECT_EQ(simulate(arguments).out.rfind("shardwright.program/1 ", 0), 0U);
}

TEST_F(PlanCommand, StackRefusesUnknownChoices) {
  arguments_.stack = usual_stack(Framework::kMegatron);
  arguments_.bans = {"colour=red"};
  expect_refused("command line: ban: found \"colour=red\", expected NAME=VALUE with dp, tp");
  arguments_.bans = {};
  arguments_.maxs = {"schedule=1f1b"};
  expect_refused("command line: max schedule");
  arguments_.maxs = {};
  arguments_.stack = "no-such-stack";
  expect_refused("no-such-stack");
}

TEST_F(PlanCommand, NothingLegalSaysWhichRules) {
  arguments_.pins = {"tp=16"};
  const Outcome outcome = plan();
  EXPECT_EQ(outcome.code, kExitNothingFits);
  EXPECT_EQ(outcome.err.rfind("no legal plan: kv_heads: 8 KV heads are not divisible by tp 16", 0),
            0U)
      << outcome.err;
}

TEST_F(PlanCommand, BadInputIsOneLine) {
  arguments_.seq = 0;
  expect_refused("command line: seq: found 0");
  arguments_.seq = 8192;
  arguments_.precision = "fp7";
  expect_refused("command line: precision: found fp7, expected fp32 or bf16");
  arguments_.precision = "bf16";
  arguments_.optimizer = "lion";
  expect_refused("command line: optimizer: found lion, expected adamw or sgd");
  arguments_.optimizer = "adamw";
  arguments_.ranks = 65;
  expect_refused("command line: ranks: found 65");
  arguments_.ranks = 0;
  arguments_.model = "no-such-model";
  expect_refused("no-such-model: found no such file");
  arguments_.model = "llama-3.1-8b";
  arguments_.out = path("no/such/folder/plan.json");
  expect_refused(arguments_.out + ": found No such file or directory");
}

TEST_F(PlanCommand, WithoutAClusterItIsThisMachine) {
  ::setenv("SHARDWRIGHT_MACHINE", path("machine.json").c_str(), 1);
  arguments_.cluster = "";
  expect_refused(path("machine.json") +
                 ": found no such file, expected a profile of this machine: "
                 "run `shardwright profile` first");
  fs::copy_file(SHARDWRIGHT_SOURCE_DIR "/profiles/clusters/h100-node.json", path("machine.json"));
  EXPECT_EQ(plan().code, kExitOk);
  ::unsetenv("SHARDWRIGHT_MACHINE");
}

TEST(PlanTable, RunsOfEqualStagesAreCounted) {
  EXPECT_EQ(stages_text({8, 8, 9, 7}), "8x2 9 7");
  EXPECT_EQ(stages_text({4}), "4");
}

}  // namespace
}  // namespace shardwright
