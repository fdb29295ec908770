// plan.json: bytes that survive a round trip, every contradiction refused, inputs that changed
// refused by name.
#include "planner/plan_json.h"

#include <unistd.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "planner/digest.h"
#include "tests/planner/support.h"

namespace shardwright {
namespace {

namespace fs = std::filesystem;

PlanFile plan_file(const ModelSpec& model, const Plan& plan) {
  const RankedPlan ranked = evaluate_plan(model, test_cluster(8, 32, true), plan);
  return {{"models/m.json", "fnv1a64:0123456789abcdef"},
          {"h100-sxm-80gb:8", "fnv1a64:fedcba9876543210"},
          "",
          ranked.plan,
          prediction_of(ranked),
          std::nullopt};
}

Result<PlanFile> read_text_of_plan(const std::string& text) {
  const Result<Json> json = parse_json(text, "plan.json");
  if (!json.ok()) return json.error();
  return read_plan(*json, "plan.json");
}

// FNV-1a's published test vectors.
TEST(Digest, IsFnv1a) {
  EXPECT_EQ(digest_of(""), "fnv1a64:cbf29ce484222325");
  EXPECT_EQ(digest_of("a"), "fnv1a64:af63dc4c8601ec8c");
  EXPECT_EQ(digest_of("foobar"), "fnv1a64:85944171f73967e8");
}

TEST(PlanJson, RoundTripsByteForByte) {
  std::mt19937 random(11);
  const ModelSpec gpt = shipped_model("tiny-gpt"), llama = shipped_model("tiny-llama");
  for (int i = 0; i < 40; ++i) {
    const ModelSpec& model = i % 2 == 0 ? gpt : llama;
    Plan plan = random_plan(model, &random);
    if (i % 4 >= 2) {
      plan.replica_batches.assign(static_cast<size_t>(plan.dp), plan.global_batch / plan.dp);
      plan.replica_batches.front() += plan.micro_batch;
      plan.global_batch += plan.micro_batch;
    }
    PlanFile file = plan_file(model, plan);
    if (i % 3 == 0) {
      file.limits.emplace();
      file.limits->pins = {"tp=1|2|4"};
      file.limits->headroom = 0.05;
    }
    const std::string text = plan_text(file);
    const Result<PlanFile> read = read_text_of_plan(text);
    ASSERT_TRUE(read.ok()) << read.error().line() << text;
    EXPECT_EQ(plan_text(*read), text);
    EXPECT_EQ(read->model, file.model);
    EXPECT_EQ(read->predicted, file.predicted);
    EXPECT_EQ(read->limits, file.limits);
  }
}

// tp fastest, then dp, then pp.
TEST(PlanJson, GroupsListTheRanks) {
  Plan plan;
  plan.tp = plan.dp = plan.pp = 2;
  EXPECT_EQ(groups_json(plan).dump(),
            "{\"tp\":[[0,1],[2,3],[4,5],[6,7]],\"dp\":[[0,2],[1,3],[4,6],[5,7]],"
            "\"pp\":[[0,4],[1,5],[2,6],[3,7]]}");
  plan.dp = 1;
  EXPECT_EQ(groups_json(plan).dump(), "{\"tp\":[[0,1],[2,3]],\"pp\":[[0,2],[1,3]]}");
}

// tp fastest, then pp, then dp.
TEST(PlanJson, GroupsFollowTheOrderOfAxes) {
  Plan plan;
  plan.tp = plan.dp = plan.pp = 2;
  plan.rank_order = RankOrder::kTpCpPpDp;
  EXPECT_EQ(groups_json(plan).dump(),
            "{\"tp\":[[0,1],[2,3],[4,5],[6,7]],\"dp\":[[0,4],[1,5],[2,6],[3,7]],"
            "\"pp\":[[0,2],[1,3],[4,6],[5,7]]}");
}

TEST(PlanJson, ManyRanksAreDescribedByTheirRule) {
  Plan plan;
  plan.tp = 8;
  plan.dp = 16;
  plan.pp = 2;
  EXPECT_EQ(groups_json(plan).dump(),
            "{\"tp\":\"32 groups of 8 ranks, 1 apart\",\"dp\":\"16 groups of 16 ranks, 8 apart\","
            "\"pp\":\"128 groups of 2 ranks, 128 apart\"}");
  const ModelSpec model = shipped_model("tiny-gpt");
  const PlanFile file = plan_file(model, test_plan(model, 64, 2, 2, 2));
  const Result<PlanFile> read = read_text_of_plan(plan_text(file));
  ASSERT_TRUE(read.ok()) << read.error().line();
  EXPECT_EQ(plan_text(*read), plan_text(file));
}

struct Edit {
  const char* name;
  const char* pointer;  // where the JSON is changed
  const char* value;    // "" removes the key
  const char* error;
};
const Edit kEdits[] = {
    {"schema", "/schema", "\"shardwright.plan/9\"",
     "plan.json: schema: found \"shardwright.plan/9\", expected \"shardwright.plan/1\""},
    {"unknown_key", "/speed", "1", "plan.json: speed"},
    {"unknown_choice", "/plan/zp", "2", "plan.json: plan.zp"},
    {"unknown_input", "/inputs/data", "\"x\"", "plan.json: inputs.data"},
    {"missing_model", "/inputs/model", "", "plan.json: inputs.model: found nothing"},
    {"missing_groups", "/groups", "", "plan.json: groups: found nothing"},
    {"type", "/plan/dp", "\"two\"", "plan.json: plan.dp: found \"two\""},
    {"fraction", "/plan/dp", "2.5", "plan.json: plan.dp: found 2.5"},
    {"zero", "/plan/tp", "0", "plan.json: plan.tp: found 0"},
    {"huge", "/plan/pp", "1e30", "plan.json: plan.pp"},
    {"schedule", "/plan/schedule", "\"zigzag\"",
     "plan.json: plan.schedule: found \"zigzag\", expected gpipe, 1f1b, "},
    {"recompute", "/plan/recompute", "\"half\"", "plan.json: plan.recompute"},
    {"precision", "/plan/precision", "\"fp1\"", "plan.json: plan.precision"},
    {"optimizer", "/plan/optimizer", "\"lion\"", "plan.json: plan.optimizer"},
    {"ranks", "/ranks", "16", "plan.json: ranks: found 16, expected dp 2 * tp 2 * pp 2"},
    {"degrees", "/plan/tp", "4", "plan.json: ranks: found 8, expected dp 2 * tp 4 * pp 2"},
    {"swapped_degrees", "/groups/dp", "[[0,1],[2,3],[4,5],[6,7]]", "plan.json: groups"},
    {"microbatches", "/plan/microbatches", "5",
     "plan.json: plan.microbatches: found 5, expected global_batch 8 / (dp 2 * micro_batch 1)"},
    {"stages", "/plan/stage_layers", "[4]", "plan.json: plan.stage_layers: found 1 entries"},
    {"stage_type", "/plan/stage_layers", "[2,\"2\"]", "plan.json: plan.stage_layers[1]"},
    {"peak", "/predicted/stages/0/peak_bytes", "7",
     "plan.json: predicted.stages[0].peak_bytes: found 7, expected the sum of its parts"},
    {"negative", "/predicted/step_time_s", "-1", "plan.json: predicted.step_time_s"},
    {"no_stages", "/predicted/stages", "[]", "plan.json: predicted.stages"},
    {"stage_key", "/predicted/stages/1/extra", "1", "plan.json: predicted.stages[1].extra"},
    {"part_key", "/predicted/time_parts/extra", "1", "plan.json: predicted.time_parts.extra"},
};
class PlanJsonRejects : public testing::TestWithParam<Edit> {};

TEST_P(PlanJsonRejects, WithOneLine) {
  const Edit& edit = GetParam();
  const ModelSpec model = shipped_model("tiny-llama");
  Json json = to_json(plan_file(model, test_plan(model, 2, 2, 2, 4)));
  const Json::json_pointer at(edit.pointer);
  if (*edit.value == '\0') {
    json[at.parent_pointer()].erase(at.back());
  } else {
    json[at] = Json::parse(edit.value);
  }
  const Result<PlanFile> read = read_text_of_plan(json.dump());
  ASSERT_FALSE(read.ok());
  EXPECT_EQ(read.error().line().rfind(edit.error, 0), 0U) << read.error().line();
}
INSTANTIATE_TEST_SUITE_P(All, PlanJsonRejects, testing::ValuesIn(kEdits),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(PlanJson, TruncatedAtAnyPlaceIsRefused) {
  const ModelSpec model = shipped_model("tiny-gpt");
  const std::string text = plan_text(plan_file(model, test_plan(model, 1, 2, 2, 2)));
  for (size_t length = 0; length + 2 < text.size(); ++length) {
    EXPECT_FALSE(read_text_of_plan(text.substr(0, length)).ok());
  }
}

// A folder with a model, a cluster and a plan for them; the plan names its inputs relative to it.
class LoadPlan : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(testing::TempDir()) / ("load_plan_" + std::to_string(::getpid()));
    fs::create_directories(folder_);
    model_text_ = read_text(std::string(kProfiles) + "/models/tiny-gpt.json");
    write("model.json", model_text_);
    write("cluster.json", to_json(test_cluster(4, 1, false)).dump());
    const ModelSpec model = shipped_model("tiny-gpt");
    const Result<InputFile> model_file = describe_model(path("model.json"), "");
    const Result<ClusterSpec> cluster = load_cluster(path("cluster.json"), kProfiles);
    ASSERT_TRUE(model_file.ok() && cluster.ok());
    const RankedPlan ranked = evaluate_plan(model, *cluster, test_plan(model, 2, 1, 2, 4));
    file_.model = {"model.json", model_file->digest};
    file_.cluster = {"cluster.json", describe_cluster("cluster.json", *cluster).digest};
    file_.plan = ranked.plan;
    file_.predicted = prediction_of(ranked);
    write("plan.json", plan_text(file_));
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::string path(const std::string& name) const { return (folder_ / name).string(); }
  void write(const std::string& name, const std::string& text) {
    ASSERT_FALSE(write_file_atomically(path(name), text).has_value());
  }
  std::string error() const {
    const Result<LoadedPlan> loaded = load_plan(path("plan.json"), kProfiles);
    return loaded.ok() ? "" : loaded.error().line();
  }

  fs::path folder_;
  std::string model_text_;
  PlanFile file_;
};

TEST_F(LoadPlan, FindsItsInputsBesideThePlan) {
  const Result<LoadedPlan> loaded = load_plan(path("plan.json"), kProfiles);
  ASSERT_TRUE(loaded.ok()) << loaded.error().line();
  EXPECT_EQ(loaded->model.layers(), 4);
  EXPECT_EQ(loaded->cluster.num_devices(), 4);
  EXPECT_EQ(loaded->plan.label(), file_.plan.label());
  EXPECT_EQ(loaded->text, plan_text(file_));
}

// A plan for GPUs and this project's own executor comes with the vocabulary as that holds it.
TEST_F(LoadPlan, GpusHoldAPaddedVocabulary) {
  EXPECT_EQ(load_plan(path("plan.json"), kProfiles)->model.vocab_multiple, 1);
  const ClusterSpec gpus = test_cluster(4, 1, true);
  write("cluster.json", to_json(gpus).dump());
  file_.cluster = describe_cluster("cluster.json", gpus);
  write("plan.json", plan_text(file_));
  EXPECT_EQ(load_plan(path("plan.json"), kProfiles)->model.vocab_multiple, kPaddedVocabMultiple);
  file_.stack = "some framework's";
  write("plan.json", plan_text(file_));
  EXPECT_EQ(load_plan(path("plan.json"), kProfiles)->model.vocab_multiple, 1);
}

TEST_F(LoadPlan, AChangedModelIsRefusedByName) {
  write("model.json", model_text_ + "\n");
  EXPECT_EQ(error(), path("model.json") + ": digest: found " + digest_of(model_text_ + "\n") +
                         ", expected " + file_.model.digest +
                         " (the plan was made for another file)");
}

TEST_F(LoadPlan, AChangedClusterIsRefusedByName) {
  write("cluster.json", to_json(test_cluster(8, 1, false)).dump());
  EXPECT_EQ(error().rfind(path("cluster.json") + ": digest: found fnv1a64:", 0), 0U) << error();
}

// The figures count, not the way they are written.
TEST_F(LoadPlan, AReformattedClusterIsTheSame) {
  write("cluster.json", to_json(test_cluster(4, 1, false)).dump(4));
  EXPECT_EQ(error(), "");
}

TEST_F(LoadPlan, AMissingModelIsRefused) {
  fs::remove(folder_ / "model.json");
  EXPECT_EQ(error().rfind("model.json: found no such file", 0), 0U) << error();
}

TEST_F(LoadPlan, AnEditedPlanPassesTheRulesAgain) {
  file_.plan.stage_layers = {3, 2};
  write("plan.json", plan_text(file_));
  EXPECT_EQ(error(), path("plan.json") +
                         ": plan: found they sum to 5, not to 4 layers, expected the rule "
                         "stage_layers");
  file_.plan.stage_layers = {2, 2};
  file_.plan.seq = 300;
  write("plan.json", plan_text(file_));
  EXPECT_NE(error().find("longer than the 256 learned positions"), std::string::npos) << error();
}

TEST_F(LoadPlan, MoreRanksThanDevicesAreRefused) {
  file_.plan.dp = 4;
  file_.plan.global_batch = 16;
  write("plan.json", plan_text(file_));
  EXPECT_EQ(error(),
            path("plan.json") + ": ranks: found 8, expected at most the 4 devices of the cluster");
}

TEST_F(LoadPlan, WhatIsNoPlanIsRefused) {
  write("plan.json", "[1,2");
  EXPECT_NE(error(), "");
  write("plan.json", "[]");
  EXPECT_NE(error(), "");
  fs::remove(folder_ / "plan.json");
  EXPECT_NE(error(), "");
}

}  // namespace
}  // namespace shardwright
