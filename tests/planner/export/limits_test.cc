// What a framework cannot say is refused by the name of the choice.
#include "planner/export/limits.h"

#include <functional>

#include "tests/planner/export/export_support.h"

namespace shardwright {
namespace {

struct Refused {
  Framework framework;
  const char* model;
  const char* choice;
  std::function<void(Plan*)> change;
};

// Each row is legal for the model and breaks one limit of a plan that the framework can say.
const std::vector<Refused>& refused() {
  using F = Framework;
  static const std::vector<Refused> kRows = {
      {F::kMegatron, "llama-3.1-8b", "schedule",
       [](Plan* p) { p->schedule = ScheduleKind::kGPipe; }},
      {F::kMegatron, "llama-3.1-8b", "zero", [](Plan* p) { p->zero = 3; }},
      {F::kMegatron, "llama-3.1-8b", "activation_offload",
       [](Plan* p) { p->activation_offload = 0.5; }},
      {F::kMegatron, "llama-3.1-8b", "optimizer", [](Plan* p) { p->optimizer_offload = 0.5; }},
      {F::kMegatron, "llama-3.1-8b", "gradient_type",
       [](Plan* p) { p->gradient_type = DataType::kFp16; }},
      {F::kMegatron, "llama-3.1-8b", "recompute_modules",
       [](Plan* p) {
         p->recompute = Recompute::kSelective;
         p->recompute_modules = kRecomputeMoe;
       }},
      {F::kMegatron, "qwen3-30b-a3b", "sequence_parallel", [](Plan* p) { p->tp = 2; }},
      {F::kMegatron, "qwen3-30b-a3b", "rank_order",
       [](Plan* p) {
         p->split.ep = 2;
         p->rank_order = RankOrder::kTpCpPpDp;
       }},
      {F::kDeepSpeed, "llama-3.1-8b", "activation_offload",
       [](Plan* p) { p->activation_offload = 0.5; }},
      {F::kTorchtitan, "llama-3.1-8b", "rank_order",
       [](Plan* p) { p->rank_order = RankOrder::kTpCpPpDp; }},
      {F::kDeepSpeed, "llama-3.1-8b", "rank_order",
       [](Plan* p) { p->rank_order = RankOrder::kTpCpPpDp; }},
      {F::kTorchtitan, "llama-3.1-8b", "zero", [](Plan* p) { p->zero = 1; }},
      {F::kTorchtitan, "llama-3.1-8b", "recompute",
       [](Plan* p) {
         p->recompute = Recompute::kSelective;
         p->recompute_modules = kRecomputeMlp;
       }},
      {F::kTorchtitan, "llama-3.1-8b", "precision", [](Plan* p) { p->precision = DataType::kFp8; }},
      {F::kTorchtitan, "qwen3-30b-a3b", "ep",
       [](Plan* p) {
         p->zero = 3;
         p->tp = 2;
         p->split.ep = 2;
       }},
      {F::kDeepSpeed, "llama-3.1-8b", "zero", [](Plan* p) { p->zero = 2; }},
      {F::kDeepSpeed, "llama-3.1-8b", "zero", [](Plan* p) { p->zero = 3; }},
      {F::kDeepSpeed, "qwen3-30b-a3b", "ep", [](Plan* p) { p->split.ep = 2; }},
      {F::kFsdp, "llama-3.1-8b", "pp", [](Plan* p) { p->zero = 3; }},
      {F::kFsdp, "qwen3-30b-a3b", "ep", [](Plan* p) { p->split.ep = 2; }},
      {F::kNemo, "llama-3.1-8b", "gradient_type",
       [](Plan* p) { p->gradient_type = DataType::kBf16; }},
  };
  return kRows;
}

bool names(const std::vector<Rejection>& rejections, const std::string& choice) {
  return std::any_of(rejections.begin(), rejections.end(),
                     [&](const Rejection& r) { return r.rule == choice && !r.what.empty(); });
}

TEST(Limits, NameTheChoiceThatCannotBeSaid) {
  for (const Refused& row : refused()) {
    const ModelSpec model = shipped_model(row.model);
    Plan plan = plain_plan(model, 4, 1, 2);
    plan.overlap.gradients = plan.overlap.parameters = false;
    row.change(&plan);
    ASSERT_TRUE(check_plan(model, plan.ranks(), plan).empty())
        << row.choice << " " << check_plan(model, plan.ranks(), plan).front().line();
    EXPECT_TRUE(names(check_expressible(row.framework, model, plan), row.choice))
        << name_of(row.framework) << " " << row.choice;
  }
}

// A schedule that a framework does not know by name is not expressible, whichever will be added.
TEST(Limits, PlainPlansAreExpressible) {
  const ModelSpec model = shipped_model("llama-3.1-8b");
  for (Framework framework :
       {Framework::kMegatron, Framework::kNemo, Framework::kTorchtitan, Framework::kDeepSpeed}) {
    const Plan plan = plain_plan(model, 4, 1, 2);
    for (const Rejection& rejection : check_expressible(framework, model, plan)) {
      ADD_FAILURE() << name_of(framework) << ": " << rejection.line();
    }
  }
  Plan plan = plain_plan(model, 8, 1, 1);
  plan.zero = 3;
  EXPECT_TRUE(check_expressible(Framework::kFsdp, model, plan).empty());
}

TEST(Limits, KvHeadsBoundTorchtitansTp) {
  // 8 KV heads; a model of 6 under tp 4 breaks our own rule too, but the framework's is named.
  ModelSpec model = shipped_model("llama-3.1-8b");
  model.kinds[0].attention.kv_heads = 2;
  Plan plan = plain_plan(model, 2, 4, 1);
  plan.zero = 3;
  EXPECT_TRUE(names(check_expressible(Framework::kTorchtitan, model, plan), "tp"));
}

// Reading a job is less strict than writing one: what code or an older version can do is no fault.
TEST(Limits, OfExportAreNotHeldAgainstJobs) {
  const ModelSpec model = shipped_model("llama-3.1-8b");
  Plan plan = plain_plan(model, 8, 1, 1);
  plan.zero = 3;
  plan.master_weights = false;
  EXPECT_TRUE(names(check_expressible(Framework::kTorchtitan, model, plan), "gradient_type"));
  EXPECT_FALSE(names(check_runnable(Framework::kTorchtitan, model, plan), "gradient_type"));
}

}  // namespace
}  // namespace shardwright
