// torchtitan's options as a plan. Its configuration (--module, --config) is Python that is not
// read: what the options leave out takes the defaults of torchtitan/config/configs.py.
#include <algorithm>

#include "planner/export/torchtitan_models.h"
#include "planner/export/torchtitan_stages.h"
#include "planner/lint/flag_values.h"
#include "planner/lint/job.h"
#include "planner/lint/job_parts.h"

namespace shardwright {
namespace {

std::string text(int64_t value) { return std::to_string(value); }

class TitanReader {
 public:
  TitanReader(const FlagValues& flags, const JobInput& input) : f_(flags), in_(input) {}

  Result<Job> read() {
    degrees();
    batch();
    sharding();
    recompute();
    pipeline();
    rest();
    if (f_.error()) return *f_.error();
    return std::move(job_);
  }

 private:
  Plan& plan() { return job_.plan; }
  std::string of(const char* name) const { return std::string("--parallelism.") + name; }
  int64_t positive(const std::string& name, int64_t fallback) {
    const int64_t value = f_.integer(name, fallback);
    if (value < 1) f_.fail(name, text(value), "at least 1");
    return std::max<int64_t>(1, value);
  }
  bool on(const std::string& section, const std::string& name, bool fallback) const {
    if (f_.has("--" + section + ".no_" + name)) return false;
    return fallback || f_.has("--" + section + "." + name);
  }

  void degrees() {
    plan().tp = positive(of("tensor_parallel_degree"), 1);
    plan().pp = positive(of("pipeline_parallel_degree"), 1);
    plan().split.cp = positive(of("context_parallel_degree"), 1);
    plan().split.ep = positive(of("expert_parallel_degree"), 1);
    // ep takes the ranks of tp; without it experts are split as everything else.
    plan().split.etp = plan().split.ep > 1 ? 1 : 0;
    plan().split.sequence_parallel = on("parallelism", "enable_sequence_parallel", true);
    plan().dp = take_dp(in_, f_.ranks(), &job_);
  }

  void batch() {
    plan().seq = positive("--training.max_context_length", 2048);
    if (!f_.has("--training.max_context_length")) {
      const Result<int64_t> given = given_integer(in_, "seq", 2048);
      plan().seq = given ? *given : 2048;
      job_.assumed.push_back("--training.max_context_length " + text(plan().seq));
    }
    const int64_t tokens = positive("--training.num_tokens_per_microbatch_per_dp_rank", plan().seq);
    if (!f_.has("--training.num_tokens_per_microbatch_per_dp_rank")) {
      job_.assumed.push_back("--training.num_tokens_per_microbatch_per_dp_rank " + text(tokens));
    }
    plan().micro_batch = std::max<int64_t>(1, tokens / plan().seq);
    if (tokens % plan().seq != 0) {
      job_.illegal.push_back(text(tokens) + " tokens of a microbatch are no whole sequences of " +
                             text(plan().seq));
    }
    // All microbatches of a step go through the pipeline at once, else it drains between them.
    flush_ = plan().pp > 1 ? positive(of("num_pp_microbatches"), 1) : 1;
    const double once = static_cast<double>(plan().micro_batch) * static_cast<double>(flush_) *
                        static_cast<double>(plan().dp);
    if (once > 1e12) return f_.fail(of("num_pp_microbatches"), text(flush_), "fewer");
    const int64_t sequences = plan().micro_batch * flush_ * plan().dp;
    const int64_t step = f_.integer("--training.num_tokens_per_train_step", sequences * plan().seq);
    plan().global_batch = std::max(sequences, step / plan().seq);
    if (step % (sequences * plan().seq) != 0) {
      job_.illegal.push_back(text(step) + " tokens of a step are no multiple of " +
                             text(sequences * plan().seq));
      plan().global_batch = sequences;
    }
    if (plan().pp > 1 && plan().global_batch > sequences) {
      job_.contradictions.push_back("the pipeline drains " + text(plan().global_batch / sequences) +
                                    " times a step: --parallelism.num_pp_microbatches " +
                                    text(plan().global_batch / (plan().micro_batch * plan().dp)) +
                                    " would fill it once (priced so)");
    }
  }

  void sharding() {
    const int64_t replicate = positive(of("data_parallel_replicate_degree"), 1);
    const std::string given = f_.text(of("data_parallel_shard_degree"), "-1");
    const int64_t shard = given == "-1" ? std::max<int64_t>(1, plan().dp / replicate)
                                        : positive(of("data_parallel_shard_degree"), 1);
    if (replicate * shard != plan().dp) {
      job_.illegal.push_back("data_parallel_replicate_degree " + text(replicate) +
                             " * data_parallel_shard_degree " + text(shard) + " is not dp " +
                             text(plan().dp));
      return;
    }
    const int64_t cp = plan().split.cp;
    const std::string reshard = f_.text(of("fsdp_reshard_after_forward"), "default");
    const bool keeps = reshard == "never" || (reshard == "default" && plan().pp > 1);
    const bool sharded =
        shard > 1 || cp > 1 || f_.has(of("fsdp_reshard_after_forward")) || plan().split.ep > 1;
    plan().zero = !sharded ? 0 : keeps ? 2 : 3;
    if (sharded && replicate > 1) plan().shard_group = shard * cp;
  }

  void recompute() {
    std::string policy;
    for (const std::string& word : f_.words()) {
      const size_t colon = word.find(':');
      const std::string head = word.substr(0, colon);
      if (head == "activation-checkpoint" || head == "activation_checkpoint") {
        policy = word.substr(colon + 1);
      }
    }
    if (policy.empty()) {
      policy = "selective";
      job_.assumed.push_back("activation-checkpoint:selective, torchtitan's default");
    }
    if (policy == "full") {
      plan().recompute = Recompute::kFull;
    } else if (policy != "none") {
      plan().recompute = Recompute::kSelective;
      plan().recompute_modules = kRecomputeCoreAttention;
      if (policy != "selective") {
        job_.assumed.push_back("activation-checkpoint:" + shown(policy) +
                               " is priced as selective");
      }
    }
  }

