#include "planner/lint/lint.h"

#include "costmodel/pricer.h"
#include "planner/export/limits.h"

namespace shardwright {

Result<LintReport> lint(const JobInput& input, const LintOptions& options) {
  Result<Framework> framework =
      options.framework ? Result<Framework>(*options.framework) : recognise(input);
  if (!framework) return framework.error();
  Result<Job> job = read_job(*framework, input);
  if (!job) return job.error();
  const Result<KnownFlags> known = load_known_flags(*framework, input.profiles_dir);
  if (!known) return known.error();
  LintReport report;
  report.job = *std::move(job);
  report.checked_against = known->line();
  const Plan& plan = report.job.plan;
  report.rejections = check_plan(input.model, plan.ranks(), plan);
  if (!report.rejections.empty()) {
    report.not_predicted = "the plan breaks a rule";
    return report;
  }
  report.rejections = check_runnable(*framework, input.model, plan);
  if (plan.ranks() > input.cluster.num_devices()) {
    report.not_predicted = "the cluster has too few devices";
    return report;
  }
  if (auto error = check_supports(input.cluster, plan.precision)) {
    report.not_predicted = error->line();
    return report;
  }
  if (!options.stack.empty()) report.job.software.stack = options.stack;
  Result<JobPricer> pricer =
      JobPricer::create(input.model, input.cluster, report.job.software, input.profiles_dir);
  if (!pricer) return pricer.error();
  report.predicted = pricer->predict(plan);
  report.waste = waste_of(input.model, report.job, *report.predicted, &*pricer);
  report.changes = single_changes(input, report.job, *report.predicted, &*pricer);
  return report;
}

}  // namespace shardwright
