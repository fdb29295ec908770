// Tokens per second of a training step on one rank, fp32, on random tokens. The correctness beside
// the speed: the loss must start near ln(vocabulary) and must fall.
//   train_speed MODEL SEQ BATCH STEPS      prints one JSON line, times are medians after 2 steps
#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "costmodel/cluster_spec.h"
#include "costmodel/hf_config.h"
#include "executor/comm/thread_comm.h"
#include "executor/cpu/cpu_ops.h"
#include "executor/run/run_folder.h"
#include "executor/run/trainer.h"
#include "planner/compile.h"

namespace shardwright {
namespace {

int run(const char* name, int64_t seq, int64_t batch, int64_t num_steps) {
  const ModelSpec model = load_model(name, default_profiles_dir()).value();
  Plan plan;
  plan.seq = seq;
  plan.global_batch = plan.micro_batch = batch;
  plan.stage_layers = {model.layers()};
  const Program program = compile(model, plan, {.overlap = false});
  const StepTable steps(model, program, plan.optimizer);
  TrainOptions options;
  options.steps = num_steps;
  options.settings.lr = 1e-4f;
  // The same few sequences again and again, so that the loss must fall.
  const SampleSource samples = [&](int64_t number, int32_t* tokens, int32_t* targets) {
    uint64_t state = static_cast<uint64_t>(number % batch) + 1;
    const auto next = [&] {
      state = state * 6364136223846793005ull + 1442695040888963407ull;
      return static_cast<int32_t>((state >> 33) % static_cast<uint64_t>(model.vocab));
    };
    for (int64_t t = 0; t < seq; ++t) tokens[t] = next();
    for (int64_t t = 0; t < seq; ++t) targets[t] = t + 1 < seq ? tokens[t + 1] : next();
  };
  TrainResult result;
  run_ranks(1, std::chrono::seconds(600), [&](Communicator& comm) {
    const auto ops = make_cpu_ops(0);
    result = train_rank(model, program, steps, *ops, comm, options, samples);
  });
  const RunSummary summary{1, num_steps, plan.tokens_per_step(), "threads", result.makespans};
  const double seconds = to_seconds(summary.median_makespan());
  const double first = result.metrics.front().loss, last = result.metrics.back().loss;
  std::printf(
      "{\"model\": \"%s\", \"seq\": %lld, \"batch\": %lld, \"ms\": %.2f, \"tok_s\": %.1f, "
      "\"loss_first\": %.4f, \"loss_last\": %.4f}\n",
      name, static_cast<long long>(seq), static_cast<long long>(batch), seconds * 1e3,
      static_cast<double>(plan.tokens_per_step()) / seconds, first, last);
  const double uniform = std::log(static_cast<double>(model.vocab));
  return std::abs(first - uniform) < 0.5 && last < first ? 0 : 1;
}

}  // namespace
}  // namespace shardwright

int main(int argc, char** argv) {
  if (argc != 5) {
    std::fprintf(stderr, "usage: train_speed MODEL SEQ BATCH STEPS\n");
    return 2;
  }
  return shardwright::run(argv[1], std::atoll(argv[2]), std::atoll(argv[3]), std::atoll(argv[4]));
}