  void pipeline() {
    const int64_t layers = in_.model.layers(), pp = plan().pp;
    if (pp == 1) {
      plan().stage_layers = {layers};
      return;
    }
    const std::string name = f_.text(of("pipeline_parallel_schedule"), "1F1B");
    const bool several = schedule(name);
    if (f_.has(of("module_fqns_per_model_part"))) return modules();
    TitanStages options;
    options.first_less = f_.integer(of("pipeline_parallel_first_stage_less_layers"), 1);
    options.last_less = f_.integer(of("pipeline_parallel_last_stage_less_layers"), 1);
    options.layers_per_stage = f_.integer(of("pipeline_parallel_layers_per_stage"), 0);
    const int64_t stages =
        options.layers_per_stage > 0 ? titan_num_stages(layers, options) : pp * (several ? 2 : 1);
    if (stages % pp != 0 || stages > kMaxJobChunks || (stages > pp) != several) {
      job_.illegal.push_back(text(stages) + " stages on " + text(pp) + " ranks for " + shown(name));
      return even_split();
    }
    plan().virtual_stages = stages / pp;
    plan().stage_layers = titan_stage_layers(layers, stages, options);
    if (plan().stage_layers.empty()) {
      job_.illegal.push_back(text(layers) + " layers do not make " + text(stages) + " stages");
      even_split();
    }
  }
  void even_split() {
    plan().virtual_stages = 1;
    plan().stage_layers.assign(static_cast<size_t>(plan().pp), in_.model.layers() / plan().pp);
    plan().stage_layers.back() += in_.model.layers() % plan().pp;
  }
  void modules() {
    const std::vector<std::string>& chunks = f_.all(of("module_fqns_per_model_part"));
    if (chunks.empty() || chunks.size() % static_cast<size_t>(plan().pp) != 0 ||
        chunks.size() > static_cast<size_t>(kMaxJobChunks)) {
      return f_.fail(of("module_fqns_per_model_part"), text(static_cast<int64_t>(chunks.size())),
                     "a multiple of " + text(plan().pp) + " chunks");
    }
    plan().virtual_stages = static_cast<int64_t>(chunks.size()) / plan().pp;
    for (const std::string& chunk : chunks) {
      int64_t layers = 0;
      for (size_t at = chunk.find("layers."); at != std::string::npos;
           at = chunk.find("layers.", at + 1)) {
        ++layers;
      }
      plan().stage_layers.push_back(layers);
    }
  }
  // Whether the schedule takes several chunks a rank.
  bool schedule(const std::string& name) {
    struct Known {
      const char* name;
      const char* ours;
      bool several;
    };
    static constexpr Known kKnown[] = {
        {"GPipe", "gpipe", false},          {"1F1B", "1f1b", false},
        {"Interleaved1F1B", "1f1b", true},  {"LoopedBFS", "breadth-first", true},
        {"ZBVZeroBubble", "zb-v", true},    {"DualPipeV", "dualpipe-v", true},
        {"InterleavedZeroBubble", "", true}};
    for (const Known& known : kKnown) {
      if (name != known.name) continue;
      if (!parse_schedule(known.ours, &plan().schedule)) {
        job_.assumed.push_back("schedule " + name + " is priced as 1f1b");
      }
      return known.several;
    }
    f_.fail(of("pipeline_parallel_schedule"), '"' + printable(name) + '"',
            "a schedule of torch.distributed.pipelining");
    return false;
  }

  void rest() {
    const std::string type = f_.text("--training.mixed_precision_param", "bfloat16");
    plan().precision = type == "float32" ? DataType::kFp32 : DataType::kBf16;
    if (f_.text("--training.dtype", "float32") == "bfloat16") {
      plan().master_weights = false;
      plan().moment_type = DataType::kBf16;
      plan().gradient_type = DataType::kBf16;
    }
    const bool compiled = on("compile", "enable", false);
    plan().overlap.tensor = on("compile", "enable_async_tensor_parallel", false);
    if (plan().overlap.tensor && !compiled) {
      job_.contradictions.push_back(
          "--compile.enable_async_tensor_parallel needs --compile.enable");
    }
    if (on("training", "enable_cpu_offload", false)) {
      plan().optimizer_offload = 1;
      job_.assumed.push_back("--training.enable_cpu_offload is priced for the optimizer only");
    }
    const bool graphs = !on("training", "disable_cuda_graphs", false);
    if (graphs && plan().pp > 1) {
      job_.illegal.push_back("a pipeline needs --training.disable_cuda_graphs");
    }
    check_config();
    job_.software = exported_software(Framework::kTorchtitan, plan());
    if (!compiled) job_.software.stack = "torchtitan";
  }
  void check_config() {
    const TitanModel* named = find_titan_model(in_.model);
    const std::string config = f_.text("--config");
    if (named != nullptr && f_.has("--config") && config.rfind(named->config, 0) != 0) {
      job_.contradictions.push_back("--config " + shown(config) + ", but " +
                                    printable(in_.model.name) + " is " + named->config);
    }
    if (f_.has("--config")) {
      job_.assumed.push_back("--config " + shown(config) +
                             ": its Python is not read; defaults where no option speaks");
    }
  }

  const FlagValues& f_;
  const JobInput& in_;
  Job job_;
  int64_t flush_ = 1;
};

}  // namespace

Result<Job> read_torchtitan(const FlagValues& flags, const JobInput& input) {
  return TitanReader(flags, input).read();
}

}  // namespace shardwright
