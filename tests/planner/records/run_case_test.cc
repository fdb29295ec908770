#include "planner/records/run_case.h"

#include <gtest/gtest.h>

#include <numeric>

#include "planner/records/timed_runs.h"
#include "tests/planner/records/sample.h"

namespace shardwright {
namespace {

const std::string kProfiles = SHARDWRIGHT_SOURCE_DIR "/profiles";

class RunCases : public testing::Test {
 protected:
  void SetUp() override {
    Result<RecordTables> tables = RecordTables::load(kProfiles);
    ASSERT_TRUE(tables) << tables.error().line();
    tables_ = *std::move(tables);
  }
  Result<RunCase> make(const Json& json) {
    Result<Record> record = read_record(json.dump(), "f:1");
    EXPECT_TRUE(record) << record.error().line();
    records_.push_back(std::make_unique<Record>(*std::move(record)));
    return run_case(*records_.back(), tables_, kProfiles);
  }
  std::string refusal(const Json& json) {
    const Result<RunCase> run = make(json);
    return run ? "" : run.error().line();
  }
  RecordTables tables_;
  std::vector<std::unique_ptr<Record>> records_;
};

TEST_F(RunCases, BecomesModelPlanAndCluster) {
  const Result<RunCase> run = make(sample_record());
  ASSERT_TRUE(run) << run.error().line();
  EXPECT_EQ(run->model.layers(), 32);
  EXPECT_EQ(run->plan.ranks(), 16);
  EXPECT_EQ(run->plan.microbatches(), 16);
  EXPECT_EQ(run->plan.stage_layers, (std::vector<int64_t>{16, 16}));
  EXPECT_TRUE(run->plan.split.sequence_parallel);
  EXPECT_EQ(run->cluster.num_devices(), 16);
  EXPECT_EQ(run->device, "a100-sxm-80gb");
  EXPECT_EQ(run->measured_s, 4.0);
  EXPECT_EQ(run->measured_mem_gib, 40.0);
  EXPECT_EQ(run->weak, "");
}

// Megatron-LM sums fp32 gradients, NeMo's recipes those of the weights' width.
TEST_F(RunCases, ReducesGradientsAsItsFrameworkDoes) {
  Json json = sample_record();
  EXPECT_EQ(make(json)->plan.gradient_type, DataType::kFp32);
  json["framework"] = "NeMo 2.0 (Megatron-Core)";
  EXPECT_EQ(make(json)->plan.gradient_type, DataType::kBf16);
  // Megatron-DeepSpeed: fp16 with fp16 weights, but fp32 with bf16 ones.
  json["framework"] = "Megatron-DeepSpeed";
  EXPECT_EQ(make(json)->plan.gradient_type, DataType::kFp32);
  json["precision"] = "fp16";
  EXPECT_EQ(make(json)->plan.gradient_type, DataType::kFp16);
}

// Kernels of a release that its stack does not have otherwise: NeMo's launcher kept to
// FlashAttention 2 until 24.07, Qwen3-235B's recipes to the plain all-to-all where nodes have eight
// GPUs.
TEST_F(RunCases, KnowsTheKernelsOfARelease) {
  Json json = sample_record();
  EXPECT_EQ(make(json)->flash_2, std::nullopt);
  json["framework"] = "NeMo (Megatron-Core)";
  for (const auto& [container, old] : {std::pair{"NeMo 24.03.01", true}, {"NeMo 24.07", true}}) {
    json["extra"]["container"] = container;
    EXPECT_EQ(make(json)->flash_2, old) << container;
  }
  json["extra"]["container"] = "NeMo 25.02";
  EXPECT_EQ(make(json)->flash_2, std::nullopt);

  // Its records guess ZeRO-3.
  json["parallel"]["zero"] = 3;
  EXPECT_EQ(make(json)->plan.zero, 3);
  json["framework"] = "NeMo AutoModel (PyTorch FSDP2, not Megatron)";
  EXPECT_EQ(make(json)->plan.zero, 2);
  json["parallel"]["zero"] = 1;

  json["framework"] = "Megatron-Bridge (Megatron-Core)";
  json["model"]["name"] = "Qwen3-235B-A22B";
  for (const auto& [gpu, plain] : {std::pair{"B200-SXM", true}, {"GB200", false}}) {
    json["cluster"]["gpu"] = gpu;
    EXPECT_EQ(make(json)->node_dispatch.has_value(), plain) << gpu;
  }
}

// What a printed recipe does not name is off: without a dispatcher tokens go by the plain
// all-to-all.
TEST_F(RunCases, ARecipeWithoutADispatcherUsesThePlainOne) {
  Json json = sample_record();
  Kernels stack;
  stack.node_dispatch = true;
  const auto by_node = [&] {
    const Result<RunCase> run = make(json);
    return time_inputs(*run, stack).kernels.node_dispatch;
  };
  EXPECT_TRUE(by_node());  // nothing printed: as the stack has it
  json["extra"]["perf_config"]["perf_config"] = "SOME_RECIPE";
  EXPECT_FALSE(by_node());
  json["extra"]["perf_config"]["dispatcher"] = "hybridep";
  EXPECT_TRUE(by_node());
}

TEST_F(RunCases, RefusesWhatCannotBeARun) {
  Json json = sample_record();
  json["parallel"]["dp"] = 3;
  EXPECT_NE(refusal(json).find("expected a product of 16 gpus"), std::string::npos);
  json = sample_record();
  json["batch"]["global"] = 126;
  EXPECT_NE(refusal(json).find("batch.global: found 126"), std::string::npos);
  json = sample_record();
  json["model"]["heads"] = 31;
  EXPECT_NE(refusal(json).find("parallel.tp"), std::string::npos);
  json = sample_record();
  json["model"]["layers"] = 1;
  EXPECT_NE(refusal(json).find("parallel.pp"), std::string::npos);
  json = sample_record();
  json["cluster"]["gpu"] = "TPUv4";
  EXPECT_NE(refusal(json).find("cluster.gpu: found \"TPUv4\""), std::string::npos);
  json = sample_record();
  json["precision"] = "int3";
  EXPECT_NE(refusal(json).find("precision"), std::string::npos);
  json = sample_record();
  json["recompute"] = "selective: everything";
  EXPECT_NE(refusal(json).find("recompute: found \"everything\""), std::string::npos);
  json = sample_record();
  json["parallel"]["tp"] = nullptr;
  EXPECT_NE(refusal(json).find("layout"), std::string::npos);
  json = sample_record();
  json["model"]["family"] = "hybrid-mamba-moe";
  EXPECT_NE(refusal(json).find("Mamba"), std::string::npos);
}

TEST_F(RunCases, MarksWhatIsNotPrinted) {
  Json json = sample_record();
  json["batch"]["micro"] = nullptr;
  Result<RunCase> run = make(json);
  ASSERT_TRUE(run) << run.error().line();
  EXPECT_EQ(run->weak, "micro-batch not printed");
  json = sample_record();
  json["extra"] = {{"task", "lora"}};
  run = make(json);
  ASSERT_TRUE(run) << run.error().line();
  EXPECT_NE(run->no_time, "");
  EXPECT_FALSE(run->measured_s);
}

// 4.19M tokens a step on 16 devices: tokens/s needs no convention.
TEST_F(RunCases, PrefersSecondsThenTokensThenFlops) {
  Json json = sample_record();
  json["measured"]["iteration_s"] = nullptr;
  json["measured"]["tokens_per_s_per_gpu"] = 8192;
  json["measured"]["tflops_per_gpu"] = 1;
  EXPECT_DOUBLE_EQ(*make(json)->measured_s, 128.0 * 4096 / (16 * 8192));
}

TEST_F(RunCases, ExpertsSplitTheirOwnWay) {
  Json json = sample_record();
  json["model"]["moe"] = {{"experts", 8}, {"top_k", 2}, {"ffn_hidden", 1024}, {"moe_layers", 30}};
  json["parallel"]["ep"] = 4;
  Result<RunCase> run = make(json);
  ASSERT_TRUE(run) << run.error().line();
  EXPECT_EQ(run->model.layer(1).moe.experts, 0);
  EXPECT_EQ(run->model.layer(2).moe.experts, 8);
  json["parallel"]["ep"] = 3;
  EXPECT_NE(refusal(json).find("parallel.ep"), std::string::npos);
}

TEST(UsualLayers, CountsTheEndsWhereThatDivides) {
  EXPECT_EQ(usual_layers(8, 4, false), (std::vector<int64_t>{2, 2, 2, 2}));
  EXPECT_EQ(usual_layers(70, 12, false).front(), 5);  // BLOOM: 72 over 12
  EXPECT_EQ(usual_layers(70, 12, false).back(), 5);
  EXPECT_EQ(usual_layers(61, 16, true).back(), 1);  // DeepSeek-V3 with its MTP module: 64 over 16
  const std::vector<int64_t> rest = usual_layers(60, 16, false);
  EXPECT_EQ(std::accumulate(rest.begin(), rest.end(), int64_t{0}), 60);
  EXPECT_EQ(rest.front(), 4);
  EXPECT_EQ(rest.back(), 3);
}

TEST(Layout, ExpandsRepetitions) {
  EXPECT_EQ(layers_of_layout("Et|(tt|)*3L"), (std::vector<int64_t>{1, 2, 2, 2, 0}));
  EXPECT_EQ(layers_of_layout("Et*4|t*2mL"), (std::vector<int64_t>{4, 2}));
  EXPECT_TRUE(layers_of_layout("").empty());
  EXPECT_TRUE(layers_of_layout("(t").empty());
  EXPECT_TRUE(layers_of_layout("t)").empty());
  EXPECT_TRUE(layers_of_layout("((((t*9999999)*99999999)*99)*99)*99").empty());
}

}  // namespace
}  // namespace shardwright
