#include "planner/export/export_plan.h"

#include <algorithm>
#include <sstream>

#include "planner/export/idle_choices.h"
#include "planner/export/limits.h"
#include "planner/export/quoting.h"

namespace shardwright {
namespace {

std::vector<ExportFile> write(const ExportTarget& target, const ExportInput& input) {
  if (target.slurm) return slurm_files(input, target.framework);
  switch (target.framework) {
    case Framework::kMegatron:
      return megatron_files(input);
    case Framework::kTorchtitan:
      return torchtitan_files(input);
    case Framework::kDeepSpeed:
      return deepspeed_files(input);
    case Framework::kFsdp:
      return fsdp_files(input);
    case Framework::kNemo:
      return nemo_files(input);
  }
  return {};
}

std::vector<std::string> about(const ModelSpec& model, const ClusterSpec& cluster,
                               const KnownFlags& known, const Export& out) {
  std::vector<std::string> lines = {
      comment_text(model.name) + " on " + std::to_string(out.plan.ranks()) + " devices of " +
          comment_text(cluster.name) + ": " + out.plan.label(),
      "Written by shardwright; flags checked against " + comment_text(known.line()),
      "Predicted: " + comment_text(prediction_line(out.predicted, out.software))};
  for (const std::string& change : out.changed) {
    lines.push_back("Not as planned, the framework has no switch for it: " + change);
  }
  return lines;
}

}  // namespace

std::vector<std::string> words_of(const Arguments& arguments) {
  std::vector<std::string> words;
  for (const Argument& argument : arguments) {
    words.push_back(argument.name);
    words.insert(words.end(), argument.values.begin(), argument.values.end());
  }
  return words;
}

Launch launch_of(const ClusterSpec& cluster, const Plan& plan) {
  const int64_t node = cluster.devices_per_node_of(0);
  if (plan.ranks() % node == 0) return {plan.ranks() / node, node};
  // Fewer devices than a node has, or nodes filled in part.
  int64_t nodes = (plan.ranks() + node - 1) / node;
  while (plan.ranks() % nodes != 0) ++nodes;
  return {nodes, plan.ranks() / nodes};
}

std::string comments(const std::vector<std::string>& lines) {
  std::string out;
  for (const std::string& line : lines) out += "# " + line + "\n";
  return out;
}

std::string bash_array(const std::string& name, const Arguments& arguments) {
  std::string out = name + "=(\n";
  for (const Argument& argument : arguments) {
    out += "  " + shell_word(argument.name);
    if (!argument.values.empty()) out += " " + shell_words(argument.values);
    out += "\n";
  }
  return out + ")\n";
}

bool parse_target(const std::string& name, ExportTarget* out) {
  *out = ExportTarget();
  if (name == "slurm") {
    out->slurm = true;
    return true;
  }
  for (Framework framework : all_frameworks()) {
    if (name != name_of(framework)) continue;
    out->framework = framework;
    return true;
  }
  return false;
}

Result<Export> export_plan(const ExportTarget& target, const ModelSpec& model,
                           const ClusterSpec& cluster, const Plan& plan,
                           const std::string& profiles_dir) {
  Export out;
  out.framework = target.framework;
  out.plan = as_run_by(target.framework, model, plan, &out.changed);
  out.refused = check_expressible(target.framework, model, out.plan);
  if (!out.refused.empty()) return out;
  const Result<KnownFlags> known = load_known_flags(target.framework, profiles_dir);
  if (!known) return known.error();
  out.software = exported_software(target.framework, out.plan);
  Result<JobPricer> pricer = JobPricer::create(model, cluster, out.software, profiles_dir);
  if (!pricer) return pricer.error();
  out.predicted = pricer->predict(out.plan);
  out.files = write(target, {model, cluster, out.plan, about(model, cluster, *known, out)});
  return out;
}

}  // namespace shardwright
