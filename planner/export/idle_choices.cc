#include "planner/export/idle_choices.h"

#include <algorithm>

namespace shardwright {
namespace {

bool has_experts(const ModelSpec& model) {
  return std::any_of(model.kinds.begin(), model.kinds.end(),
                     [](const LayerSpec& kind) { return kind.moe.experts > 0; });
}

void reset_split(const ModelSpec& model, Plan* plan) {
  Split& split = plan->split;
  if (plan->tp == 1) split.sequence_parallel = false;
  if (split.cp == 1) split.cp_kind = CpKind::kRing;
  if (!has_experts(model)) {
    split.ep = 1;
    split.etp = 0;
  }
  if (split.etp == plan->tp) split.etp = 0;
}

void reset_recompute(Plan* plan) {
  if (plan->recompute != Recompute::kSelective) plan->recompute_modules = 0;
  if (plan->recompute == Recompute::kSelective && plan->recompute_modules == 0) {
    plan->recompute = Recompute::kNone;
  }
  const auto most = std::max_element(plan->stage_layers.begin(), plan->stage_layers.end());
  if (plan->recompute != Recompute::kFull ||
      (most != plan->stage_layers.end() && plan->recompute_layers >= *most)) {
    plan->recompute_layers = 0;
  }
}

void run_by_megatron(const Plan& plan, Overlap* overlap) {
  const bool looped = plan.virtual_stages > 1;
  if (!looped || plan.pp == 2) overlap->pipeline = looped;
  overlap->parameters = overlap->parameters && (overlap->gradients || plan.zero == 0);
  overlap->tensor = overlap->tensor && plan.split.sequence_parallel;
  const bool expert_overlap = (looped || plan.pp == 1) && plan.recompute != Recompute::kFull &&
                              (plan.recompute_modules & kRecomputeMoe) == 0;
  overlap->experts = overlap->experts && expert_overlap;
}

// overlap_comm covers gradients from ZeRO-1 on, and weights with ZeRO-3 only; the pipeline engine
// reduces after its last backward (deepspeed/runtime/pipe/engine.py).
void run_by_deepspeed(const Plan& plan, Overlap* overlap) {
  if (plan.zero == 0 || plan.pp > 1) overlap->gradients = false;
  overlap->parameters = plan.zero == 3 && overlap->gradients;
  overlap->pipeline = false;
  overlap->experts = false;
}

// Sharded weights are fetched ahead and their gradients reduced behind, always.
void run_by_fsdp(const Plan& plan, bool can_overlap_tensor, Overlap* overlap) {
  overlap->gradients = overlap->parameters = true;
  overlap->pipeline = plan.virtual_stages > 1 || splits_backward(plan.schedule);
  overlap->tensor = overlap->tensor && can_overlap_tensor;
  overlap->experts = false;
}

}  // namespace

Overlap overlap_run_by(Framework framework, const Plan& plan) {
  Overlap overlap = plan.overlap;
  switch (framework) {
    case Framework::kMegatron:
    case Framework::kNemo:
      run_by_megatron(plan, &overlap);
      break;
    case Framework::kDeepSpeed:
      run_by_deepspeed(plan, &overlap);
      break;
    case Framework::kTorchtitan:
      run_by_fsdp(plan, true, &overlap);
      break;
    case Framework::kFsdp:
      run_by_fsdp(plan, false, &overlap);
      break;
  }
  return overlap;
}

Plan without_idle_choices(const ModelSpec& model, const Plan& plan) {
  Plan out = plan;
  const Overlap usual;
  reset_split(model, &out);
  reset_recompute(&out);
  const int64_t replicas = out.dp * out.split.cp;
  if (out.zero == 0) out.shard_group = 0;
  // Gathered weights exist with ZeRO-1 and 2 after the update and with 3 before every layer.
  if (out.zero == 0) out.overlap.parameters = usual.parameters;
  const int64_t expert_replicas = out.tp * replicas / (out.split.ep * out.split.expert_tp(out.tp));
  if (replicas == 1 && expert_replicas <= 1) {
    out.overlap.gradients = usual.gradients;
    out.overlap.parameters = usual.parameters;
  }
  if (out.tp == 1) out.overlap.tensor = usual.tensor;
  if (out.pp == 1 || out.dp == 1) out.rank_order = RankOrder::kTpCpDpPp;
  if (out.pp == 1) {
    out.overlap.pipeline = usual.pipeline;
    out.schedule = ScheduleKind::kOneFOneB;
  }
  if (out.split.ep == 1) out.overlap.experts = usual.experts;
  if (out.precision == DataType::kFp32) out.master_weights = true;
  return out;
}

Plan as_run_by(Framework framework, const ModelSpec& model, const Plan& plan,
               std::vector<std::string>* changed) {
  Plan wanted = without_idle_choices(model, plan);
  // One sharded copy over all replicas is no group of its own in any file.
  if (wanted.shard_group == wanted.dp * wanted.split.cp) wanted.shard_group = 0;
  Plan out = wanted;
  out.overlap = overlap_run_by(framework, wanted);
  out = without_idle_choices(model, out);
  const auto note = [&](const char* name, bool before, bool after) {
    if (before != after) changed->push_back(std::string(name) + (after ? "=true" : "=false"));
  };
  note("overlap_gradients", wanted.overlap.gradients, out.overlap.gradients);
  note("overlap_parameters", wanted.overlap.parameters, out.overlap.parameters);
  note("overlap_tensor", wanted.overlap.tensor, out.overlap.tensor);
  // Plain 1F1B sends between its computes everywhere (set_usual_overlap): nothing to say.
  if (wanted.virtual_stages > 1)
    note("overlap_pipeline", wanted.overlap.pipeline, out.overlap.pipeline);
  note("overlap_experts", wanted.overlap.experts, out.overlap.experts);
  return out;
}

}  // namespace shardwright
