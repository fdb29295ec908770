#include "tools/compare_command.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "costmodel/hf_config.h"
#include "executor/run/run_folder.h"
#include "planner/evaluate.h"
#include "planner/plan_json.h"

namespace shardwright {
namespace {

namespace fs = std::filesystem;

Plan two_stages() {
  Plan plan;
  plan.pp = 2;
  plan.micro_batch = 2;
  plan.global_batch = 8;
  plan.seq = 64;
  plan.stage_layers = {2, 2};
  return plan;
}

// A cluster whose devices do not overlap communication, as the CPU ranks that are really run.
ClusterSpec plain_cluster() {
  ClusterSpec cluster = load_cluster("h100-sxm-80gb:2", SHARDWRIGHT_SOURCE_DIR "/profiles").value();
  for (auto& [name, device] : cluster.devices) device.overlaps_communication = false;
  return cluster;
}

// A run folder whose measured timeline is the predicted one, but twice as slow.
class CompareCommand : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(::setenv("SHARDWRIGHT_PROFILES", SHARDWRIGHT_SOURCE_DIR "/profiles", 1), 0);
    fs::remove_all(path_);
    const std::string profiles = SHARDWRIGHT_SOURCE_DIR "/profiles";
    const ModelSpec model = load_model("tiny-gpt", profiles).value();
    const ClusterSpec cluster = plain_cluster();
    const Plan plan = two_stages();
    const PlanFile file{describe_model("tiny-gpt", profiles).value(),
                        describe_cluster("cluster.json", cluster),
                        "",
                        plan,
                        prediction_of(evaluate_plan(model, cluster, plan)),
                        std::nullopt};
    RunFolder folder = RunFolder::create(path_, plan_text(file)).value();
    write("cluster.json", to_json(cluster).dump());
    for (int step = 0; step < 3; ++step) {
      ASSERT_FALSE(folder.add({step, 5.0 - step, 1.0, 0.5}, plan.tokens_per_step()));
    }
    const Program program = compile(model, plan, options_for(cluster, plan, true));
    const StepTable table(model, program, plan.optimizer);
    Timeline slow = simulate(program, Readiness(program), price(program, table, cluster));
    for (RankTimeline& rank : slow.ranks) {
      for (EventTime& event : rank.events) {
        event.start *= 2;
        event.end *= 2;
        StepTimes steps;
        for (Nanoseconds step : event.steps) steps.push_back(2 * step);
        event.steps = steps;
      }
    }
    const RunSummary summary{2, 3, plan.tokens_per_step(), "threads", {slow.makespan()}};
    ASSERT_FALSE(folder.finish(summary, slow));
  }

  void write(const std::string& name, const std::string& text) {
    std::ofstream(path_ + "/" + name) << text;
  }
  std::string text_of(const std::string& name) { return read_file(path_ + "/" + name).value(); }
  void replace(const std::string& name, const std::string& from, const std::string& to) {
    std::string text = text_of(name);
    ASSERT_NE(text.find(from), std::string::npos) << from;
    write(name, text.replace(text.find(from), from.size(), to));
  }
  // The one line with which the folder is refused.
  std::string refusal() {
    std::ostringstream out, err;
    EXPECT_EQ(run_compare(path_, false, "", out, err), 2);
    EXPECT_EQ(out.str(), "");
    const std::string line = err.str();
    EXPECT_EQ(std::count(line.begin(), line.end(), '\n'), 1) << line;
    return line;
  }

  const std::string path_ = testing::TempDir() + "compare_command_test";
  std::ostringstream out_, err_;
};

TEST_F(CompareCommand, PrintsTablesWithinAHundredColumns) {
  ASSERT_EQ(run_compare(path_, false, "", out_, err_), 0) << err_.str();
  const std::string table = out_.str();
  EXPECT_EQ(table.find("dp1 tp1 pp2 mb2"), 0u) << table;
  EXPECT_NE(table.find("loss 5.0000 -> 3.0000"), std::string::npos) << table;
  EXPECT_NE(table.find("by instruction"), std::string::npos) << table;
  EXPECT_NE(table.find("others ("), std::string::npos) << table;
  // The last line holds a path, as long as it is.
  std::istringstream lines(table.substr(0, table.find("\nThe trace")));
  for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 100u) << line;
}

