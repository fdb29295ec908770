// The synthesised schedule against every hand-made one that fits its cap, against the bound that
// nothing can beat, and against optima known by hand.
#include "planner/schedule/synthesised.h"

#include <algorithm>

#include "planner/schedule/bound.h"
#include "tests/planner/schedule/support.h"

namespace shardwright {
namespace {

ScheduleShape synthesised(int stages, int virtual_stages, int microbatches, int64_t cap,
                          const PassTimes& times) {
  return {ScheduleKind::kSynthesised, stages, virtual_stages, microbatches, times.chunks, cap};
}

int most_held(const ScheduleWalk& walk) {
  int most = 0;
  for (const StageWalk& stage : walk.stages) most = std::max(most, stage.peak_held);
  return most;
}

ScheduleWalk walk_of(const ScheduleShape& shape, const PassTimes& times) {
  return walk_schedule(shape, schedule_orders(shape), times);
}

PassTimes without_messages(PassTimes times) {
  std::fill(times.message_ns.begin(), times.message_ns.end(), 0);
  return times;
}

// Every pass once, forward before gradient of inputs before gradient of weights.
void expect_complete(const ScheduleShape& shape, const std::vector<std::vector<Slot>>& orders) {
  for (const std::vector<Slot>& order : orders) {
    std::vector<int> done(static_cast<size_t>(shape.virtual_stages) * shape.microbatches);
    for (const Slot& slot : order) {
      int& passes = done[slot.chunk * shape.microbatches + slot.microbatch];
      EXPECT_EQ(passes, slot.kind == Slot::kForward         ? 0
                        : slot.kind == Slot::kBackwardInput ? 1
                                                            : 2);
      ++passes;
    }
    EXPECT_EQ(std::count(done.begin(), done.end(), 3), static_cast<int64_t>(done.size()));
  }
}

TEST(Synthesised, IsNoSlowerThanAnyHandMadeUnderTheSameCap) {
  std::mt19937 random(5);
  int compared = 0, faster = 0;
  for (int round = 0; round < 400; ++round) {
    const int p = 2 + static_cast<int>(random() % 5), v = 1 + static_cast<int>(random() % 3);
    const int m = 1 + static_cast<int>(random() % 14);
    const int64_t cap = v + static_cast<int64_t>(random() % static_cast<unsigned>(2 * p * v));
    ScheduleShape shape{ScheduleKind::kSynthesised, p, v, m, {}, cap};
    const PassTimes times = without_messages(random_times(shape, &random));
    shape.units = times.chunks;
    const auto orders = schedule_orders(shape);
    expect_complete(shape, orders);
    const ScheduleWalk walk = walk_schedule(shape, orders, times);
    ASSERT_EQ(walk.stuck, 0U) << name_of(shape);
    EXPECT_LE(most_held(walk), cap) << name_of(shape);
    EXPECT_GE(walk.makespan_ns, pipeline_lower_bound_ns(shape, times)) << name_of(shape);
    for (const ScheduleShape& other : hand_made_shapes(shape)) {
      const ScheduleWalk hand_made = walk_of(other, times);
      if (most_held(hand_made) > cap) continue;
      EXPECT_LE(walk.makespan_ns, hand_made.makespan_ns) << name_of(shape) << name_of(other);
      ++compared;
      faster += walk.makespan_ns < hand_made.makespan_ns;
    }
  }
  EXPECT_GT(compared, 400);
  EXPECT_GT(faster, compared / 2);  // and worth the trouble
}

// Chunks that all take the same time lie as well in a V as in rounds: no worse than interleaved and
// breadth-first either.
TEST(Synthesised, IsNoSlowerThanOtherPlacementsOfEqualChunks) {
  int compared = 0;
  for (const ChunkUnits& ns : {ChunkUnits{10, 10, 10}, {20, 24, 16}, {10, 14, 5}}) {
    for (const ScheduleShape& other : shapes_up_to(5, 12)) {
      if (other.virtual_stages != 2 || is_v_shaped(other.kind, 2)) continue;
      const PassTimes times = uniform_times(other, ns);
      const ScheduleWalk hand_made = walk_of(other, times);
      const ScheduleShape shape =
          synthesised(other.stages, 2, other.microbatches, most_held(hand_made), times);
      EXPECT_LE(walk_of(shape, times).makespan_ns, hand_made.makespan_ns) << name_of(other);
      ++compared;
    }
  }
  EXPECT_GT(compared, 100);
}

// With room for everything and equal passes nothing can be better than filling the first stage's
// way to the last and back: ZB-H2 and ZB-V.
TEST(Synthesised, ReachesTheBoundOfEqualPasses) {
  for (int p = 2; p <= 8; ++p) {
    for (int v : {1, 2}) {
      const ScheduleShape like{ScheduleKind::kSynthesised, p, v, 3 * p, {}, 0};
      const PassTimes times = uniform_times(like, {6, 6, 6});
      const ScheduleShape shape = synthesised(p, v, 3 * p, v == 1 ? 2 * p - 1 : 2 * p, times);
      EXPECT_EQ(walk_of(shape, times).makespan_ns, pipeline_lower_bound_ns(shape, times))
          << name_of(shape);
    }
  }
}

// Two stages, one place each: a microbatch has to be done before the next one starts.
TEST(Synthesised, OnePlaceByHand) {
  const ScheduleShape shape{ScheduleKind::kSynthesised, 2, 1, 2, {}, 1};
  const auto orders = schedule_orders(shape);
  EXPECT_EQ(text_of(orders[0]), "F0I0W0F1I1W1");
  EXPECT_EQ(text_of(orders[1]), "F0I0W0F1I1W1");
  EXPECT_EQ(walk_of(shape, synthesised_times(shape)).makespan_ns, 10);  // F F I I W, twice
}

TEST(Synthesised, SaysWhatItNeeds) {
  const auto problem = [](int v, int64_t cap, std::vector<ChunkUnits> units) {
    return schedule_problem({ScheduleKind::kSynthesised, 2, v, 4, std::move(units), cap});
  };
  EXPECT_EQ(problem(2, 2, {}), "");
  EXPECT_EQ(problem(2, 1, {}), "synthesised needs room for 2 chunk-microbatches a stage, not 1");
  EXPECT_EQ(problem(1, 2, std::vector<ChunkUnits>(3)),
            "synthesised has times of 3 chunks, not of 2");
}

}  // namespace
}  // namespace shardwright
