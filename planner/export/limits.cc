#include "planner/export/limits.h"

#include <algorithm>
#include <cmath>

namespace shardwright {
namespace {

struct Case {
  const ModelSpec& model;
  const Plan& plan;
  bool writes;  // the plan is to be exported
};
struct Limit {
  const char* choice;
  std::string (*lacks)(const Case&);  // "" when the framework can say it
  // The framework can do it in other ways (code, an older version) than those that are written.
  bool of_export = false;
};

std::string text(int64_t value) { return std::to_string(value); }
std::string when(bool broken, const char* what) { return broken ? what : ""; }

bool any_kind(const ModelSpec& model, bool (*is)(const LayerSpec&)) {
  return std::any_of(model.kinds.begin(), model.kinds.end(), is);
}
bool has_experts(const ModelSpec& model) {
  return any_kind(model, [](const LayerSpec& kind) { return kind.moe.experts > 0; });
}
bool is_half(const Plan& plan) { return storage_of(plan.precision) != DataType::kFp32; }
int64_t replicas(const Plan& plan) { return plan.dp * plan.split.cp; }
bool even(const Plan& plan) {
  return std::adjacent_find(plan.stage_layers.begin(), plan.stage_layers.end(),
                            std::not_equal_to<>()) == plan.stage_layers.end();
}

// Shared by several frameworks.
std::string no_layer_list(const Case& c) {
  return when(c.model.layer_list(), "layers given by their operations are no transformer");
}
std::string no_sgd(const Case& c) {
  return when(c.plan.optimizer != OptimizerKind::kAdamW, "the exported job trains with AdamW");
}
std::string no_activation_offload(const Case& c) {
  return when(c.plan.activation_offload != 0, "no option offloads saved activations");
}
std::string no_optimizer_offload(const Case& c) {
  return when(c.plan.optimizer_offload != 0, "no option keeps only the optimizer on the host");
}
std::string no_mtp(const Case& c) {
  return when(c.plan.mtp_layers != 0, "no option trains multi-token-prediction modules");
}
std::string no_pipeline(const Case& c) {
  return when(c.plan.pp > 1, "it has no pipeline: the stages live in the user's own model code");
}
std::string no_experts(const Case& c) {
  return when(c.plan.split.ep > 1 || c.plan.split.etp != 0,
              "no option of its file splits experts over ranks");
}
std::string full_or_no_recompute(const Case& c) {
  if (c.plan.recompute == Recompute::kSelective) return "no option recomputes parts of a layer";
  return when(c.plan.recompute_layers != 0, "whole layers are recomputed, all of them or none");
}

std::string equal_batches(const Case& c) {
  return when(!c.plan.replica_batches.empty(), "every replica takes an equal share of the batch");
}
std::string usual_rank_order(const Case& c) {
  return when(c.plan.rank_order != RankOrder::kTpCpDpPp,
              "it numbers ranks tp, cp, dp, pp and no option changes that");
}

// Megatron-LM.
std::string megatron_model(const Case& c) {
  const ModelSpec& m = c.model;
  if (m.parallel_residual) return "no option lets attention and MLP read the same input";
  if (m.logit_softcap != 0 || m.attention_softcap != 0) return "no option caps logits";
  if (m.embedding_scale != 1) return "no option scales embeddings";
  if (m.head_bias) return "no option gives the head a bias";
  for (const LayerSpec& kind : m.kinds) {
    if (kind.norms != 2) return "no option gives a layer " + text(kind.norms) + " norms";
    if (kind.moe.expert_bias || kind.moe.router_bias) return "no option gives experts a bias";
    if (kind.attention.window != 0 && m.kinds.size() > 2) return "layers differ in their windows";
    if (kind.moe.experts == 0 && kind.mlp.gated != (m.activation == Activation::kSilu)) {
      return "no option gates with another function than SiLU, or leaves SiLU ungated";
    }
  }
  return when(m.activation == Activation::kRelu, "no option activates with ReLU");
}
std::string megatron_schedule(const Case& c) {
  const std::string name = name_of(c.plan.schedule);
  return name == "1f1b" ? "" : "Megatron-LM runs 1f1b, with or without virtual stages, not " + name;
}
std::string megatron_sequence(const Case& c) {
  const int64_t cp = c.plan.split.cp;
  if (cp == 1 || c.plan.seq % (2 * cp) == 0) return "";
  return "seq " + text(c.plan.seq) + " is no multiple of 2 * cp " + text(cp);
}
std::string megatron_experts(const Case& c) {
  return when(has_experts(c.model) && c.plan.tp > 1 && !c.plan.split.sequence_parallel,
              "MoE layers with tp need sequence parallelism");
}
// initialize_model_parallel's assertion on orders that do not end with pp (megatron/core/
// parallel_state.py).
std::string megatron_rank_order(const Case& c) {
  const Plan& p = c.plan;
  if (p.rank_order == RankOrder::kTpCpDpPp) return "";
  if (p.zero >= 2) return "Megatron-FSDP knows no --use-tp-pp-dp-mapping";
  return when(
      has_experts(c.model) && p.pp > 1 && p.split.ep * p.split.expert_tp(p.tp) != p.tp * p.split.cp,
      "with dp outside pp experts need as many replicas as all else: ep * etp = tp * cp");
}
std::string megatron_zero(const Case& c) {
  const Plan& p = c.plan;
  if (p.zero >= 2 && p.pp > 1) return "Megatron-FSDP is not exported with a pipeline";
  if (p.zero >= 2 && p.moment_type != DataType::kFp32) return "Megatron-FSDP keeps fp32 moments";
  return "";
}
std::string megatron_recompute(const Case& c) {
  const uint32_t modules = c.plan.recompute_modules;
  if ((modules & kRecomputeLatentUp) != 0 &&
      !any_kind(c.model, [](const LayerSpec& kind) { return kind.attention.mla(); })) {
    return "mla_up_proj needs latent attention";
  }
  return when((modules & (kRecomputeMoe | kRecomputeMoeActivation | kRecomputeSharedExperts)) &&
                  !has_experts(c.model),
              "modules of experts need experts");
}
// --optimizer-cpu-offload and lower moments need the precision-aware optimizer, and that needs the
// distributed one.
std::string megatron_optimizer(const Case& c) {
  const Plan& p = c.plan;
  const bool aware = p.optimizer_offload != 0 || p.moment_type != DataType::kFp32;
  if (aware && p.zero == 0) return "offload and 16-bit moments need the distributed optimizer";
  if (aware && p.optimizer != OptimizerKind::kAdamW) return "offload and 16-bit moments need AdamW";
  if (p.optimizer_offload != 0 && p.zero >= 2)
    return "Megatron-FSDP does not offload the optimizer";
  if (p.moment_type == DataType::kNvfp4) return "moments are fp32, bf16, fp16 or fp8";
  return when(!p.master_weights, "16-bit weights always have an fp32 copy");
}
std::string megatron_gradients(const Case& c) {
  const Plan& p = c.plan;
  if (p.gradient_type == DataType::kFp32) return "";
  // bf16 by --grad-reduce-in-bf16; fp16 runs keep fp16 gradients unless told otherwise.
  const DataType half = storage_of(p.precision);
  if (half == DataType::kFp32 || p.gradient_type != half) {
    return std::string("gradients are fp32, or 16 bit as the weights, not ") +
           name_of(p.gradient_type);
  }
  return "";
}
std::string megatron_activation_offload(const Case& c) {
  const Plan& p = c.plan;
  if (p.activation_offload == 0) return "";
  const double layers = p.activation_offload * static_cast<double>(c.model.layers());
  if (p.pp > 1) return "activations are offloaded without a pipeline only";
  if (p.recompute != Recompute::kNone) return "activations are offloaded or recomputed, not both";
  if (layers != std::round(layers)) return "activations are offloaded by whole layers";
  return when(p.activation_offload == 1, "at least one layer's activations stay");
}
std::string megatron_mtp(const Case& c) {
  return when(c.plan.mtp_layers > 0 && c.model.position != Position::kRope,
              "multi-token prediction needs rotary positions");
}

// torchtitan.
std::string titan_schedule(const Case& c) {
  if (!torchtitan_schedule(c.plan).empty()) return "";
  return std::string("torchtitan has no schedule ") + name_of(c.plan.schedule) + " with " +
         text(c.plan.virtual_stages) + " chunks a stage";
}
std::string titan_kv_heads(const Case& c) {
  for (const LayerSpec& kind : c.model.kinds) {
    if (!kind.attention.mla() && kind.attention.kv_heads % c.plan.tp != 0) {
      return "tp " + text(c.plan.tp) + " does not divide " + text(kind.attention.kv_heads) +
             " KV heads";
    }
  }
  return "";
}
std::string titan_zero(const Case& c) {
  const Plan& p = c.plan;
  if (p.zero == 1) return "it shards weights and gradients with the optimizer, or nothing";
  if (p.zero == 0 && p.split.cp > 1) return "cp ranks always share one sharded copy";
  if (p.zero == 0 && p.split.ep > 1) return "expert parallelism takes ranks of the sharded copy";
  if (p.shard_group % p.split.cp != 0) return "a sharded copy holds whole cp groups";
  return "";
}
std::string titan_experts(const Case& c) {
  const Plan& p = c.plan;
  const int64_t etp = p.split.expert_tp(p.tp);
  if (!has_experts(c.model)) return "";
  if (p.split.ep > 1 && etp != 1) return "ep takes the ranks of tp: inside an expert etp is 1";
  if (p.split.ep == 1 && etp != p.tp) return "without ep experts are split as all else";
  const int64_t shard = p.shard_group > 0 ? p.shard_group : replicas(p);
  return when(shard * p.tp % p.split.ep != 0, "ep must divide the ranks of a sharded copy");
}
std::string titan_context(const Case& c) {
  return when(c.plan.split.cp_kind == CpKind::kAllToAll,
              "it exchanges keys and values, not heads, over cp");
}
std::string titan_precision(const Case& c) {
  const DataType type = c.plan.precision;
  if (type == DataType::kBf16 || type == DataType::kFp32) return "";
  return std::string("its options know bf16 and fp32; ") + name_of(type) +
         " is a converter in the configuration's own code";
}
std::string titan_recompute(const Case& c) {
  if (c.plan.recompute == Recompute::kSelective &&
      c.plan.recompute_modules != kRecomputeCoreAttention) {
    return "its selective recomputation is one fixed policy (here: core_attn), not modules";
  }
  return when(c.plan.recompute_layers != 0, "all layers are recomputed or none");
}
std::string fp32_states(const Case& c) {
  const Plan& p = c.plan;
  if (p.gradient_type != DataType::kFp32) return "gradients are reduced in fp32";
  return when(p.moment_type != DataType::kFp32 || !p.master_weights,
              "weights and moments are kept in fp32");
}

// DeepSpeed.
std::string deepspeed_zero(const Case& c) {
  return when(c.plan.zero >= 2 && c.plan.pp > 1, "a pipeline runs with ZeRO-0 and 1 only");
}
std::string deepspeed_schedule(const Case& c) {
  const std::string name = name_of(c.plan.schedule);
  return name == "1f1b" && c.plan.virtual_stages == 1
             ? ""
             : "its pipeline engine runs 1f1b without virtual stages";
}
std::string deepspeed_tensor(const Case& c) {
  return when(c.plan.tp > 1 && c.plan.zero == 3, "tensor_parallel runs with ZeRO up to 2");
}
std::string deepspeed_sequence_parallel(const Case& c) {
  return when(c.plan.split.sequence_parallel, "tensor_parallel does not split the sequence");
}
std::string deepspeed_precision(const Case& c) {
  return when(c.plan.precision == DataType::kFp8 || c.plan.precision == DataType::kNvfp4,
              "its file knows fp32, fp16 and bf16");
}
std::string deepspeed_shards(const Case& c) {
  if (c.plan.shard_group == 0) return "";
  return when(c.plan.zero != 3, "smaller sharded copies (mics_shard_size) exist with ZeRO-3 only");
}
std::string deepspeed_offload(const Case& c) {
  const Plan& p = c.plan;
  if (p.optimizer_offload == 0) return "";
  if (p.zero == 0) return "the optimizer is offloaded with ZeRO only";
  return when(p.optimizer_offload != 1 && p.zero != 3,
              "a share of the optimizer is offloaded (ratio) with ZeRO-3 only");
}
std::string deepspeed_activation_offload(const Case& c) {
  return when(c.plan.activation_offload != 0,
              "cpu_checkpointing takes inputs of recomputed layers to the host, nothing else does");
}
std::string deepspeed_states(const Case& c) {
  const Plan& p = c.plan;
  if (p.moment_type != DataType::kFp32 || !p.master_weights) return "moments and masters are fp32";
  const bool usual = p.gradient_type == DataType::kFp32 ||
                     (is_half(p) && p.gradient_type == storage_of(p.precision));
  return when(!usual, "gradients are fp32, or 16 bit as the weights");
}
std::string uneven_by_user(const Case& c) {
  return when(c.plan.pp > 1 && !even(c.plan),
              "the split of layers is in the user's PipelineModule");
}

std::string deepspeed_context(const Case& c) {
  return when(c.plan.split.cp > 1, "the split of sequences (Ulysses) is set up by the user's code");
}

// Accelerate with FSDP.
std::string fsdp_sequence_parallel(const Case& c) {
  return when(c.plan.split.sequence_parallel, "its tp plans do not split the sequence");
}
std::string fsdp_shards(const Case& c) {
  return when(c.plan.shard_group % c.plan.split.cp != 0, "a sharded copy holds whole cp groups");
}
std::string fsdp_zero(const Case& c) {
  if (c.plan.zero == 1) return "FULL_SHARD, SHARD_GRAD_OP and NO_SHARD have no ZeRO-1";
  return when(c.plan.zero == 0, "FSDP version 2 has no NO_SHARD");
}
std::string fsdp_precision(const Case& c) {
  const DataType type = c.plan.precision;
  return when(type == DataType::kNvfp4 || type == DataType::kFp8,
              "its file's mixed_precision says bf16 or fp16; fp8 needs a recipe of its own");
}

std::string nemo_gradients(const Case& c) {
  const DataType expected = c.plan.precision == DataType::kFp16 ? DataType::kFp16 : DataType::kFp32;
  return when(c.plan.gradient_type != expected && c.plan.precision != DataType::kFp32,
              "named mixed precisions reduce fp32 gradients, and fp16 ones with fp16 weights");
}

constexpr Limit kMegatron[] = {{"model", no_layer_list},
                               {"model", megatron_model, true},
                               {"schedule", megatron_schedule},
                               {"seq", megatron_sequence},
                               {"rank_order", megatron_rank_order},
                               {"replica_batches", equal_batches},
                               {"sequence_parallel", megatron_experts},
                               {"zero", megatron_zero, true},
                               {"recompute_modules", megatron_recompute},
                               {"optimizer", megatron_optimizer},
                               {"gradient_type", megatron_gradients},
                               {"activation_offload", megatron_activation_offload},
                               {"mtp_layers", megatron_mtp}};
// Besides Megatron's.
constexpr Limit kNemo[] = {{"gradient_type", nemo_gradients, true}};
constexpr Limit kTorchtitan[] = {{"model", no_layer_list},
                                 {"schedule", titan_schedule},
                                 {"rank_order", usual_rank_order},
                                 {"replica_batches", equal_batches},
                                 {"tp", titan_kv_heads},
                                 {"zero", titan_zero},
                                 {"ep", titan_experts},
                                 {"cp_kind", titan_context, true},
                                 {"precision", titan_precision},
                                 {"recompute", titan_recompute, true},
                                 {"gradient_type", fp32_states, true},
                                 {"optimizer", no_sgd, true},
                                 {"optimizer_offload", no_optimizer_offload, true},
                                 {"activation_offload", no_activation_offload},
                                 {"mtp_layers", no_mtp, true}};
constexpr Limit kDeepSpeed[] = {{"zero", deepspeed_zero},
                                {"schedule", deepspeed_schedule},
                                {"stage_layers", uneven_by_user, true},
                                {"rank_order", usual_rank_order},
                                {"replica_batches", equal_batches},
                                {"tp", deepspeed_tensor},
                                {"sequence_parallel", deepspeed_sequence_parallel},
                                {"cp", deepspeed_context, true},
                                {"ep", no_experts},
                                {"precision", deepspeed_precision},
                                {"shard_group", deepspeed_shards},
                                {"optimizer_offload", deepspeed_offload},
                                {"activation_offload", deepspeed_activation_offload},
                                {"gradient_type", deepspeed_states},
                                {"recompute", full_or_no_recompute},
                                {"mtp_layers", no_mtp, true}};
constexpr Limit kFsdp[] = {{"pp", no_pipeline},
                           {"rank_order", usual_rank_order},
                           {"replica_batches", equal_batches},
                           {"sequence_parallel", fsdp_sequence_parallel},
                           {"cp_kind", titan_context, true},
                           {"shard_group", fsdp_shards},
                           {"ep", no_experts},
                           {"zero", fsdp_zero, true},
                           {"precision", fsdp_precision, true},
                           {"recompute", full_or_no_recompute},
                           {"gradient_type", fp32_states, true},
                           {"optimizer", no_sgd, true},
                           {"optimizer_offload", no_optimizer_offload, true},
                           {"activation_offload", no_activation_offload},
                           {"mtp_layers", no_mtp, true}};

template <size_t n>
std::vector<Rejection> check(const Limit (&limits)[n], const Case& c) {
  std::vector<Rejection> out;
  for (const Limit& limit : limits) {
    if (limit.of_export && !c.writes) continue;
    std::string what = limit.lacks(c);
    if (!what.empty()) out.push_back({limit.choice, std::move(what)});
  }
  return out;
}

}  // namespace

// Names as torch.distributed.pipelining's get_schedule_class knows them. Schedules of two chunks a
// stage laid out as a V take exactly two.
std::string torchtitan_schedule(const Plan& plan) {
  const std::string name = name_of(plan.schedule);
  const bool many = plan.virtual_stages > 1;
  if (name == "gpipe" && !many) return "GPipe";
  if (name == "1f1b") return many ? "Interleaved1F1B" : "1F1B";
  if (name == "breadth-first" && many) return "LoopedBFS";
  if (name == "zb-v" && plan.virtual_stages == 2) return "ZBVZeroBubble";
  if (name == "dualpipe-v" && plan.virtual_stages == 2) return "DualPipeV";
  return "";
}

namespace {

std::vector<Rejection> check(Framework framework, const Case& c) {
  switch (framework) {
    case Framework::kMegatron:
      return check(kMegatron, c);
    case Framework::kNemo: {
      std::vector<Rejection> out = check(kMegatron, c);
      const std::vector<Rejection> own = check(kNemo, c);
      out.insert(out.end(), own.begin(), own.end());
      return out;
    }
    case Framework::kTorchtitan:
      return check(kTorchtitan, c);
    case Framework::kDeepSpeed:
      return check(kDeepSpeed, c);
    case Framework::kFsdp:
      return check(kFsdp, c);
  }
  return {};
}

}  // namespace

std::vector<Rejection> check_expressible(Framework framework, const ModelSpec& model,
                                         const Plan& plan) {
  return check(framework, {model, plan, true});
}

std::vector<Rejection> check_runnable(Framework framework, const ModelSpec& model,
                                      const Plan& plan) {
  return check(framework, {model, plan, false});
}

}  // namespace shardwright