TEST_F(CompareCommand, JsonSaysHowWrongThePredictionIs) {
  ASSERT_EQ(run_compare(path_, true, "", out_, err_), 0) << err_.str();
  EXPECT_EQ(err_.str(), "");
  const Json json = parse_json(out_.str(), "output").value();
  std::vector<std::string> keys;
  for (const auto& item : json.items()) keys.push_back(item.key());
  EXPECT_EQ(keys, (std::vector<std::string>{"step_time", "memory_peak", "by_instruction", "by_step",
                                            "loss_first", "loss_last"}));
  EXPECT_NEAR(json["step_time"]["error_pct"].get<double>(), -50, 1e-9);
  EXPECT_EQ(json["memory_peak"]["error_pct"], 0);
  EXPECT_EQ(json["loss_last"], 3.0);
  for (const char* table : {"by_instruction", "by_step"}) {
    double measured_s = 0;
    for (const Json& row : json[table]) measured_s += row["measured_s"].get<double>();
    EXPECT_NEAR(measured_s, 2 * json["step_time"]["measured_s"].get<double>(), 1e-9) << table;
  }
}

TEST_F(CompareCommand, WritesATraceOfBothTimelines) {
  ASSERT_EQ(run_compare(path_, true, "", out_, err_), 0) << err_.str();
  const Json trace = parse_json(text_of("trace.json"), "trace").value();
  int processes = 0;
  for (const Json& event : trace["traceEvents"]) processes += event["name"] == "process_name";
  EXPECT_EQ(processes, 2);
  const std::string elsewhere = path_ + "/other.json";
  ASSERT_EQ(run_compare(path_, true, elsewhere, out_, err_), 0) << err_.str();
  EXPECT_EQ(text_of("other.json"), text_of("trace.json"));
}

TEST_F(CompareCommand, AnUnwritableTraceIsANoteUnlessItWasAskedFor) {
  fs::remove(path_ + "/trace.json");
  fs::create_directories(path_ + "/trace.json/full");  // a folder cannot be replaced by a file
  EXPECT_EQ(run_compare(path_, true, "", out_, err_), 0);
  EXPECT_EQ(err_.str().find("no trace written: "), 0u) << err_.str();
  std::ostringstream out, err;
  EXPECT_EQ(run_compare(path_, true, path_ + "/none/trace.json", out, err), 2);
  EXPECT_EQ(out.str(), "");
}

TEST_F(CompareCommand, ADivergedLossIsNull) {
  replace("metrics.jsonl", "\"loss\":3.0", "\"loss\":null");
  ASSERT_EQ(run_compare(path_, true, "", out_, err_), 0) << err_.str();
  EXPECT_TRUE(parse_json(out_.str(), "output").value()["loss_last"].is_null());
}

TEST_F(CompareCommand, RefusesFoldersThatAreNoFinishedRun) {
  for (const char* name : {"run.json", "timeline.json", "metrics.jsonl", "plan.json"}) {
    const std::string text = text_of(name);
    fs::remove(path_ + "/" + name);
    EXPECT_NE(refusal().find(name), std::string::npos);
    write(name, text.substr(0, text.size() / 2));
    EXPECT_NE(refusal().find(name), std::string::npos);
    write(name, "");
    EXPECT_NE(refusal().find(name), std::string::npos);
    write(name, text);
  }
  EXPECT_EQ(run_compare(path_, false, "", out_, err_), 0) << err_.str();
  EXPECT_EQ(run_compare(path_ + "/none", false, "", out_, err_), 2);
}

TEST_F(CompareCommand, RefusesPartsThatDoNotBelongTogether) {
  replace("run.json", "\"ranks\": 2", "\"ranks\": 3");
  EXPECT_NE(refusal().find("run.json: ranks: found 3, expected 2"), std::string::npos);
  replace("run.json", "\"ranks\": 3", "\"ranks\": 2");
  replace("timeline.json", "\"events\":[[", "\"events\":[[0,0,[]],[");
  EXPECT_NE(refusal().find("timeline.json: ranks[0].events: found"), std::string::npos);
  replace("timeline.json", "[[0,0,[]],[", "[[");
  replace("timeline.json", "\"rank\":1", "\"rank\":7");
  EXPECT_NE(refusal().find("timeline.json: ranks[1].rank: found 7"), std::string::npos);
}

}  // namespace
}  // namespace shardwright
