// Every rule has a plan that breaks it.
#include "planner/legality.h"

#include <limits>

#include "tests/planner/support.h"

namespace shardwright {
namespace {

// The message of `rule`, "" when the plan obeys it.
std::string complaint(const ModelSpec& model, int64_t devices, const Plan& plan,
                      const std::string& rule) {
  for (const Rejection& rejection : check_plan(model, devices, plan)) {
    if (rejection.rule == rule) return rejection.what;
  }
  return "";
}
std::string complaint(const ModelSpec& model, const Plan& plan, const std::string& rule) {
  return complaint(model, plan.ranks(), plan, rule);
}

class Legality : public testing::Test {
 protected:
  const ModelSpec llama_ = shipped_model("tiny-llama");
  Plan plan_ = test_plan(llama_, 2, 2, 2, 4);
};

TEST_F(Legality, ALegalPlanIsAccepted) {
  EXPECT_TRUE(check_plan(llama_, 8, plan_).empty());
  EXPECT_TRUE(check_degrees(llama_, 8, plan_).empty());
}

TEST_F(Legality, EveryRuleHasItsName) {
  EXPECT_EQ(rule_names(),
            (std::vector<std::string>{
                "degrees",    "sizes",      "ranks",        "heads",           "kv_heads",
                "ffn",        "expert_ffn", "experts",      "context",         "shards",
                "rank_order", "vocab",      "positions",    "replica_batches", "batch",
                "layers",     "schedule",   "microbatches", "memory_range",    "stage_layers"}));
}

TEST_F(Legality, Degrees) {
  plan_.dp = 0;
  EXPECT_EQ(complaint(llama_, 8, plan_, "degrees"), "dp 0 is not from 1 to 1048576");
  plan_.dp = 2;
  plan_.pp = int64_t{1} << 40;
  EXPECT_EQ(complaint(llama_, 8, plan_, "degrees"), "pp 1099511627776 is not from 1 to 1048576");
}

TEST_F(Legality, Sizes) {
  plan_.seq = -5;
  EXPECT_EQ(complaint(llama_, plan_, "sizes"), "seq -5 is not from 1 to 1073741824");
  plan_.seq = 16;
  plan_.micro_batch = 0;
  EXPECT_EQ(complaint(llama_, plan_, "sizes"), "micro_batch 0 is not from 1 to 1073741824");
}

TEST_F(Legality, Ranks) {
  EXPECT_EQ(complaint(llama_, 16, plan_, "ranks"),
            "dp 2 * tp 2 * pp 2 = 8 ranks, but 16 devices are used");
}

TEST_F(Legality, Heads) {
  EXPECT_EQ(complaint(llama_, test_plan(llama_, 1, 3, 1, 1), "heads"),
            "4 heads are not divisible by tp 3");
}

TEST_F(Legality, KvHeads) {
  EXPECT_EQ(complaint(llama_, test_plan(llama_, 1, 4, 1, 1), "kv_heads"),
            "2 KV heads are not divisible by tp 4");
  EXPECT_EQ(complaint(llama_, test_plan(llama_, 1, 4, 1, 1), "heads"), "");
}

TEST_F(Legality, LatentAttentionHasNoKvHeads) {
  ModelSpec model = llama_;
  model.kinds[0].attention.kv_lora_rank = 16;
  EXPECT_EQ(complaint(model, test_plan(model, 1, 4, 1, 1), "kv_heads"), "");
}

TEST_F(Legality, Ffn) {
  ModelSpec model = llama_;
  model.kinds[0].mlp.ffn_hidden = 351;
  EXPECT_EQ(complaint(model, plan_, "ffn"), "351 columns of the MLP are not divisible by tp 2");
}

TEST_F(Legality, ExpertFfn) {
  ModelSpec model = llama_;
  model.kinds[0].moe.experts = 4;
  model.kinds[0].moe.top_k = 2;
  model.kinds[0].moe.ffn_hidden = 7;
  EXPECT_EQ(complaint(model, plan_, "expert_ffn"),
            "7 columns of an expert are not divisible by tp 2");
  model.kinds[0].moe.ffn_hidden = 8;
  model.kinds[0].moe.shared_ffn_hidden = 9;
  EXPECT_EQ(complaint(model, plan_, "expert_ffn"),
            "9 columns of the shared experts are not divisible by tp 2");
}

// Experts lie over the ranks of a stage, ep * etp of them a copy; etp is tp when not given.
TEST_F(Legality, Experts) {
  ModelSpec model = llama_;
  model.kinds[0].moe.experts = 6;
  Plan plan = test_plan(model, 4, 1, 1, 4);
  plan.split.ep = 4;
  EXPECT_EQ(complaint(model, plan, "experts"), "6 experts are not divisible by ep 4");
  plan.split.ep = 2;
  EXPECT_EQ(complaint(model, plan, "experts"), "");
  EXPECT_EQ(complaint(
                model,
                [&] {
                  Plan wide = plan_;
                  wide.split.ep = 3;
                  return wide;
                }(),
                "experts"),
            "4 ranks of a stage are not divisible by ep * etp 6");
}

TEST_F(Legality, Context) {
  Plan plan = plan_;
  plan.seq = 100;
  plan.split.cp = 8;
  EXPECT_EQ(complaint(llama_, plan, "context"),
            "100 tokens of a sequence are not divisible by cp 8");
}

TEST_F(Legality, Shards) {
  Plan plan = plan_;
  plan.shard_group = 3;
  EXPECT_EQ(complaint(llama_, plan, "shards"), "2 replicas are not divisible by shard_group 3");
  plan.shard_group = -1;
  EXPECT_EQ(complaint(llama_, plan, "shards"), "shard_group -1 is below 0");
}

// 5 rows over 4 ranks: shares of 2, so ranks 0 and 1 have two, rank 2 one and rank 3 none.
TEST_F(Legality, Vocab) {
  ModelSpec model = llama_;
  model.vocab = 5;
  EXPECT_EQ(complaint(model, test_plan(model, 1, 4, 1, 1), "vocab"),
            "shares of 2 of 5 rows leave the last of tp 4 ranks without any");
  model.vocab = 7;
  EXPECT_EQ(complaint(model, test_plan(model, 1, 4, 1, 1), "vocab"), "");
  // Padding may leave ranks with nothing else: those here would have rows without it.
  model.vocab_multiple = 128;
  EXPECT_EQ(complaint(model, test_plan(model, 1, 4, 1, 1), "vocab"), "");
}

TEST_F(Legality, Positions) {
  const ModelSpec gpt = shipped_model("tiny-gpt");
  plan_.seq = 257;
  EXPECT_EQ(complaint(gpt, plan_, "positions"), "seq 257 is longer than the 256 learned positions");
  EXPECT_EQ(complaint(llama_, plan_, "positions"), "");  // RoPE has no table to run out of
}

TEST_F(Legality, Batch) {
  plan_.micro_batch = 3;
  EXPECT_EQ(complaint(llama_, plan_, "batch"),
            "global_batch 8 is not divisible by dp 2 * micro_batch 3");
}

// Unlike batches: dp 2 x 4 sequences in microbatches of 1.
TEST_F(Legality, ReplicaBatches) {
  plan_.replica_batches = {6, 2};
  EXPECT_TRUE(check_plan(llama_, plan_.ranks(), plan_).empty());
  plan_.replica_batches = {8};
  EXPECT_EQ(complaint(llama_, plan_, "replica_batches"), "1 entries for dp 2");
  plan_.replica_batches = {6, 3};
  EXPECT_EQ(complaint(llama_, plan_, "replica_batches"), "they sum to 9, not to global_batch 8");
  plan_.micro_batch = 2;
  plan_.replica_batches = {5, 3};
  EXPECT_EQ(complaint(llama_, plan_, "replica_batches"),
            "a replica's 5 sequences are no multiple of micro_batch 2");
  plan_.replica_batches = {6, 2};
  plan_.zero = 3;
  EXPECT_EQ(complaint(llama_, plan_, "replica_batches"),
            "zero 3 gathers weights in every microbatch");
}

// Every replica's number of microbatches suits the schedule.
TEST_F(Legality, ScheduleOfUnlikeBatches) {
  Plan plan = test_plan(llama_, 2, 1, 2, 4);
  plan.virtual_stages = 2;
  plan.stage_layers = {1, 1, 1, 1};
  plan.replica_batches = {6, 2};
  EXPECT_TRUE(check_plan(llama_, plan.ranks(), plan).empty());
  plan.replica_batches = {5, 3};
  EXPECT_EQ(complaint(llama_, plan, "schedule"), "5 microbatches are not divisible by pp 2");
}

TEST_F(Legality, Layers) {
  EXPECT_EQ(complaint(llama_, test_plan(llama_, 1, 1, 5, 1), "layers"),
            "4 layers are fewer than pp 5 stages");
}

TEST_F(Legality, Schedule) {
  EXPECT_EQ(complaint(llama_, test_plan(llama_, 1, 1, 1, 2, ScheduleKind::kGPipe), "schedule"),
            "pp 1 has no pipeline: gpipe would only hold more microbatches than 1f1b");
}

TEST_F(Legality, Microbatches) {
  plan_.global_batch = int64_t{1} << 20;
  EXPECT_EQ(complaint(llama_, plan_, "microbatches"),
            "pp 2 times 524288 microbatches are more than 262144 slots");
  // Shared equally these are as many slots as there may be; the replica that has most counts.
  plan_.global_batch = int64_t{1} << 18;
  EXPECT_EQ(complaint(llama_, plan_, "microbatches"), "");
  plan_.replica_batches = {1, (int64_t{1} << 18) - 1};
  EXPECT_EQ(complaint(llama_, plan_, "microbatches"),
            "pp 2 times 262143 microbatches are more than 262144 slots");
}

TEST_F(Legality, MemoryRange) {
  plan_.global_batch = plan_.seq = int64_t{1} << 30;
  plan_.micro_batch = int64_t{1} << 29;
  EXPECT_EQ(complaint(llama_, plan_, "memory_range"),
            "global_batch 1073741824 * seq 1073741824 tokens need more than 1e18 bytes of "
            "activations");
}

TEST_F(Legality, StageLayers) {
  plan_.stage_layers = {4};
  EXPECT_EQ(complaint(llama_, plan_, "stage_layers"), "1 entries for pp 2");
  plan_.stage_layers = {4, 0};
  EXPECT_EQ(complaint(llama_, plan_, "stage_layers"), "stage 1 has 0 of 4 layers");
  plan_.stage_layers = {3, 2};
  EXPECT_EQ(complaint(llama_, plan_, "stage_layers"), "they sum to 5, not to 4 layers");
  EXPECT_TRUE(check_degrees(llama_, 8, plan_).empty());  // stages come later
}

TEST_F(Legality, AbsurdValuesAreRefusedWithoutACrash) {
  constexpr int64_t kMin = std::numeric_limits<int64_t>::min();
  constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
  const int64_t values[] = {kMin, -1, 0, 1, 2, 3, 1 << 20, 1 << 30, int64_t{1} << 62, kMax};
  std::mt19937 random(7);
  const auto any = [&] { return values[random() % std::size(values)]; };
  const ModelSpec gpt = shipped_model("tiny-gpt");
  for (int i = 0; i < 20000; ++i) {
    Plan plan;
    plan.dp = any();
    plan.tp = any();
    plan.pp = any();
    plan.micro_batch = any();
    plan.global_batch = any();
    plan.seq = any();
    plan.stage_layers = {any(), any()};
    const auto rejections = check_plan(i % 2 == 0 ? llama_ : gpt, any(), plan);
    if (rejections.empty()) {
      EXPECT_LE(plan.ranks(), 8);
    }
  }
}

}  // namespace
}  // namespace shardwright
