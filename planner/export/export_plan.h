// A plan as files of another framework: what it takes on its command line or reads, with a comment
// that says which version of its flags they were checked against and what is predicted.
#pragma once

#include <string>
#include <vector>

#include "costmodel/cluster_spec.h"
#include "planner/export/framework.h"
#include "planner/export/job_pricer.h"
#include "planner/legality.h"

namespace shardwright {

struct ExportFile {
  std::string name;     // without folders
  std::string content;  // the whole file
  bool executable = false;
};

// One option of a command line and its values, unquoted.
struct Argument {
  std::string name;
  std::vector<std::string> values;
};
using Arguments = std::vector<Argument>;
std::vector<std::string> words_of(const Arguments& arguments);

// What every writer needs. `plan` has no idle choices and is expressible.
struct ExportInput {
  const ModelSpec& model;
  const ClusterSpec& cluster;
  const Plan& plan;
  std::vector<std::string> about;  // lines of the comment, each safe in a comment
};

// One writer per framework, in the file of its name. Arguments are also what slurm.cc wraps.
Arguments megatron_arguments(const ModelSpec& model, const Plan& plan);        // megatron.cc
Arguments megatron_model_arguments(const ModelSpec& model, const Plan& plan);  // megatron_model.cc
Arguments torchtitan_arguments(const ModelSpec& model, const Plan& plan);      // torchtitan.cc
std::vector<ExportFile> megatron_files(const ExportInput& input);
std::vector<ExportFile> torchtitan_files(const ExportInput& input);
std::vector<ExportFile> deepspeed_files(const ExportInput& input);
std::vector<ExportFile> fsdp_files(const ExportInput& input);
std::vector<ExportFile> nemo_files(const ExportInput& input);
std::vector<ExportFile> slurm_files(const ExportInput& input, Framework wrapped);

// The process grid that a launcher starts.
struct Launch {
  int64_t nodes = 1, per_node = 1;
};
Launch launch_of(const ClusterSpec& cluster, const Plan& plan);
// "# line\n" for each.
std::string comments(const std::vector<std::string>& lines);
// NAME=( ... ) of bash, an option and its values on each line.
std::string bash_array(const std::string& name, const Arguments& arguments);

struct Export {
  Framework framework = Framework::kMegatron;
  std::vector<ExportFile> files;
  Plan plan;  // as the framework runs it: what lint reads back
  JobPrediction predicted;
  JobSoftware software;
  std::vector<Rejection> refused;    // not empty: nothing is exported
  std::vector<std::string> changed;  // overlap that the framework decides itself
};
struct ExportTarget {
  Framework framework = Framework::kMegatron;
  bool slurm = false;  // an sbatch script around the framework's command
};
// "megatron", ..., "slurm" (around Megatron).
bool parse_target(const std::string& name, ExportTarget* out);
// REQUIRES: the plan obeys legality.h and the cluster's devices support its precision.
Result<Export> export_plan(const ExportTarget& target, const ModelSpec& model,
                           const ClusterSpec& cluster, const Plan& plan,
                           const std::string& profiles_dir);

}  // namespace shardwright
