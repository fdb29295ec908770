// Megatron-LM's arguments as a plan, with the checks that its own validation makes.
#include <algorithm>
#include <array>
#include <cmath>

#include "planner/export/idle_choices.h"
#include "planner/lint/flag_values.h"
#include "planner/lint/job.h"
#include "planner/lint/job_parts.h"
#include "planner/records/run_case.h"

namespace shardwright {
namespace {

std::string text(int64_t value) { return std::to_string(value); }

// Settings that Megatron's validate_args refuses or undoes without another one.
struct Needs {
  const char* flag;
  const char* other;
};
constexpr std::array<Needs, 9> kNeeds = {{
    {"--overlap-param-gather", "--overlap-grad-reduce"},
    {"--tp-comm-overlap", "--sequence-parallel"},
    {"--optimizer-cpu-offload", "--use-precision-aware-optimizer"},
    {"--exp-avg-dtype", "--use-precision-aware-optimizer"},
    {"--exp-avg-sq-dtype", "--use-precision-aware-optimizer"},
    {"--recompute-method", "--recompute-granularity"},
    {"--recompute-num-layers", "--recompute-granularity"},
    {"--recompute-modules", "--recompute-granularity"},
    {"--overlap-param-gather-with-optimizer-step", "--overlap-param-gather"},
}};
struct Excludes {
  const char* flag;
  const char* other;
};
constexpr std::array<Excludes, 8> kExcludes = {{
    {"--fp16", "--bf16"},
    {"--fp4-format", "--fp8-format"},
    {"--use-torch-fsdp2", "--use-distributed-optimizer"},
    {"--num-layers-per-virtual-pipeline-stage", "--num-virtual-stages-per-pipeline-rank"},
    {"--num-layers-per-virtual-pipeline-stage", "--pipeline-model-parallel-layout"},
    {"--num-virtual-stages-per-pipeline-rank", "--pipeline-model-parallel-layout"},
    {"--step-batch-size-schedule", "--global-batch-size"},
    {"--train-iters", "--train-samples"},
}};
// No longer taken; what stands in for them.
constexpr std::array<Needs, 3> kGone = {{{"--model-parallel-size", "--tensor-model-parallel-size"},
                                         {"--batch-size", "--micro-batch-size"},
                                         {"--checkpoint-activations", "--recompute-granularity"}}};

class MegatronReader {
 public:
  MegatronReader(const FlagValues& flags, const JobInput& input) : f_(flags), in_(input) {}

  Result<Job> read() {
    job_.framework = Framework::kMegatron;
    refusals();
    degrees();
    batch();
    precision();
    sharding();
    recompute();
    offload();
    overlap();
    layers();
    model();
    software();
    if (f_.error()) return *f_.error();
    if (error_) return *error_;
    return std::move(job_);
  }

 private:
  Plan& plan() { return job_.plan; }
  int64_t positive(const std::string& name, int64_t fallback) {
    const int64_t value = f_.integer(name, fallback);
    if (value < 1) f_.fail(name, text(value), "at least 1");
    return std::max<int64_t>(1, value);
  }

  void refusals() {
    for (const Needs& needs : kNeeds) {
      if (!f_.has(needs.flag) || f_.has(needs.other)) continue;
      if (std::string(needs.flag).rfind("--recompute", 0) == 0 &&
          f_.has("--recompute-activations")) {
        continue;
      }
      job_.contradictions.push_back(std::string(needs.flag) + " needs " + needs.other);
    }
    for (const Excludes& pair : kExcludes) {
      if (f_.has(pair.flag) && f_.has(pair.other)) {
        job_.contradictions.push_back(std::string(pair.flag) + " excludes " + pair.other);
      }
    }
    for (const Needs& gone : kGone) {
      if (f_.has(gone.flag)) {
        job_.illegal.push_back(std::string(gone.flag) + " is no longer taken: " + gone.other);
      }
    }
    if (f_.has("--overlap-param-gather") && !f_.has("--use-distributed-optimizer") &&
        !f_.has("--use-megatron-fsdp")) {
      job_.contradictions.push_back("--overlap-param-gather needs --use-distributed-optimizer");
    }
  }

