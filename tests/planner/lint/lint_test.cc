// Jobs as people write them.
#include "planner/lint/lint.h"

#include "tests/planner/export/export_support.h"

namespace shardwright {
namespace {

bool says(const std::vector<std::string>& lines, const std::string& text) {
  return std::any_of(lines.begin(), lines.end(),
                     [&](const std::string& line) { return line.find(text) != std::string::npos; });
}

class Lint : public testing::Test {
 protected:
  Result<LintReport> read(const std::string& text, GivenChoices given = {}) {
    return lint({"job", text, model_, cluster_, std::move(given), kProfiles}, {});
  }
  LintReport report(const std::string& text, GivenChoices given = {}) {
    Result<LintReport> out = read(text, std::move(given));
    EXPECT_TRUE(out.ok()) << out.error().line();
    return out.ok() ? *std::move(out) : LintReport();
  }
  ModelSpec model_ = shipped_model("llama-3.1-8b");
  ClusterSpec cluster_ = shipped_cluster("h100-sxm-80gb:8x4");
};

constexpr char kMegatron[] = R"(#!/bin/bash
TP=4; PP=2
GPUS_PER_NODE=8
DISTRIBUTED_ARGS="--nproc_per_node $GPUS_PER_NODE --nnodes 4"
MODEL_ARGS=(
    --num-layers 32
    --hidden-size 4096   # as in config.json
    --num-attention-heads 32
    --swiglu --untie-embeddings-and-output-weights
)
torchrun $DISTRIBUTED_ARGS pretrain_gpt.py ${MODEL_ARGS[@]} \
    --tensor-model-parallel-size ${TP} --pipeline-model-parallel-size $PP \
    --micro-batch-size 1 --global-batch-size=128 --seq-length 8192 \
    --max-position-embeddings 8192 --bf16 --use-distributed-optimizer \
    --recompute-granularity full --recompute-method uniform --recompute-num-layers 1 \
    --frobnicate 3
)";

TEST_F(Lint, MegatronScript) {
  const LintReport r = report(kMegatron);
  EXPECT_EQ(r.job.framework, Framework::kMegatron);
  EXPECT_EQ(r.job.plan.dp, 4);  // 32 / (4 * 2)
  EXPECT_EQ(r.job.plan.tp, 4);
  EXPECT_EQ(r.job.plan.pp, 2);
  EXPECT_EQ(r.job.plan.zero, 1);
  EXPECT_EQ(r.job.plan.global_batch, 128);
  EXPECT_EQ(r.job.plan.stage_layers, (std::vector<int64_t>{16, 16}));
  EXPECT_EQ(r.job.unknown, (std::vector<std::string>{"--frobnicate"}));
  EXPECT_TRUE(r.fine());
  // Sequences of 8k in microbatches of one: whole recomputation is not needed on 80 GB.
  EXPECT_TRUE(std::any_of(r.waste.begin(), r.waste.end(), [](const Waste& waste) {
    return waste.what.find("full recomputation") != std::string::npos;
  }));
  ASSERT_FALSE(r.changes.empty());
  for (const Change& change : r.changes) EXPECT_LT(change.step_s, r.predicted->time.step_s);
  EXPECT_TRUE(std::is_sorted(r.changes.begin(), r.changes.end(),
                             [](const Change& a, const Change& b) { return a.step_s < b.step_s; }));
}

TEST_F(Lint, MegatronContradictionsAreNamed) {
  const std::string base =
      "torchrun --nnodes 4 --nproc-per-node 8 pretrain_gpt.py --micro-batch-size 1 "
      "--global-batch-size 128 --seq-length 4096 ";
  EXPECT_TRUE(says(report(base + "--bf16 --fp16").job.contradictions, "--fp16 excludes --bf16"));
  EXPECT_TRUE(says(report(base + "--overlap-param-gather").job.contradictions,
                   "--overlap-param-gather needs --overlap-grad-reduce"));
  EXPECT_TRUE(says(report(base + "--num-layers 24").job.contradictions, "--num-layers 24, but"));
  EXPECT_TRUE(says(report(base + "--seq-length 2048").job.contradictions, "given twice"));
  EXPECT_TRUE(
      says(report(base + "--pipeline-model-parallel-size 3").job.illegal, "does not divide"));
  EXPECT_FALSE(report(base + "--tensor-model-parallel-size 16").fine());  // 8 KV heads
}

TEST_F(Lint, WhatDoesNotFitGetsAChangeThatFits) {
  const LintReport r = report(
      "torchrun --nnodes 4 --nproc-per-node 8 pretrain_gpt.py --bf16 --micro-batch-size 4 "
      "--global-batch-size 512 --seq-length 8192 --tensor-model-parallel-size 2");
  ASSERT_TRUE(r.predicted.has_value());
  EXPECT_FALSE(r.predicted->fits());
  EXPECT_FALSE(r.fine());
  ASSERT_FALSE(r.changes.empty());
  for (const Change& change : r.changes) {
    EXPECT_LE(change.device_bytes, r.predicted->device_bytes) << change.what;
  }
}

TEST_F(Lint, WhatTheScriptDoesNotSetIsAnError) {
  const Result<LintReport> r = read("pretrain_gpt.py --tensor-model-parallel-size $TP --bf16");
  ASSERT_FALSE(r.ok());
  EXPECT_NE(r.error().line().find("$TP"), std::string::npos) << r.error().line();
}

TEST_F(Lint, DeepSpeedJson) {
  const std::string json = R"({"train_batch_size": 128, "train_micro_batch_size_per_gpu": 1,
    "zero_optimization": {"stage": 3, "stage3_prefetch_bucket_size": 5e7, "typo": 1},
    "bf16": {"enabled": true}, "frobnicate": 1})";
  const Result<LintReport> without = read(json);
  ASSERT_FALSE(without.ok());
  EXPECT_NE(without.error().line().find("--set seq"), std::string::npos);
  const LintReport r = report(json, {{"seq", "4096"}});
  EXPECT_EQ(r.job.plan.zero, 3);
  EXPECT_EQ(r.job.plan.dp, 32);
  EXPECT_EQ(r.job.plan.microbatches(), 4);
  EXPECT_EQ(r.job.unknown, (std::vector<std::string>{"zero_optimization.typo", "frobnicate"}));
  const LintReport pipe = report(json, {{"seq", "4096"}, {"pp", "4"}});
  ASSERT_FALSE(pipe.rejections.empty());
  EXPECT_EQ(pipe.rejections.front().rule, "zero");
}

TEST_F(Lint, TorchtitanOptions) {
  const LintReport r = report(
      "torchrun --nnodes 4 --nproc_per_node 8 -m torchtitan.train --module llama3 --config "
      "llama3_70b --parallelism.tensor-parallel-degree 2 --training.max_context_length 8192 "
      "--training.num_tokens_per_train_step 1048576 activation-checkpoint:full");
  EXPECT_EQ(r.job.framework, Framework::kTorchtitan);
  EXPECT_EQ(r.job.plan.dp, 16);
  EXPECT_EQ(r.job.plan.zero, 3);
  EXPECT_EQ(r.job.plan.recompute, Recompute::kFull);
  EXPECT_TRUE(r.job.plan.split.sequence_parallel);
  EXPECT_TRUE(says(r.job.contradictions, "--config llama3_70b, but"));
}

TEST_F(Lint, NoJobIsAnError) {
  for (const char* text : {"", "hello world", "{", "[1]", "fsdp_config: &x 1\n", "run 'open"}) {
    EXPECT_FALSE(read(text, {{"seq", "64"}}).ok()) << text;
  }
}

}  // namespace
}  // namespace shardwright
