// DeepSpeed's JSON as a plan. What its training script decides (sequence length, stages,
// recomputation) comes from --set, or from the key that export writes.
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "planner/lint/job.h"
#include "planner/lint/job_parts.h"
#include "planner/records/run_case.h"

namespace shardwright {
namespace {

std::string text(int64_t value) { return std::to_string(value); }

class DeepSpeedReader {
 public:
  DeepSpeedReader(const Json& json, const JobInput& input, const KnownFlags& known)
      : json_(json), in_(input), known_(known) {}

  Result<Job> read() {
    if (!json_.is_object()) return Error{in_.path, "", quote(json_), "a JSON object"};
    script();
    degrees();
    batch();
    precision();
    zero();
    list_unknown(json_, "");
    software();
    if (error_) return *error_;
    return std::move(job_);
  }

 private:
  Plan& plan() { return job_.plan; }
  void fail(const std::string& key, const Json& found, const std::string& expected) {
    if (!error_) error_ = Error{in_.path, key, quote(found), expected};
  }
  // The value under a dotted key; nullptr when it is absent, null or "auto".
  const Json* find(const std::string& key) {
    const Json* at = &json_;
    for (size_t start = 0; at != nullptr && start <= key.size();) {
      const size_t dot = std::min(key.find('.', start), key.size());
      const std::string name = key.substr(start, dot - start);
      if (!at->is_object() || !at->contains(name)) return nullptr;
      at = &at->at(name);
      start = dot + 1;
    }
    if (at->is_null()) return nullptr;
    if (!at->is_string() || *at != "auto") return at;
    job_.assumed.push_back(key + " is \"auto\": the trainer fills it in, its default is taken");
    return nullptr;
  }
  int64_t integer(const std::string& key, int64_t fallback, int64_t low) {
    const Json* value = find(key);
    if (value == nullptr) return fallback;
    // 5e8 is written for whole numbers too.
    const double number = value->is_number() ? value->get<double>() : -1e300;
    if (number >= static_cast<double>(low) && number <= 1e12 && number == std::floor(number)) {
      return static_cast<int64_t>(number);
    }
    fail(key, *value, "a whole number of at least " + text(low));
    return fallback;
  }
  bool truth(const std::string& key, bool fallback) {
    const Json* value = find(key);
    if (value == nullptr) return fallback;
    if (value->is_boolean()) return value->get<bool>();
    fail(key, *value, "true or false");
    return fallback;
  }
  std::string word(const std::string& key, const std::string& fallback) {
    const Json* value = find(key);
    if (value == nullptr) return fallback;
    if (value->is_string()) return value->get<std::string>();
    fail(key, *value, "text");
    return fallback;
  }
  int64_t given(const std::string& key, int64_t fallback) {
    const Result<int64_t> value = given_integer(in_, key, fallback);
    if (!value && !error_) error_ = value.error();
    return value ? *value : fallback;
  }

  void script() {
    const std::string own = "shardwright.";
    plan().seq = given("seq", integer(own + "seq", 0, 1));
    if (plan().seq == 0 && !error_) {
      error_ =
          Error{in_.path, "seq", "nothing", "--set seq=TOKENS: DeepSpeed leaves it to the script"};
    }
    plan().seq = std::max<int64_t>(1, plan().seq);
    const auto set = in_.given.find("recompute");
    const std::string recompute =
        set != in_.given.end() ? set->second : word(own + "recompute", "none");
    if (!parse_recompute(recompute, &plan().recompute) ||
        plan().recompute == Recompute::kSelective) {
      fail("recompute", Json(recompute), "none or full");
    }
    if (set == in_.given.end() && find(own + "recompute") == nullptr) {
      job_.assumed.push_back(
          "recompute=none: the training script decides it (--set recompute=full)");
    }
  }

  void degrees() {
    plan().tp = integer("tensor_parallel.autotp_size", 1, 0);
    plan().tp = std::max<int64_t>(1, plan().tp);
    plan().pp = given("pp", integer("pipeline.stages", 1, 1));
    const int64_t ranks = integer("shardwright.ranks", 0, 0);
    plan().dp = take_dp(in_, ranks > 0 ? std::optional<int64_t>(ranks) : std::nullopt, &job_);
    if (plan().pp > kMaxJobChunks) return fail("pipeline.stages", Json(plan().pp), "fewer stages");
    const int64_t layers = in_.model.layers();
    plan().stage_layers = usual_layers(layers, plan().pp, false);
    const Json* printed = find("shardwright.stage_layers");
    if (printed == nullptr || !printed->is_array()) return;
    std::vector<int64_t> stages;
    for (const Json& value : *printed) {
      stages.push_back(value.is_number_integer() ? value.get<int64_t>() : 0);
    }
    if (static_cast<int64_t>(stages.size()) == plan().pp) plan().stage_layers = stages;
  }