  void degrees() {
    plan().tp = positive("--tensor-model-parallel-size", 1);
    plan().pp = positive("--pipeline-model-parallel-size", 1);
    Split& split = plan().split;
    split.cp = positive("--context-parallel-size", 1);
    const std::vector<std::string>& kinds = f_.all("--cp-comm-type");
    if (!kinds.empty() && kinds[0] == "a2a") split.cp_kind = CpKind::kAllToAll;
    split.ep = positive("--expert-model-parallel-size", 1);
    split.etp = f_.integer("--expert-tensor-parallel-size", 0);
    split.sequence_parallel = f_.has("--sequence-parallel");
    if (split.sequence_parallel && plan().tp == 1) {
      job_.contradictions.push_back("--sequence-parallel does nothing with tp 1");
    }
    if (f_.has("--expert-model-parallel-size") && split.ep > 1 && !f_.has("--num-experts")) {
      job_.illegal.push_back("--expert-model-parallel-size " + text(split.ep) +
                             " without --num-experts");
    }
    plan().dp = take_dp(in_, f_.ranks(), &job_);
    if (f_.has("--use-tp-pp-dp-mapping")) plan().rank_order = RankOrder::kTpCpPpDp;
  }

  void batch() {
    plan().micro_batch = positive("--micro-batch-size", 1);
    if (!f_.has("--micro-batch-size")) f_.fail("--micro-batch-size", "nothing", "a number");
    plan().global_batch = positive("--global-batch-size", plan().micro_batch * plan().dp);
    if (!f_.has("--global-batch-size")) {
      job_.assumed.push_back("--global-batch-size: one microbatch of every replica");
    }
    const char* seq = f_.has("--seq-length") ? "--seq-length" : "--encoder-seq-length";
    plan().seq = positive(seq, 1);
    if (!f_.has(seq)) f_.fail("--seq-length", "nothing", "a number");
    const int64_t most = f_.integer("--max-position-embeddings", plan().seq);
    if (most < plan().seq) {
      job_.illegal.push_back("--max-position-embeddings " + text(most) + " below --seq-length " +
                             text(plan().seq));
    }
  }

  void precision() {
    DataType type = f_.has("--bf16")   ? DataType::kBf16
                    : f_.has("--fp16") ? DataType::kFp16
                                       : DataType::kFp32;
    plan().gradient_type =
        f_.has("--grad-reduce-in-bf16") && type == DataType::kBf16 ? DataType::kBf16
        : type == DataType::kFp16 && !f_.has("--accumulate-allreduce-grads-in-fp32")
            ? DataType::kFp16
            : DataType::kFp32;
    if (f_.has("--fp8-format")) type = DataType::kFp8;
    if (f_.has("--fp4-format")) type = DataType::kNvfp4;
    plan().precision = type;
    const std::string optimizer = f_.text("--optimizer", "adam");
    plan().optimizer = optimizer == "sgd" ? OptimizerKind::kSgd : OptimizerKind::kAdamW;
    if (optimizer != "sgd" && optimizer != "adam") {
      job_.assumed.push_back("--optimizer " + shown(optimizer) + " is priced as adam");
    }
    const std::string moments = f_.text("--exp-avg-dtype", "fp32");
    if (!parse_data_type(moments, &plan().moment_type)) {
      f_.fail("--exp-avg-dtype", '"' + printable(moments) + '"', "fp32, fp16, bf16 or fp8");
    }
    if (f_.text("--exp-avg-sq-dtype", "fp32") != moments) {
      job_.assumed.push_back("both moments as --exp-avg-dtype " + printable(moments));
    }
  }

  void sharding() {
    plan().zero = f_.has("--use-distributed-optimizer") ? 1 : 0;
    if (f_.has("--use-megatron-fsdp") || f_.has("--use-custom-fsdp")) {
      const std::string strategy =
          f_.text("--data-parallel-sharding-strategy", "optim_grads_params");
      const std::array<const char*, 4> names = {"no_shard", "optim", "optim_grads",
                                                "optim_grads_params"};
      const auto found = std::find(names.begin(), names.end(), strategy);
      if (found == names.end()) {
        f_.fail("--data-parallel-sharding-strategy", '"' + printable(strategy) + '"',
                "no_shard, optim, optim_grads or optim_grads_params");
      } else {
        plan().zero = found - names.begin();
      }
      if (f_.text("--ckpt-format", "fsdp_dtensor") != "fsdp_dtensor") {
        job_.contradictions.push_back("--use-megatron-fsdp needs --ckpt-format fsdp_dtensor");
      }
    }
    if (f_.has("--use-torch-fsdp2")) {
      plan().zero = f_.has("--torch-fsdp2-no-reshard-after-forward") ? 2 : 3;
      if (plan().pp > 1) job_.illegal.push_back("--use-torch-fsdp2 with a pipeline");
      if (plan().split.ep > 1) job_.illegal.push_back("--use-torch-fsdp2 with expert parallelism");
    }
    const int64_t copies = positive("--num-distributed-optimizer-instances", 1);
    const int64_t replicas = plan().dp * plan().split.cp;
    if (copies > 1 && replicas % copies != 0) {
      job_.illegal.push_back("--num-distributed-optimizer-instances " + text(copies) +
                             " does not divide " + text(replicas) + " replicas");
    } else if (copies > 1) {
      plan().shard_group = replicas / copies;
    }
  }

