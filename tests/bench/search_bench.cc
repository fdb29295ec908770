// Search of the whole space on one core: GPT-3 175B on 4096 A100, Llama-3.1-405B on 16,384 H100,
// DeepSeek-V3 on 2,048 H100, and an 8B model on 8 GPUs. Prints what the search did; the plan it
// found must be simulated no faster than its own bound (checked inside the search). Each within
// what the stack's framework can express, and without limits.
//
//   build/release/bench/bench_search [NAME]
#include <sys/resource.h>

#include <chrono>
#include <cstdio>
#include <cstring>

#include "costmodel/hf_config.h"
#include "planner/search/full_search.h"

namespace shardwright {
namespace {

struct Case {
  const char *name, *model, *cluster, *stack;
  int64_t seq, global_batch;
};
const Case kCases[] = {
    {"gpt3-175b", "gpt3-175b", "a100-sxm-80gb:8x512", "megatron-core-2024", 2048, 3072},
    {"llama-405b", "llama-3.1-405b", "h100-sxm-80gb:8x2048", "megatron-core-2025", 8192, 2048},
    {"deepseek-v3", "deepseek-v3", "h100-sxm-80gb:8x256", "megatron-core-2025", 4096, 8192},
    {"llama-8b", "llama-3.1-8b", "h100-sxm-80gb:8", "megatron-core-2025", 8192, 128},
};

int run(const Case& c, const char* framework) {
  const std::string profiles = default_profiles_dir();
  const Result<ModelSpec> model = load_model(c.model, profiles);
  const Result<ClusterSpec> cluster = load_cluster(c.cluster, profiles);
  if (!model || !cluster) {
    std::printf("%s: %s\n", c.name, (model ? cluster.error() : model.error()).line().c_str());
    return 1;
  }
  auto software = Software::load(*model, *cluster, c.stack, profiles);
  if (!software) {
    std::printf("%s: %s\n", c.name, software.error().line().c_str());
    return 1;
  }
  if (framework != nullptr && (*software)->plan_for(framework)) return 1;
  SpaceRequest request;
  request.seq = c.seq;
  request.global_batch = c.global_batch;
  const auto start = std::chrono::steady_clock::now();
  const Result<SpaceResult> result = search_space(**software, request);
  const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
  if (!result) {
    std::printf("%s: %s\n", c.name, result.error().line().c_str());
    return 1;
  }
  const SpaceStats& s = result->stats;
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  std::printf(
      "%-12s for %-9s %.3f s  candidates %lld rules %lld memory %lld bound %lld priced %lld "
      "simulated %lld  "
      "%ld MiB\n",
      c.name, (*software)->framework().c_str(), taken.count(), static_cast<long long>(s.candidates),
      static_cast<long long>(s.pruned_rules), static_cast<long long>(s.pruned_memory),
      static_cast<long long>(s.pruned_bound), static_cast<long long>(s.priced),
      static_cast<long long>(s.simulated), usage.ru_maxrss / 1024);
  for (const RankedPlan& plan : result->plans) {
    const Plan& p = plan.plan;
    std::printf(
        "   %.4f s  %s cp%lld ep%lld etp%lld sp%d v%lld zero%lld/%lld rl%lld mod%u off%g "
        "%.1f GiB bubble %.3f\n",
        plan.step_time_s, p.label().c_str(), static_cast<long long>(p.split.cp),
        static_cast<long long>(p.split.ep), static_cast<long long>(p.split.etp),
        p.split.sequence_parallel, static_cast<long long>(p.virtual_stages),
        static_cast<long long>(p.zero), static_cast<long long>(p.shard_group),
        static_cast<long long>(p.recompute_layers), p.recompute_modules, p.optimizer_offload,
        static_cast<double>(plan.memory_peak_bytes) / (1 << 30), plan.bubble_share);
  }
  return 0;
}

}  // namespace
}  // namespace shardwright

int main(int argc, char** argv) {
  int failures = 0;
  for (const auto& c : shardwright::kCases) {
    if (argc > 1 && std::strcmp(argv[1], c.name) != 0) continue;
    for (const char* framework : {static_cast<const char*>(nullptr), "any"}) {
      failures += shardwright::run(c, framework);
    }
  }
  return failures;
}
