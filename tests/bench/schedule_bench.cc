// Orders and walks of every schedule at 64 stages x 512 microbatches, on one core: milliseconds
// of CPU time, median with p10 and p90 of 21 samples after 3 for warming up. A sample makes the
// orders and walks them once. In the same run: nothing is stuck, no stage computes more or less
// than its passes, and with equal passes the makespan is what the closed form says
// (planner/schedule/bound.h), or, for V-Half, no less.
//
//   build/release/bench/bench_schedule [NAME]
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <ctime>

#include "planner/schedule/bound.h"

namespace shardwright {
namespace {

constexpr int kStages = 64, kMicrobatches = 512, kWarmUp = 3, kSamples = 21;
constexpr ChunkUnits kPass = {3000, 3000, 3000};  // ns

PassTimes equal_passes(const ScheduleShape& shape) {
  PassTimes times;
  times.chunks.assign(shape.chunks(), kPass);
  times.message_ns.assign(shape.chunks() - 1, 0);
  return times;
}

double cpu_ms() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e3 + static_cast<double>(now.tv_nsec) * 1e-6;
}

bool right(const ScheduleShape& shape, const PassTimes& times, const ScheduleWalk& walk) {
  const int64_t work = int64_t{shape.microbatches} * shape.virtual_stages *
                       (kPass.forward + kPass.backward_input + kPass.backward_weight);
  const bool all_done =
      walk.stuck == 0 && std::all_of(walk.stages.begin(), walk.stages.end(),
                                     [&](const StageWalk& stage) { return stage.busy_ns == work; });
  const int64_t bound = pipeline_lower_bound_ns(shape, times);
  const bool exact = shape.kind != ScheduleKind::kVHalf;
  return all_done && (exact ? walk.makespan_ns == bound : walk.makespan_ns >= bound);
}

int run(const ScheduleShape& shape) {
  const PassTimes times = equal_passes(shape);
  std::vector<double> order_ms, all_ms;
  bool correct = true;
  for (int i = 0; i < kWarmUp + kSamples; ++i) {
    const double start = cpu_ms();
    const auto orders = schedule_orders(shape);
    const double made = cpu_ms() - start;
    const ScheduleWalk walk = walk_schedule(shape, orders, times);
    const double all = cpu_ms() - start;
    correct = correct && right(shape, times, walk);
    if (i < kWarmUp) continue;
    order_ms.push_back(made);
    all_ms.push_back(all);
  }
  std::sort(order_ms.begin(), order_ms.end());
  std::sort(all_ms.begin(), all_ms.end());
  std::printf("%-14s v%d  orders and walk %6.2f ms (p10 %.2f, p90 %.2f), orders %.2f ms  %s\n",
              name_of(shape.kind), shape.virtual_stages, all_ms[kSamples / 2],
              all_ms[kSamples / 10], all_ms[kSamples * 9 / 10], order_ms[kSamples / 2],
              correct ? "correct" : "WRONG");
  return correct ? 0 : 1;
}

}  // namespace
}  // namespace shardwright

int main(int argc, char** argv) {
  using namespace shardwright;
  int failures = 0;
  for (int kind = 0; kind < kScheduleKinds; ++kind) {
    for (int v : {1, 2, 4}) {
      const ScheduleShape shape{static_cast<ScheduleKind>(kind), kStages, v, kMicrobatches, {}, 0};
      if (argc > 1 && std::strcmp(argv[1], name_of(shape.kind)) != 0) continue;
      if (schedule_problem(shape).empty()) failures += run(shape);
    }
  }
  return failures;
}
