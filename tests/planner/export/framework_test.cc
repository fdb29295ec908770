// Every flag that export writes is one that the framework defines.
#include "planner/export/framework.h"

#include "planner/lint/shell.h"
#include "tests/planner/export/export_support.h"

namespace shardwright {
namespace {

KnownFlags known_of(Framework framework) {
  Result<KnownFlags> known = load_known_flags(framework, kProfiles);
  EXPECT_TRUE(known.ok()) << known.error().line();
  return *std::move(known);
}

TEST(KnownFlags, SayWhereTheyAreFrom) {
  for (Framework framework : all_frameworks()) {
    const KnownFlags known = known_of(framework);
    EXPECT_EQ(known.commit.size(), 40u) << name_of(framework);
    EXPECT_EQ(known.repository.rfind("github.com/", 0), 0u);
    EXPECT_GT(known.flags.size(), 40u) << name_of(framework);
    EXPECT_NE(known.line().find(known.commit.substr(0, 12)), std::string::npos);
  }
}

// Read by a person in megatron/training/arguments.py and transformer_config.py, and in
// torchtitan/config/configs.py, at the commits of the files.
TEST(KnownFlags, HaveTheirKinds) {
  const KnownFlags megatron = known_of(Framework::kMegatron);
  EXPECT_EQ(megatron.flags.at("--tensor-model-parallel-size"), FlagKind::kOne);
  EXPECT_EQ(megatron.flags.at("--use-distributed-optimizer"), FlagKind::kFlag);
  EXPECT_EQ(megatron.flags.at("--recompute-modules"), FlagKind::kMany);
  EXPECT_EQ(megatron.flags.at("--disable-bias-linear"), FlagKind::kFlag);
  EXPECT_EQ(megatron.flags.at("--cp-comm-type"), FlagKind::kMany);
  EXPECT_FALSE(megatron.has("--virtual-pipeline-model-parallel-size"));
  const KnownFlags titan = known_of(Framework::kTorchtitan);
  EXPECT_EQ(titan.flags.at("--parallelism.tensor_parallel_degree"), FlagKind::kOne);
  EXPECT_EQ(titan.flags.at("--compile.enable"), FlagKind::kFlag);
  EXPECT_EQ(titan.flags.at("--parallelism.no_enable_sequence_parallel"), FlagKind::kFlag);
  const KnownFlags deepspeed = known_of(Framework::kDeepSpeed);
  EXPECT_TRUE(deepspeed.has("zero_optimization.stage3_prefetch_bucket_size"));
  EXPECT_TRUE(deepspeed.has("train_micro_batch_size_per_gpu"));
  EXPECT_TRUE(known_of(Framework::kFsdp).has("fsdp_config.fsdp_reshard_after_forward"));
  EXPECT_TRUE(known_of(Framework::kNemo).has("ddp.use_distributed_optimizer"));
}

TEST(KnownFlags, AMissingFileIsAnError) {
  EXPECT_FALSE(load_known_flags(Framework::kMegatron, "/no/such/folder").ok());
}

}  // namespace
}  // namespace shardwright