  void recompute() {
    const bool old = f_.has("--recompute-activations");
    const std::string kind = f_.text("--recompute-granularity", old ? "selective" : "");
    if (kind.empty()) return;
    const std::string method = f_.text("--recompute-method");
    if (kind == "full") {
      plan().recompute = Recompute::kFull;
      if (method.empty()) job_.illegal.push_back("full recomputation without --recompute-method");
      const int64_t layers = f_.integer("--recompute-num-layers", 0);
      if (layers == 0) job_.illegal.push_back("full recomputation without --recompute-num-layers");
      if (method == "block") plan().recompute_layers = layers;
      if (method == "uniform" && layers > 1) {
        job_.assumed.push_back("--recompute-num-layers " + text(layers) +
                               " with uniform is priced as 1");
      }
    } else if (kind == "selective") {
      plan().recompute = Recompute::kSelective;
      if (!method.empty()) {
        job_.contradictions.push_back("selective recomputation excludes --recompute-method");
      }
      modules();
    } else {
      f_.fail("--recompute-granularity", '"' + printable(kind) + '"', "full or selective");
    }
  }
  void modules() {
    if (!f_.has("--recompute-modules")) plan().recompute_modules = kRecomputeCoreAttention;
    for (const std::string& name : f_.all("--recompute-modules")) {
      uint32_t bit = 0;
      if (parse_module(name, &bit)) {
        plan().recompute_modules |= bit;
      } else {
        job_.assumed.push_back("recomputation of " + shown(name) + " is left out of the price");
      }
    }
  }

  void offload() {
    if (f_.has("--optimizer-cpu-offload")) {
      plan().optimizer_offload = f_.number("--optimizer-offload-fraction", 1);
      if (plan().optimizer_offload > 1)
        f_.fail("--optimizer-offload-fraction", "more than 1", "0 to 1");
    }
    const int64_t layers = f_.integer("--cpu-offloading-num-layers", 0);
    if (layers == 0) return;
    if (plan().pp > 1) job_.illegal.push_back("--cpu-offloading-num-layers with a pipeline");
    if (plan().recompute != Recompute::kNone) {
      job_.contradictions.push_back("--cpu-offloading-num-layers excludes recomputation");
    }
    plan().activation_offload =
        std::min(1.0, static_cast<double>(layers) / static_cast<double>(in_.model.layers()));
  }

  void overlap() {
    Overlap& overlap = plan().overlap;
    overlap.gradients = f_.has("--overlap-grad-reduce");
    overlap.parameters = f_.has("--overlap-param-gather");
    overlap.tensor = f_.has("--tp-comm-overlap");
    overlap.pipeline = !f_.has("--no-overlap-p2p-communication");
    overlap.experts = f_.has("--overlap-moe-expert-parallel-comm");
    plan().mtp_layers = f_.integer("--mtp-num-layers", 0);
  }

