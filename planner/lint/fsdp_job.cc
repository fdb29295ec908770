// Accelerate's YAML for FSDP, version 2 or 1, as a plan. Batch and sequence come from --set, or
// from the comment that export writes.
#include <nlohmann/json.hpp>

#include "planner/lint/job.h"
#include "planner/lint/job_parts.h"
#include "planner/lint/yaml.h"

namespace shardwright {
namespace {

std::string text(int64_t value) { return std::to_string(value); }

// "#   seq=4096 global_batch=256 micro_batch=1" in a comment.
void add_written_choices(const std::string& content, GivenChoices* given) {
  constexpr const char* kMark = "#   seq=";
  const size_t at = content.find(kMark);
  if (at == std::string::npos || (at > 0 && content[at - 1] != '\n')) return;
  const std::string line = content.substr(at + 4, content.find('\n', at) - at - 4);
  GivenChoices written;
  for (size_t start = 0; start < line.size();) {
    const size_t end = std::min(line.find(' ', start), line.size());
    if (add_choice(line.substr(start, end - start), &written)) return;
    start = end + 1;
  }
  given->insert(written.begin(), written.end());  // those of the command line stay
}

class FsdpReader {
 public:
  FsdpReader(const Json& json, const JobInput& input, const KnownFlags& known)
      : json_(json), in_(input), known_(known) {}

  Result<Job> read() {
    list_unknown(json_, "");
    if (word("", "distributed_type", "FSDP") != "FSDP") {
      return Error{in_.path, "distributed_type", word("", "distributed_type", ""), "FSDP"};
    }
    degrees();
    batch();
    precision();
    sharding();
    if (error_) return *error_;
    job_.software = exported_software(Framework::kFsdp, job_.plan);
    job_.assumed.push_back("software: PyTorch FSDP, eager, as torchtitan's");
    return std::move(job_);
  }

 private:
  Plan& plan() { return job_.plan; }
  const Json* find(const std::string& section, const std::string& key) const {
    const Json* at = &json_;
    if (!section.empty()) {
      if (!json_.contains(section) || !json_.at(section).is_object()) return nullptr;
      at = &json_.at(section);
    }
    return at->contains(key) && !at->at(key).is_null() ? &at->at(key) : nullptr;
  }
  void fail(const std::string& key, const Json& found, const std::string& expected) {
    if (!error_) error_ = Error{in_.path, key, quote(found), expected};
  }
  std::string word(const std::string& section, const std::string& key,
                   const std::string& fallback) {
    const Json* value = find(section, key);
    if (value == nullptr) return fallback;
    return value->is_string() ? value->get<std::string>() : value->dump();
  }
  int64_t integer(const std::string& section, const std::string& key, int64_t fallback) {
    const Json* value = find(section, key);
    if (value == nullptr) return fallback;
    if (value->is_number_integer() && value->get<int64_t>() >= 1 &&
        value->get<int64_t>() <= (1 << 20)) {
      return value->get<int64_t>();
    }
    fail(key, *value, "a whole number from 1");
    return fallback;
  }
  bool truth(const std::string& section, const std::string& key, bool fallback) {
    const Json* value = find(section, key);
    if (value == nullptr) return fallback;
    if (value->is_boolean()) return value->get<bool>();
    fail(key, *value, "true or false");
    return fallback;
  }
  int64_t given(const std::string& key, int64_t fallback) {
    const Result<int64_t> value = given_integer(in_, key, fallback);
    if (!value && !error_) error_ = value.error();
    return value ? *value : fallback;
  }

  int64_t axis(const char* name) {
    const std::string section = "parallelism_config";
    return integer(section, section + "_" + name, 1);
  }

  void degrees() {
    plan().tp = axis("tp_size");
    plan().split.cp = axis("cp_size");
    if (axis("sp_size") > 1) {
      job_.assumed.push_back("sp_size (Ulysses) is priced as context parallelism by all-to-all");
      plan().split.cp = axis("sp_size");
      plan().split.cp_kind = CpKind::kAllToAll;
    }
    const int64_t processes = integer("", "num_processes", 0);
    plan().dp =
        take_dp(in_, processes > 0 ? std::optional<int64_t>(processes) : std::nullopt, &job_);
    plan().stage_layers = {in_.model.layers()};
  }

