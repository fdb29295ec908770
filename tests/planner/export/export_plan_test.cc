// Golden texts per framework, and the words that make them up.
#include "planner/export/export_plan.h"

#include "tests/planner/export/export_support.h"

namespace shardwright {
namespace {

const std::string kGolden = SHARDWRIGHT_SOURCE_DIR "/tests/planner/golden/export/";

Export exported(const char* to, const ModelSpec& model, const Plan& plan) {
  ExportTarget target;
  EXPECT_TRUE(parse_target(to, &target));
  Result<Export> out =
      export_plan(target, model, shipped_cluster("h100-sxm-80gb:8x4"), plan, kProfiles);
  EXPECT_TRUE(out.ok()) << out.error().line();
  for (const Rejection& refused : out->refused) ADD_FAILURE() << to << ": " << refused.line();
  return *std::move(out);
}

// Predictions move when the models are fitted anew; the golden texts are about the flags.
std::string without_prediction(std::string text) {
  for (const char* mark : {"# Predicted: ", "\"Predicted: "}) {
    const size_t at = text.find(mark);
    if (at == std::string::npos) continue;
    const size_t start = at + std::string(mark).size();
    const size_t end = text.find_first_of("\"\n", start);
    text.replace(start, end - start, "...");
  }
  return text;
}

void expect_golden_files(const char* to, const ModelSpec& model, const Plan& plan,
                         const std::string& prefix) {
  for (const ExportFile& file : exported(to, model, plan).files) {
    expect_golden(kGolden + prefix + file.name, without_prediction(file.content));
  }
}

TEST(ExportGolden, DensePipeline) {
  const ModelSpec model = shipped_model("llama-3.1-8b");
  Plan plan = plain_plan(model, 2, 4, 4);
  plan.split.sequence_parallel = true;
  plan.virtual_stages = 2;
  plan.stage_layers = {3, 4, 4, 4, 4, 4, 4, 5};
  plan.zero = 1;
  plan.recompute = Recompute::kFull;
  plan.recompute_layers = 2;
  expect_golden_files("megatron", model, plan, "dense_");
  expect_golden_files("nemo", model, plan, "dense_");
  expect_golden_files("slurm", model, plan, "dense_");
}

TEST(ExportGolden, Experts) {
  const ModelSpec model = shipped_model("deepseek-v3");
  Plan plan = plain_plan(model, 8, 1, 4);
  plan.split.ep = 8;
  plan.zero = 1;
  plan.recompute = Recompute::kSelective;
  plan.recompute_modules = kRecomputeLatentUp | kRecomputeMlp;
  plan.precision = DataType::kFp8;
  plan.moment_type = DataType::kBf16;
  plan.stage_layers = {16, 15, 15, 15};
  expect_golden_files("megatron", model, plan, "experts_");
}

TEST(ExportGolden, Sharded) {
  const ModelSpec model = shipped_model("llama-3.1-8b");
  Plan plan = plain_plan(model, 16, 2, 1);
  plan.zero = 3;
  plan.shard_group = 8;
  plan.split.sequence_parallel = true;
  plan.recompute = Recompute::kFull;
  expect_golden_files("torchtitan", model, plan, "sharded_");
  plan.split.sequence_parallel = false;
  expect_golden_files("fsdp", model, plan, "sharded_");
  plan.tp = 1;
  plan.dp = 32;
  expect_golden_files("deepspeed", model, plan, "sharded_");
}

TEST(ExportGolden, TorchtitanPipeline) {
  const ModelSpec model = shipped_model("llama-3.1-8b");
  Plan plan = plain_plan(model, 8, 1, 4);
  plan.zero = 2;
  plan.stage_layers = {9, 7, 9, 7};
  expect_golden_files("torchtitan", model, plan, "pipeline_");
}

TEST(ExportGolden, DeepSpeedPipeline) {
  const ModelSpec model = shipped_model("llama-3.1-8b");
  Plan plan = plain_plan(model, 8, 1, 4);
  plan.zero = 1;
  const Export out = exported("deepspeed", model, plan);
  expect_golden(kGolden + "pipeline_ds_config.json",
                without_prediction(text_of(out, "ds_config.json")));
  // Its pipeline engine reduces gradients after the last backward.
  EXPECT_EQ(out.changed,
            (std::vector<std::string>{"overlap_gradients=false", "overlap_parameters=false"}));
}

TEST(Launch, FillsNodesOrPartsOfThem) {
  const ModelSpec model = shipped_model("llama-3.1-8b");
  const ClusterSpec cluster = shipped_cluster("h100-sxm-80gb:8x4");
  const auto of = [&](int64_t ranks) {
    const Launch launch = launch_of(cluster, plain_plan(model, ranks, 1, 1));
    return std::pair(launch.nodes, launch.per_node);
  };
  EXPECT_EQ(of(32), std::pair(int64_t{4}, int64_t{8}));
  EXPECT_EQ(of(4), std::pair(int64_t{1}, int64_t{4}));
  EXPECT_EQ(of(12), std::pair(int64_t{2}, int64_t{6}));
  EXPECT_EQ(of(1), std::pair(int64_t{1}, int64_t{1}));
}

TEST(Export, RefusesWithoutFiles) {
  const ModelSpec model = shipped_model("llama-3.1-8b");
  Plan plan = plain_plan(model, 4, 1, 2);
  plan.zero = 3;
  const Result<Export> out = export_plan({Framework::kDeepSpeed, false}, model,
                                         shipped_cluster("h100-sxm-80gb:8"), plan, kProfiles);
  ASSERT_TRUE(out.ok());
  EXPECT_TRUE(out->files.empty());
  ASSERT_FALSE(out->refused.empty());
  EXPECT_EQ(out->refused.front().rule, "zero");
}

TEST(Target, NamesAreKnown) {
  ExportTarget target;
  for (const char* name : {"megatron", "deepspeed", "torchtitan", "fsdp", "nemo", "slurm"}) {
    EXPECT_TRUE(parse_target(name, &target)) << name;
  }
  EXPECT_TRUE(target.slurm);
  EXPECT_FALSE(parse_target("keras", &target));
}

}  // namespace
}  // namespace shardwright