  // Chunks from the layout, else as many as are asked for, dealt out evenly.
  void layers() {
    const int64_t layers = in_.model.layers();
    if (f_.has("--pipeline-model-parallel-layout")) return layout();
    int64_t chunks = positive("--num-virtual-stages-per-pipeline-rank", 1);
    const int64_t each = f_.integer("--num-layers-per-virtual-pipeline-stage", 0);
    if (each > 0 && layers % (plan().pp * each) == 0) chunks = layers / (plan().pp * each);
    if (each > 0 && layers % (plan().pp * each) != 0) {
      job_.illegal.push_back("--num-layers-per-virtual-pipeline-stage " + text(each) +
                             " does not divide the layers of a stage");
    }
    if (chunks > 1 && plan().pp == 1) {
      job_.illegal.push_back("virtual stages without a pipeline");
      chunks = 1;
    }
    plan().virtual_stages = chunks;
    const int64_t total = plan().pp * chunks;
    if (total > kMaxJobChunks) {
      return f_.fail("--pipeline-model-parallel-size", text(total) + " chunks",
                     "at most " + text(kMaxJobChunks));
    }
    const bool ends = f_.has("--decoder-first-pipeline-num-layers") ||
                      f_.has("--decoder-last-pipeline-num-layers");
    if (ends) return uneven_ends();
    const int64_t first = f_.has("--account-for-embedding-in-pipeline-split") ? 1 : 0;
    const int64_t last = f_.has("--account-for-loss-in-pipeline-split") ? 1 : 0;
    if ((layers + first + last) % total != 0) {
      job_.illegal.push_back(text(layers) + " layers are not divisible by " + text(total) +
                             " chunks: give --pipeline-model-parallel-layout");
      plan().stage_layers = usual_layers(layers, total, in_.model.mtp_layers > 0);
      return;
    }
    plan().stage_layers.assign(static_cast<size_t>(total), (layers + first + last) / total);
    plan().stage_layers.front() -= first;
    plan().stage_layers.back() -= last;
  }
  void uneven_ends() {
    const int64_t layers = in_.model.layers(), pp = plan().pp;
    const int64_t first = f_.integer("--decoder-first-pipeline-num-layers", 0);
    const int64_t last = f_.integer("--decoder-last-pipeline-num-layers", 0);
    const int64_t given = (first > 0 ? 1 : 0) + (last > 0 ? 1 : 0);
    const int64_t rest = layers - first - last, others = pp - given;
    if (plan().virtual_stages > 1 || others < 1 || rest < others || rest % others != 0) {
      job_.illegal.push_back("layers of the first and last stage leave " + text(rest) + " for " +
                             text(others) + " stages");
      plan().virtual_stages = 1;
      plan().stage_layers = usual_layers(layers, pp, false);
      return;
    }
    plan().stage_layers.assign(static_cast<size_t>(pp), rest / others);
    if (first > 0) plan().stage_layers.front() = first;
    if (last > 0) plan().stage_layers.back() = last;
  }
  void layout() {
    const std::string layout = f_.text("--pipeline-model-parallel-layout");
    plan().stage_layers = layers_of_layout(layout);
    const auto chunks = static_cast<int64_t>(plan().stage_layers.size());
    if (chunks == 0 || chunks % plan().pp != 0) {
      return f_.fail("--pipeline-model-parallel-layout", '"' + printable(layout) + '"',
                     "a multiple of " + text(plan().pp) + " chunks of E, t, m, L between |");
    }
    plan().virtual_stages = chunks / plan().pp;
  }

  // What the arguments say of the model, beside the model that was named.
  void model() {
    const ModelSpec& m = in_.model;
    const LayerSpec& last = m.kinds[static_cast<size_t>(m.layer_kind.back())];
    const auto check = [&](const char* flag, int64_t expected) {
      if (f_.has(flag)) check_shape(flag, f_.integer(flag, expected), expected, m, &job_);
    };
    check("--num-layers", m.layers());
    check("--hidden-size", m.hidden);
    check("--num-attention-heads", last.attention.heads);
    if (!last.attention.mla()) check("--num-query-groups", last.attention.kv_heads);
    if (last.attention.mla()) check("--kv-lora-rank", last.attention.kv_lora_rank);
    check("--num-experts", last.moe.experts);
    if (last.moe.experts > 0) {
      check("--moe-router-topk", last.moe.top_k);
      check("--moe-ffn-hidden-size", last.moe.ffn_hidden);
    } else {
      check("--ffn-hidden-size", last.mlp.ffn_hidden);
    }
    if (f_.has("--swiglu") != (m.activation == Activation::kSilu) && f_.has("--num-layers")) {
      job_.contradictions.push_back(f_.has("--swiglu") ? "--swiglu, but the model does not gate"
                                                       : "the model gates, but no --swiglu");
    }
    const bool tied = !f_.has("--untie-embeddings-and-output-weights");
    if (f_.has("--num-layers") && tied != m.tied_embeddings) {
      job_.contradictions.push_back(
          tied ? "the model has a head of its own, but no --untie-embeddings-and-output-weights"
               : "--untie-embeddings-and-output-weights, but the model's head is its embedding");
    }
  }

  void software() {
    job_.software = exported_software(Framework::kMegatron, plan());
    const std::string graphs = f_.text("--cuda-graph-impl", "none");
    if (graphs != "none") job_.software.stack = "megatron-core-2026-graphs";
    job_.software.fused_loss = f_.has("--cross-entropy-loss-fusion");
    const std::string backend = f_.text("--attention-backend", "auto");
    const bool local = f_.text("--transformer-impl", "transformer_engine") == "local";
    job_.software.flash =
        backend != "unfused" && backend != "local" && !(local && !f_.has("--use-flash-attn"));
    const std::string dispatcher = f_.text("--moe-token-dispatcher-type", "allgather");
    if (in_.model.kinds.back().moe.experts > 0) job_.software.node_dispatch = dispatcher == "flex";
    job_.assumed.push_back("software: Megatron-Core of 2026 with Transformer Engine");
  }

  const FlagValues& f_;
  const JobInput& in_;
  Job job_;
  std::optional<Error> error_;
};

}  // namespace

Result<Job> read_megatron(const FlagValues& flags, const JobInput& input) {
  return MegatronReader(flags, input).read();
}

}  // namespace shardwright
