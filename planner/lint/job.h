// A job of another framework as lint understands it: the plan that its settings amount to, and what
// is wrong with them.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "costmodel/cluster_spec.h"
#include "planner/export/framework.h"
#include "planner/export/job_pricer.h"
#include "planner/plan.h"

namespace shardwright {

// What a job's file leaves to a training script, as the user says it (lint --set KEY=VALUE).
using GivenChoices = std::map<std::string, std::string>;
// Adds "seq=4096". Fails on another form or an unknown key.
std::optional<Error> add_choice(const std::string& text, GivenChoices* choices);

struct Job {
  Framework framework = Framework::kMegatron;
  Plan plan;
  JobSoftware software;
  std::vector<std::string> illegal;         // what the framework or the model refuses
  std::vector<std::string> contradictions;  // settings that exclude or undo each other
  std::vector<std::string> assumed;         // what the job does not say, and what was taken
  std::vector<std::string> unknown;         // flags that the framework does not define
};

struct JobInput {
  std::string path;  // for messages
  std::string text;
  const ModelSpec& model;
  const ClusterSpec& cluster;
  GivenChoices given;
  std::string profiles_dir;
};

// Which framework the text is for: JSON is DeepSpeed's, YAML Accelerate's, else the one that knows
// most of the flags. Fails when it looks like none.
Result<Framework> recognise(const JobInput& input);
// Fails when the text cannot be read, or what decides the plan depends on what only a running shell
// knows.
Result<Job> read_job(Framework framework, const JobInput& input);

// One reader per framework, in the file of its name.
class FlagValues;
Result<Job> read_megatron(const FlagValues& flags, const JobInput& input);    // megatron_job.cc
Result<Job> read_torchtitan(const FlagValues& flags, const JobInput& input);  // torchtitan_job.cc
Result<Job> read_nemo(const FlagValues& flags, const JobInput& input);        // nemo_job.cc
Result<Job> read_deepspeed(const JobInput& input, const KnownFlags& known);   // deepspeed_job.cc
Result<Job> read_fsdp(const JobInput& input, const KnownFlags& known);        // fsdp_job.cc

}  // namespace shardwright
