// How long one estimate of a complete plan takes once model and cluster are loaded, and whether it
// is the figure that a fresh Estimator gives. Goal: at most 10 us on one core.
#include <benchmark/benchmark.h>

#include <cmath>

#include "costmodel/hf_config.h"
#include "planner/estimate.h"

namespace shardwright {
namespace {

struct Case {
  const char* model;
  const char* cluster;
  Plan plan;
};

Plan dense_plan() {
  Plan plan;
  plan.dp = 8;
  plan.tp = 8;
  plan.pp = 8;
  plan.global_batch = 512;
  plan.seq = 8192;
  plan.precision = DataType::kBf16;
  plan.split.sequence_parallel = true;
  plan.zero = 1;
  plan.stage_layers = {16, 16, 16, 16, 16, 16, 15, 15};
  return plan;
}

Plan moe_plan() {
  Plan plan;
  plan.dp = 64;
  plan.tp = 1;
  plan.pp = 16;
  plan.global_batch = 8192;
  plan.seq = 4096;
  plan.precision = DataType::kBf16;
  plan.split.ep = 64;
  plan.zero = 1;
  plan.recompute = Recompute::kSelective;
  plan.recompute_modules = kRecomputeLatentUp | kRecomputeMoeActivation;
  plan.stage_layers = std::vector<int64_t>(16, 4);
  plan.stage_layers.front() = 3;
  plan.stage_layers.back() = 2;
  return plan;
}

void run(benchmark::State& state, const Case& c) {
  const std::string profiles = default_profiles_dir();
  const auto model = load_model(c.model, profiles);
  const auto cluster = load_cluster(c.cluster, profiles);
  if (!model.ok() || !cluster.ok()) return state.SkipWithError("inputs");
  Estimator estimator(*model, *cluster, Kernels(), neutral_factors());
  const double expected =
      Estimator(*model, *cluster, Kernels(), neutral_factors()).estimate(c.plan).step_s;
  Plan other = c.plan;
  other.micro_batch = 2;
  for (auto _ : state) {
    // Two plans in turn, so that nothing of one can be reused for the other.
    benchmark::DoNotOptimize(estimator.estimate(other).step_s);
    const double found = estimator.estimate(c.plan).step_s;
    if (found != expected) state.SkipWithError("the estimate changes from call to call");
  }
  state.counters["s_per_step"] = expected;
  state.counters["us_per_plan"] =
      benchmark::Counter(2e-6 * static_cast<double>(state.iterations()),
                         benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}

void Dense(benchmark::State& state) {
  run(state, {"llama-3.1-405b", "h100-sxm-80gb:8x64", dense_plan()});
}
void Experts(benchmark::State& state) {
  run(state, {"deepseek-v3", "h100-sxm-80gb:8x128", moe_plan()});
}
BENCHMARK(Dense);
BENCHMARK(Experts);

}  // namespace
}  // namespace shardwright
