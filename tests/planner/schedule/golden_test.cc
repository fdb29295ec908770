// Orders of every schedule for 4 stages and 8 microbatches against texts that can be read
// (golden/), and what those orders cost against the closed forms of the papers.
#include <fstream>
#include <sstream>

#include "planner/schedule/bound.h"
#include "tests/planner/schedule/support.h"

namespace shardwright {
namespace {

constexpr int kStages = 4, kMicrobatches = 8;

ScheduleShape golden_shape(ScheduleKind kind, int virtual_stages) {
  ScheduleShape shape{kind, kStages, virtual_stages, kMicrobatches, {}, 0};
  if (kind == ScheduleKind::kSynthesised) {
    // As much as ZB-H1 and ZB-V hold, and a head that takes as long as a chunk's layers.
    shape.cap = kStages * virtual_stages;
    shape.units.assign(shape.chunks(), {5, 6, 4});
    shape.units.back() = {10, 12, 8};
  }
  return shape;
}

std::string golden_name(const ScheduleShape& shape) {
  const bool several = shape.virtual_stages > 1 && !is_v_shaped(shape.kind, 1);
  return std::string(name_of(shape.kind)) +
         (several ? "-v" + std::to_string(shape.virtual_stages) : "") + ".txt";
}

// "stage 0  F0 F1 I0 W0": as text_of, with spaces.
std::string text_of(const std::vector<std::vector<Slot>>& orders) {
  std::string out;
  for (size_t stage = 0; stage < orders.size(); ++stage) {
    out += "stage " + std::to_string(stage) + " ";
    for (const Slot& slot : orders[stage]) out += " " + text_of(std::vector<Slot>{slot});
    out += "\n";
  }
  return out;
}

// Lines that start with # are for the reader.
std::string read_golden(const std::string& name) {
  std::ifstream file(SHARDWRIGHT_SOURCE_DIR "/tests/planner/schedule/golden/" + name);
  std::string text, line;
  while (std::getline(file, line)) {
    if (line.rfind('#', 0) != 0) text += line + "\n";
  }
  return text;
}

TEST(Golden, Orders) {
  int compared = 0;
  for (int kind = 0; kind < kScheduleKinds; ++kind) {
    for (int v : {1, 2}) {
      const ScheduleShape shape = golden_shape(static_cast<ScheduleKind>(kind), v);
      if (!schedule_problem(shape).empty()) continue;
      EXPECT_EQ(text_of(schedule_orders(shape)), read_golden(golden_name(shape)))
          << golden_name(shape);
      ++compared;
    }
  }
  EXPECT_EQ(compared, 11);
}

// What the papers say of them when every pass of a chunk takes 1: bubble of the makespan on stage 0
// (with the (p-1) forwards by which stages start apart), and the most chunk-microbatches on stage
// r.
struct Closed {
  ScheduleKind kind;
  int virtual_stages;
  int bubble;
  int (*held)(int r);
};
constexpr int p = kStages, m = kMicrobatches;
const Closed kClosed[] = {
    // arXiv 1811.06965 and 2104.04473: (p-1)(F+B+W), m and min(m, p-r) microbatches.
    {ScheduleKind::kGPipe, 1, (p - 1) * 3, [](int) { return m; }},
    {ScheduleKind::kOneFOneB, 1, (p - 1) * 3, [](int r) { return p - r; }},
    // 2104.04473, 2205.05198: over v of a stage's time, 2(p-r-1) + (v-1)p + 1 held.
    {ScheduleKind::kOneFOneB, 2, (p - 1) * 3, [](int r) { return 2 * (p - r - 1) + p + 1; }},
    {ScheduleKind::kBreadthFirst, 2, (p - 1) * 3, [](int) { return 2 * m; }},
    // 2401.10241, table 2: (p-1)(F+B-W) and p; no bubble, stages (p-1)F apart, and 2p-1.
    {ScheduleKind::kZbH1, 1, p - 1, [](int) { return p; }},
    {ScheduleKind::kZbH2, 1, p - 1, [](int) { return 2 * p - 1; }},
    // 2401.10241, section 6: no bubble, stages (p-1)F/2 of a stage apart; p of a stage.
    {ScheduleKind::kZbV, 2, p - 1, [](int) { return 2 * p; }},
    // DualPipe's README, without overlap: (p-1)(f+b-w) of a chunk; P+1 of its P = 2p chunks.
    {ScheduleKind::kDualPipeV, 2, p - 1, [](int) { return 2 * p + 1; }},
};

TEST(Golden, CostWhatThePapersSay) {
  for (const Closed& closed : kClosed) {
    const ScheduleShape shape = golden_shape(closed.kind, closed.virtual_stages);
    const ScheduleWalk walk =
        walk_schedule(shape, schedule_orders(shape), uniform_times(shape, {1, 1, 1}));
    EXPECT_EQ(walk.makespan_ns - walk.stages[0].busy_ns, closed.bubble) << golden_name(shape);
    for (int r = 0; r < kStages; ++r) {
      EXPECT_EQ(walk.stages[r].peak_held, closed.held(r)) << golden_name(shape) << " stage " << r;
    }
  }
}

// No closed forms. V-Half (arXiv 2405.15362): at most half of 1F1B's bubble, in times of a chunk
// (p-1)(F+B+W), and floor((p+2)/2) of a stage.
TEST(Golden, VHalfKeepsItsLimits) {
  const ScheduleShape shape = golden_shape(ScheduleKind::kVHalf, 2);
  const ScheduleWalk walk =
      walk_schedule(shape, schedule_orders(shape), uniform_times(shape, {1, 1, 1}));
  EXPECT_LE(walk.makespan_ns - walk.stages[0].busy_ns, (p - 1) * 3);
  for (const StageWalk& stage : walk.stages) EXPECT_LE(stage.peak_held, 2 * ((p + 2) / 2));
}

// Nothing is faster than the synthesised; of those that hold as much ZB-V is slower, ZB-H1 is not.
TEST(Golden, NothingBeatsTheSynthesised) {
  for (ScheduleKind kind : {ScheduleKind::kZbH1, ScheduleKind::kZbV}) {
    const ScheduleShape other = golden_shape(kind, kind == ScheduleKind::kZbV ? 2 : 1);
    const ScheduleShape shape = golden_shape(ScheduleKind::kSynthesised, other.virtual_stages);
    const PassTimes times{shape.units, {}, {}};
    const ScheduleWalk walk = walk_schedule(shape, schedule_orders(shape), times),
                       hand_made = walk_schedule(other, schedule_orders(other), times);
    EXPECT_EQ(walk.makespan_ns, pipeline_lower_bound_ns(shape, times));
    EXPECT_EQ(walk.makespan_ns < hand_made.makespan_ns, kind == ScheduleKind::kZbV);
    for (const StageWalk& stage : walk.stages) EXPECT_LE(stage.peak_held, shape.cap);
  }
}

}  // namespace
}  // namespace shardwright
