// How much CPU time one pipeline of 64 stages x 512 microbatches takes to simulate, part by part:
// the Program from its plan, the readiness rule's links, the simulation with memory, and the walk
// through the schedule alone that search asks for. 1F1B, interleaved 1F1B and ZB-H1. Checked in the
// same run: the closed form of the makespan, and the walk against the Program.
//
//   build/release/bench/bench_simulate
#include <algorithm>
#include <cstdio>
#include <ctime>
#include <vector>

#include "costmodel/hf_config.h"
#include "planner/compile.h"
#include "planner/schedule/walk.h"
#include "planner/simulate.h"

namespace shardwright {
namespace {

constexpr int kStages = 64, kMicrobatches = 512, kSamples = 40, kWarmUp = 5;
constexpr int64_t kForward = 1000, kInput = 1100, kWeight = 900;

struct Case {
  const char* name;
  ScheduleKind schedule;
  int virtual_stages;
  int64_t makespan_ns;  // arXiv 2104.04473, section 2.2; arXiv 2401.10241, table 2
};
constexpr int64_t kAll = kForward + kInput + kWeight;
const Case kCases[] = {
    {"1f1b", ScheduleKind::kOneFOneB, 1, (kMicrobatches + kStages - 1) * kAll},
    {"interleaved x2", ScheduleKind::kOneFOneB, 2, (2 * kMicrobatches + kStages - 1) * kAll},
    {"zb-h1", ScheduleKind::kZbH1, 1,
     kMicrobatches* kAll + (kStages - 1) * (kForward + kInput - kWeight)},
};

// Of this process: others on the machine do not count.
double cpu_ms() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e3 + static_cast<double>(now.tv_nsec) * 1e-6;
}

template <typename Run>
void measure(const char* what, const Run& run) {
  std::vector<double> ms;
  for (int i = 0; i < kWarmUp + kSamples; ++i) {
    const double start = cpu_ms();
    run();
    if (i >= kWarmUp) ms.push_back(cpu_ms() - start);
  }
  std::sort(ms.begin(), ms.end());
  std::printf("  %-10s median %7.2f ms  p10 %7.2f  p90 %7.2f\n", what, ms[kSamples / 2],
              ms[kSamples / 10], ms[kSamples * 9 / 10]);
}

ProgramCosts costs_of(const Program& program) {
  ProgramCosts costs;
  for (const RankProgram& rank : program.ranks) {
    costs.instruction.emplace_back();
    for (const Instruction& next : rank.instructions) {
      costs.instruction.back().push_back(next.op == OpCode::kForward          ? kForward
                                         : next.op == OpCode::kBackward       ? kInput + kWeight
                                         : next.op == OpCode::kBackwardInput  ? kInput
                                         : next.op == OpCode::kBackwardWeight ? kWeight
                                                                              : 0);
    }
  }
  return costs;
}

int run(const Case& c, ModelSpec model) {
  Plan plan;
  plan.pp = kStages;
  plan.virtual_stages = c.virtual_stages;
  plan.schedule = c.schedule;
  plan.global_batch = kMicrobatches;
  plan.seq = 16;
  plan.stage_layers.assign(static_cast<size_t>(kStages * c.virtual_stages), 1);
  model.layer_kind.assign(plan.stage_layers.size(), 0);
  const CompileOptions options{.overlap = true, .representative = true};
  const Program program = compile(model, plan, options);
  const Readiness rule(program);
  const ProgramCosts costs = costs_of(program);
  size_t instructions = 0;
  for (const RankProgram& rank : program.ranks) instructions += rank.instructions.size();

  const ScheduleShape shape = schedule_shape(plan);
  PassTimes times;
  times.chunks.assign(plan.stage_layers.size(), {kForward, kInput, kWeight});
  const int64_t walked = walk_schedule(shape, schedule_orders(shape), times).makespan_ns;
  const int64_t simulated = simulate(program, rule, costs).makespan();
  std::printf(
      "%s: %zu instructions, makespan %lld ns, %s\n", c.name, instructions,
      static_cast<long long>(simulated),
      simulated == c.makespan_ns && walked == simulated ? "as the closed form says" : "WRONG");
  measure("compile", [&] { compile(model, plan, options); });
  measure("readiness", [&] { Readiness again(program); });
  measure("simulate", [&] { simulate(program, rule, costs); });
  measure("walk", [&] { walk_schedule(shape, schedule_orders(shape), times); });
  return simulated == c.makespan_ns && walked == simulated ? 0 : 1;
}

}  // namespace
}  // namespace shardwright

int main() {
  using namespace shardwright;
  const Result<ModelSpec> model = load_model("tiny-llama", default_profiles_dir());
  if (!model) {
    std::printf("%s\n", model.error().line().c_str());
    return 1;
  }
  int failures = 0;
  for (const Case& c : kCases) failures += run(c, *model);
  return failures;
}