  void batch() {
    plan().seq = given("seq", 0);
    if (plan().seq == 0 && !error_) {
      error_ = Error{in_.path, "seq", "nothing",
                     "--set seq=TOKENS: Accelerate leaves it to the training script"};
    }
    plan().seq = std::max<int64_t>(1, plan().seq);
    plan().micro_batch = given("micro_batch", 1);
    plan().global_batch = given("global_batch", plan().micro_batch * plan().dp);
    for (const char* key : {"micro_batch", "global_batch"}) {
      if (in_.given.count(key) == 0) {
        job_.assumed.push_back(std::string(key) + "=" +
                               text(key[0] == 'm' ? plan().micro_batch : plan().global_batch) +
                               " (--set " + key + "=N)");
      }
    }
  }

  void precision() {
    const std::string name = word("", "mixed_precision", "no");
    if (name == "no" || name == "false") {
      plan().precision = DataType::kFp32;
    } else if (!parse_data_type(name, &plan().precision)) {
      fail("mixed_precision", Json(name), "no, fp16, bf16 or fp8");
    }
  }

  void sharding() {
    const std::string section = "fsdp_config";
    const int64_t version = integer(section, "fsdp_version", 1);
    const std::string strategy = word(section, "fsdp_sharding_strategy", "");
    const std::string reshard = word(section, "fsdp_reshard_after_forward", "");
    plan().zero = 3;
    if (version >= 2 && !strategy.empty()) {
      job_.contradictions.push_back("fsdp_sharding_strategy does nothing with fsdp_version 2");
    }
    const std::string& says = version >= 2 ? reshard : strategy.empty() ? reshard : strategy;
    if (says == "false" || says == "SHARD_GRAD_OP" || says == "_HYBRID_SHARD_ZERO2" ||
        says == "2") {
      plan().zero = 2;
    } else if (says == "NO_SHARD" || says == "3") {
      plan().zero = 0;
    }
    const int64_t replicate = axis("dp_replicate_size");
    const int64_t shard = axis("dp_shard_size");
    if (find("parallelism_config", "parallelism_config_dp_shard_size") != nullptr ||
        replicate > 1) {
      if (replicate * shard != plan().dp) {
        job_.illegal.push_back("dp_replicate_size " + text(replicate) + " * dp_shard_size " +
                               text(shard) + " is not dp " + text(plan().dp));
      } else if (replicate > 1) {
        plan().shard_group = shard * plan().split.cp;
      }
    }
    if (!json_.contains("parallelism_config") && plan().tp * plan().split.cp > 1 && version < 2) {
      job_.illegal.push_back("parallelism_config needs fsdp_version 2");
    }
    if (truth(section, "fsdp_activation_checkpointing", false)) plan().recompute = Recompute::kFull;
    if (truth(section, "fsdp_offload_params", false)) {
      plan().optimizer_offload = 1;
      job_.assumed.push_back("fsdp_offload_params is priced for the optimizer only");
    }
  }

  void list_unknown(const Json& section, const std::string& prefix) {
    for (const auto& [key, value] : section.items()) {
      const std::string name = prefix + key;
      if (!known_.has(name)) job_.unknown.push_back(printable(name));
      if ((name == "fsdp_config" || name == "parallelism_config") && value.is_object()) {
        list_unknown(value, name + ".");
      }
    }
  }

  const Json& json_;
  const JobInput& in_;
  const KnownFlags& known_;
  Job job_;
  std::optional<Error> error_;
};

}  // namespace

Result<Job> read_fsdp(const JobInput& input, const KnownFlags& known) {
  const Result<Json> json = parse_yaml(input.text, input.path);
  if (!json) return json.error();
  if (!json->is_object()) return Error{input.path, "", quote(*json), "keys and values"};
  JobInput with = input;
  add_written_choices(input.text, &with.given);
  return FsdpReader(*json, with, known).read();
}

}  // namespace shardwright
