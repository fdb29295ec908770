// Export, then lint, gives the plan and the prediction back, over random plans of every choice.
#include <nlohmann/json.hpp>

#include "planner/search/full_search.h"
#include "tests/planner/export/export_support.h"

namespace shardwright {
namespace {

struct Trip {
  const char* to;
  const char* file;  // that lint reads
  const char* model;
  int at_least;  // plans of the tries that the framework must be able to say
};

class RoundTrip : public testing::TestWithParam<Trip> {};

TEST_P(RoundTrip, PlanAndPredictionComeBack) {
  const Trip& trip = GetParam();
  const ModelSpec model = shipped_model(trip.model);
  const ClusterSpec cluster = shipped_cluster("h100-sxm-80gb:8x8");
  ExportTarget target;
  ASSERT_TRUE(parse_target(trip.to, &target));
  Dice dice(7);
  int expressed = 0;
  for (int i = 0; i < 250; ++i) {
    const Plan plan = random_choices(model, 32, &dice);
    const Result<Export> exported = export_plan(target, model, cluster, plan, kProfiles);
    ASSERT_TRUE(exported.ok()) << exported.error().line();
    if (!exported->refused.empty()) continue;
    ++expressed;
    const std::string text = text_of(*exported, trip.file);
    const JobInput input{trip.file, text, model, cluster, {}, kProfiles};
    const Result<LintReport> report = lint(input, {});
    ASSERT_TRUE(report.ok()) << report.error().line() << "\n" << text;
    EXPECT_EQ(report->job.framework, target.framework) << text;
    EXPECT_EQ(choices_json(report->job.plan), choices_json(exported->plan)) << text;
    ASSERT_TRUE(report->predicted.has_value()) << report->not_predicted << "\n" << text;
    // The same plan under the same models: the same number, bit for bit.
    EXPECT_EQ(report->predicted->time.step_s, exported->predicted.time.step_s) << text;
    EXPECT_EQ(report->predicted->fullest().device_bytes,
              exported->predicted.fullest().device_bytes);
    EXPECT_TRUE(report->job.illegal.empty()) << report->job.illegal.front() << "\n" << text;
    EXPECT_TRUE(report->rejections.empty()) << report->rejections.front().line() << "\n" << text;
    EXPECT_TRUE(report->job.contradictions.empty()) << report->job.contradictions.front() << "\n"
                                                    << text;
    EXPECT_TRUE(report->job.unknown.empty()) << report->job.unknown.front() << "\n" << text;
    if (HasFailure()) break;
  }
  EXPECT_GE(expressed, trip.at_least);
}

INSTANTIATE_TEST_SUITE_P(Frameworks, RoundTrip,
                         testing::Values(Trip{"megatron", "megatron.sh", "llama-3.1-8b", 20},
                                         Trip{"megatron", "megatron.sh", "qwen3-30b-a3b", 10},
                                         Trip{"torchtitan", "torchtitan.sh", "llama-3.1-8b", 3},
                                         Trip{"torchtitan", "torchtitan.sh", "qwen3-30b-a3b", 3},
                                         Trip{"deepspeed", "ds_config.json", "llama-3.1-8b", 3},
                                         Trip{"fsdp", "fsdp.yaml", "llama-3.1-8b", 1},
                                         Trip{"nemo", "nemo.sh", "llama-3.1-8b", 8},
                                         Trip{"nemo", "nemo.sh", "qwen3-30b-a3b", 8},
                                         Trip{"slurm", "job.sbatch", "llama-3.1-8b", 20}),
                         [](const testing::TestParamInfo<Trip>& info) {
                           std::string name = std::string(info.param.to) + "_" + info.param.model;
                           for (char& c : name) {
                             if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
                           }
                           return name;
                         });

// A plan made for a framework, exported and read back: one prediction, to the last bit.
TEST(RoundTrip, PlanExportAndLintAgree) {
  const ClusterSpec cluster = shipped_cluster("h100-sxm-80gb:8x4");
  const std::pair<Framework, const char*> files[] = {{Framework::kMegatron, "megatron.sh"},
                                                     {Framework::kTorchtitan, "torchtitan.sh"},
                                                     {Framework::kDeepSpeed, "ds_config.json"},
                                                     {Framework::kFsdp, "fsdp.yaml"},
                                                     {Framework::kNemo, "nemo.sh"}};
  for (const char* name : {"llama-3.1-8b", "qwen3-30b-a3b"}) {
    const ModelSpec model = shipped_model(name);
    for (const auto& [framework, file] : files) {
      const auto software = Software::load(model, cluster, usual_stack(framework), kProfiles);
      ASSERT_TRUE(software.ok()) << software.error().line();
      ASSERT_FALSE((*software)->plan_for(name_of(framework)));
      SpaceRequest request;
      request.seq = 4096;
      request.global_batch = 64;
      request.top = 1;
      const Result<SpaceResult> found = search_space(**software, request);
      ASSERT_TRUE(found.ok()) << found.error().line();
      if (found->plans.empty()) continue;
      const RankedPlan& best = found->plans.front();
      const Result<Export> exported =
          export_plan({framework, false}, model, cluster, best.plan, kProfiles);
      ASSERT_TRUE(exported.ok() && exported->refused.empty()) << name_of(framework) << " " << name;
      const std::string text = text_of(*exported, file);
      const Result<LintReport> report = lint({file, text, model, cluster, {}, kProfiles}, {});
      ASSERT_TRUE(report.ok() && report->predicted) << text;
      EXPECT_EQ(exported->predicted.time.step_s, best.step_time_s)
          << name_of(framework) << " " << name << " " << best.plan.label();
      EXPECT_EQ(report->predicted->time.step_s, best.step_time_s);
      // Of a ranked plan each part is cut to whole bytes.
      EXPECT_NEAR(report->predicted->fullest().device_bytes,
                  static_cast<double>(best.memory_peak_bytes), 10);
    }
  }
}

// What has no effect has no effect: leaving it out changes no prediction.
TEST(IdleChoices, KeepThePrediction) {
  for (const char* name : {"llama-3.1-8b", "qwen3-30b-a3b", "deepseek-v3"}) {
    const ModelSpec model = shipped_model(name);
    const ClusterSpec cluster = shipped_cluster("h100-sxm-80gb:8x8");
    Dice dice(11);
    for (int i = 0; i < 200; ++i) {
      const Plan plan = random_choices(model, 32, &dice);
      const Plan without = without_idle_choices(model, plan);
      const JobSoftware software = exported_software(Framework::kMegatron, plan);
      Result<JobPricer> pricer = JobPricer::create(model, cluster, software, kProfiles);
      ASSERT_TRUE(pricer.ok());
      const JobPrediction a = pricer->predict(plan), b = pricer->predict(without);
      EXPECT_DOUBLE_EQ(a.time.step_s, b.time.step_s) << choices_json(plan);
      EXPECT_DOUBLE_EQ(a.fullest().device_bytes, b.fullest().device_bytes) << choices_json(plan);
      if (HasFailure()) return;
    }
  }
}

}  // namespace
}  // namespace shardwright