  // Any two of the three give the third (runtime/config.py, _set_batch_related_parameters).
  void batch() {
    const int64_t micro = integer("train_micro_batch_size_per_gpu", 0, 1);
    const int64_t steps = integer("gradient_accumulation_steps", 0, 1);
    const int64_t all = integer("train_batch_size", given("global_batch", 0), 1);
    const int64_t dp = plan().dp;
    plan().micro_batch = micro;
    if (micro == 0) {
      plan().micro_batch =
          given("micro_batch",
                all > 0 ? std::max<int64_t>(1, all / (dp * std::max<int64_t>(1, steps))) : 1);
      job_.assumed.push_back("train_micro_batch_size_per_gpu " + text(plan().micro_batch));
    }
    const double product = static_cast<double>(plan().micro_batch) *
                           static_cast<double>(std::max<int64_t>(1, steps)) *
                           static_cast<double>(dp);
    if (product > 1e12) return fail("train_batch_size", Json(all), "a smaller batch");
    plan().global_batch = all > 0 ? all : plan().micro_batch * std::max<int64_t>(1, steps) * dp;
    if (all > 0 && micro > 0 && steps > 0 && all != micro * steps * dp) {
      job_.contradictions.push_back("train_batch_size " + text(all) +
                                    " is not train_micro_batch_size_per_gpu " + text(micro) +
                                    " * gradient_accumulation_steps " + text(steps) + " * " +
                                    text(dp) + " replicas");
      plan().global_batch = micro * steps * dp;
    }
  }

  void precision() {
    const bool bf16 = truth("bf16.enabled", false) || truth("bfloat16.enabled", false);
    const bool fp16 = truth("fp16.enabled", false);
    if (bf16 && fp16) job_.contradictions.push_back("bf16 excludes fp16");
    plan().precision = bf16 ? DataType::kBf16 : fp16 ? DataType::kFp16 : DataType::kFp32;
    const std::string sums = word("data_types.grad_accum_dtype", name_of(plan().precision));
    if (!parse_data_type(sums, &plan().gradient_type)) {
      fail("data_types.grad_accum_dtype", Json(sums), "fp32, fp16 or bf16");
    }
    std::string optimizer = word("optimizer.type", "AdamW");
    std::transform(optimizer.begin(), optimizer.end(), optimizer.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    plan().optimizer = optimizer == "sgd" ? OptimizerKind::kSgd : OptimizerKind::kAdamW;
    if (optimizer != "sgd" && optimizer.find("adam") == std::string::npos) {
      job_.assumed.push_back("optimizer " + printable(optimizer) + " is priced as AdamW");
    }
  }

  void zero() {
    plan().zero = integer("zero_optimization.stage", 0, 0);
    if (plan().zero > 3) fail("zero_optimization.stage", Json(plan().zero), "0 to 3");
    const bool overlap = truth("zero_optimization.overlap_comm", plan().zero == 3);
    plan().overlap.gradients = plan().overlap.parameters = overlap;
    plan().overlap.tensor = truth("tensor_parallel.tp_overlap_comm", false);
    const int64_t group = integer("zero_optimization.mics_shard_size", 0, -1);
    if (group > 0) plan().shard_group = group;
    if (group > 0 && plan().zero != 3) {
      job_.contradictions.push_back("mics_shard_size does nothing without stage 3");
    }
    if (word("zero_optimization.offload_optimizer.device", "none") != "none" ||
        truth("zero_optimization.cpu_offload", false)) {
      const Json* ratio = find("zero_optimization.offload_optimizer.ratio");
      plan().optimizer_offload =
          ratio != nullptr && ratio->is_number() ? ratio->get<double>() : 1.0;
      if (plan().optimizer_offload < 0 || plan().optimizer_offload > 1) {
        fail("zero_optimization.offload_optimizer.ratio", *ratio, "0 to 1");
      }
      if (plan().zero == 0) job_.illegal.push_back("offload_optimizer without ZeRO");
    }
    if (word("zero_optimization.offload_param.device", "none") != "none") {
      if (plan().zero != 3) job_.illegal.push_back("offload_param needs stage 3");
      job_.assumed.push_back("offload_param is left out of the price");
    }
  }

  // Sections other than ZeRO's are known by their names only.
  void list_unknown(const Json& section, const std::string& prefix) {
    for (const auto& [key, value] : section.items()) {
      const std::string name = prefix + key;
      if (name == "shardwright") continue;
      if (!known_.has(name)) job_.unknown.push_back(printable(name));
      if (name == "zero_optimization" && value.is_object()) list_unknown(value, name + ".");
    }
  }

  void software() {
    job_.software = exported_software(Framework::kDeepSpeed, plan());
    job_.assumed.push_back("software: stack " + job_.software.stack +
                           ", eager PyTorch layers with flash attention");
  }

  const Json& json_;
  const JobInput& in_;
  const KnownFlags& known_;
  Job job_;
  std::optional<Error> error_;
};

}  // namespace

Result<Job> read_deepspeed(const JobInput& input, const KnownFlags& known) {
  const Result<Json> json = parse_json(input.text, input.path);
  if (!json) return json.error();
  return DeepSpeedReader(*json, input, known).read();
}

}  // namespace shardwright
