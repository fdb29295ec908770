#include "tools/lint_command.h"

#include <nlohmann/json.hpp>
#include <ostream>

#include "costmodel/hf_config.h"
#include "planner/export/export_plan.h"
#include "planner/lint/lint.h"
#include "tools/exit_codes.h"
#include "tools/lint_report.h"

namespace shardwright {
namespace {

constexpr const char* kCommandLine = "command line";

int refuse(const Error& error, std::ostream& err) {
  err << error.line() << "\n";
  return kExitBadInput;
}

Result<LintOptions> options_of(const LintArguments& arguments) {
  LintOptions options;
  options.stack = arguments.stack;
  if (arguments.framework.empty()) return options;
  ExportTarget target;
  if (!parse_target(arguments.framework, &target) || target.slurm) {
    return Error{kCommandLine, "framework", printable(arguments.framework),
                 "megatron, deepspeed, torchtitan, fsdp or nemo"};
  }
  options.framework = target.framework;
  return options;
}

}  // namespace

int run_lint(const LintArguments& arguments, std::ostream& out, std::ostream& err) {
  const std::string profiles = default_profiles_dir();
  const Result<LintOptions> options = options_of(arguments);
  if (!options) return refuse(options.error(), err);
  const Result<ModelSpec> model = load_model(arguments.model, profiles);
  if (!model) return refuse(model.error(), err);
  const Result<ClusterSpec> cluster = load_cluster(arguments.cluster, profiles);
  if (!cluster) return refuse(cluster.error(), err);
  // A launch script is no larger than this.
  const Result<std::string> content = read_file(arguments.job, int64_t{4} << 20);
  if (!content) return refuse(content.error(), err);
  JobInput input{printable(arguments.job, 1000), *content, *model, *cluster, {}, profiles};
  for (const std::string& choice : arguments.set) {
    if (auto error = add_choice(choice, &input.given)) return refuse(*error, err);
  }
  const Result<LintReport> report = lint(input, *options);
  if (!report) return refuse(report.error(), err);
  if (arguments.json) {
    out << to_json(*report).dump(2, ' ', false, Json::error_handler_t::replace) << "\n";
  } else {
    out << lint_text(*report, *model, *cluster);
  }
  return report->fine() ? kExitOk : kExitNothingFits;
}

}  // namespace shardwright
