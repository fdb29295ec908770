#include "planner/lint/job.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "planner/export/idle_choices.h"
#include "planner/lint/flag_values.h"
#include "planner/lint/job_parts.h"
#include "planner/lint/shell.h"

namespace shardwright {
namespace {

std::string text(int64_t value) { return std::to_string(value); }

char first_letter(const std::string& content) {
  const size_t at = content.find_first_not_of(" \t\r\n");
  return at == std::string::npos ? '\0' : content[at];
}

// `distributed_type: FSDP` or `fsdp_config:` at the start of a line.
bool looks_like_yaml(const std::string& content) {
  for (const char* key : {"distributed_type:", "fsdp_config:", "compute_environment:"}) {
    const size_t at = content.find(key);
    if (at != std::string::npos && (at == 0 || content[at - 1] == '\n')) return true;
  }
  return false;
}

Result<FlagValues> flags_of(Framework framework, const JobInput& input) {
  const Result<KnownFlags> known = load_known_flags(framework, input.profiles_dir);
  if (!known) return known.error();
  const Result<ShellScript> script = read_shell(input.text, input.path);
  if (!script) return script.error();
  return FlagValues::of_script(framework, *known, *script, input.path);
}

Result<Job> read_by(Framework framework, const JobInput& input) {
  if (framework == Framework::kDeepSpeed || framework == Framework::kFsdp) {
    const Result<KnownFlags> known = load_known_flags(framework, input.profiles_dir);
    if (!known) return known.error();
    return framework == Framework::kFsdp ? read_fsdp(input, *known) : read_deepspeed(input, *known);
  }
  const Result<FlagValues> flags = flags_of(framework, input);
  if (!flags) return flags.error();
  Result<Job> job = framework == Framework::kMegatron     ? read_megatron(*flags, input)
                    : framework == Framework::kTorchtitan ? read_torchtitan(*flags, input)
                                                          : read_nemo(*flags, input);
  if (!job) return job;
  job->unknown = flags->unknown();
  job->contradictions.insert(job->contradictions.end(), flags->repeated().begin(),
                             flags->repeated().end());
  return job;
}

}  // namespace

std::optional<Error> add_choice(const std::string& text, GivenChoices* choices) {
  static constexpr const char* kKeys[] = {"seq", "global_batch", "micro_batch", "pp", "ranks"};
  const size_t equals = text.find('=');
  const std::string key = text.substr(0, equals);
  const bool known = std::any_of(std::begin(kKeys), std::end(kKeys),
                                 [&](const char* name) { return key == name; }) ||
                     key == "recompute";
  if (equals == std::string::npos || !known) {
    return Error{"command line", "set", printable(text),
                 "seq, global_batch, micro_batch, pp, ranks or recompute, as KEY=VALUE"};
  }
  (*choices)[key] = text.substr(equals + 1);
  return std::nullopt;
}

int64_t take_dp(const JobInput& input, std::optional<int64_t> ranks, Job* job) {
  const int64_t devices = input.cluster.num_devices();
  const Result<int64_t> given = given_integer(input, "ranks", 0);
  if (given && *given > 0) ranks = *given;
  if (!ranks) job->assumed.push_back("ranks: all " + text(devices) + " devices of the cluster");
  const int64_t all = ranks.value_or(devices);
  if (all > devices) {
    job->illegal.push_back(text(all) + " ranks, but the cluster has " + text(devices) + " devices");
  }
  // Degrees are at most 2^40 each: compared as floating numbers before they are multiplied.
  const Plan& plan = job->plan;
  const double block = static_cast<double>(plan.tp) * static_cast<double>(plan.pp) *
                       static_cast<double>(plan.split.cp);
  if (block > static_cast<double>(all) || all % static_cast<int64_t>(block) != 0) {
    job->illegal.push_back("tp " + text(plan.tp) + " * pp " + text(plan.pp) + " * cp " +
                           text(plan.split.cp) + " does not divide " + text(all) + " ranks");
    return 1;
  }
  return all / static_cast<int64_t>(block);
}

void check_shape(const std::string& setting, int64_t found, int64_t expected,
                 const ModelSpec& model, Job* job) {
  if (found == expected) return;
  job->contradictions.push_back(setting + " " + text(found) + ", but " + printable(model.name) +
                                " has " + text(expected));
}

Result<int64_t> given_integer(const JobInput& input, const std::string& key, int64_t fallback) {
  const auto found = input.given.find(key);
  if (found == input.given.end()) return fallback;
  const std::string& value = found->second;
  if (!value.empty() && value.size() <= 12 &&
      value.find_first_not_of("0123456789") == std::string::npos && std::stoll(value) > 0) {
    return std::stoll(value);
  }
  return Error{"command line", "set " + key, printable(value), "a whole number of at least 1"};
}

Result<Framework> recognise(const JobInput& input) {
  if (first_letter(input.text) == '{') return Framework::kDeepSpeed;
  if (looks_like_yaml(input.text)) return Framework::kFsdp;
  std::optional<Framework> best;
  size_t most = 0;
  for (Framework framework : {Framework::kMegatron, Framework::kTorchtitan, Framework::kNemo}) {
    const Result<FlagValues> flags = flags_of(framework, input);
    if (!flags) return flags.error();
    if (flags->known_flags() <= most) continue;
    most = flags->known_flags();
    best = framework;
  }
  if (best) return *best;
  return Error{input.path, "", "no option of a known trainer",
               "Megatron-LM, torchtitan or Megatron-Bridge arguments, a DeepSpeed JSON or an "
               "Accelerate FSDP YAML"};
}

Result<Job> read_job(Framework framework, const JobInput& input) {
  Result<Job> job = read_by(framework, input);
  if (!job) return job;
  job->framework = framework;
  std::vector<std::string> changed;
  job->plan = as_run_by(framework, input.model, job->plan, &changed);
  return job;
}

}  // namespace shardwright
