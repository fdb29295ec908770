// The bound against the walk: never above, and equal where it says so.
#include "planner/schedule/bound.h"

#include "tests/planner/schedule/support.h"

namespace shardwright {
namespace {

TEST(Bound, IsNeverAboveTheWalk) {
  std::mt19937 random(11);
  for (int round = 0; round < 4; ++round) {
    for (const ScheduleShape& shape : shapes_up_to(6, 16)) {
      const PassTimes times = random_times(shape, &random);
      const int64_t walked = walk_schedule(shape, schedule_orders(shape), times).makespan_ns;
      const int64_t bound = pipeline_lower_bound_ns(shape, times);
      ASSERT_LE(bound, walked) << name_of(shape);
      // And worth something; V-Half's order is made for equal passes, which these are not.
      const int64_t part = shape.kind == ScheduleKind::kVHalf ? 4 : 2;
      EXPECT_GE(bound, walked / part) << name_of(shape);
    }
  }
}

bool exact(const ScheduleShape& shape, const ChunkUnits& ns) {
  switch (shape.kind) {
    case ScheduleKind::kGPipe:
    case ScheduleKind::kOneFOneB:
      return true;
    case ScheduleKind::kBreadthFirst:
      return shape.microbatches >= shape.stages;
    case ScheduleKind::kZbH1:
      return ns.backward_weight <= ns.forward + ns.backward_input;
    default:
      return false;
  }
}

TEST(Bound, IsTheWalkForUniformTimes) {
  for (const ScheduleShape& shape : shapes_up_to(6, 16)) {
    for (const ChunkUnits& ns :
         {ChunkUnits{1, 1, 1}, {20, 24, 16}, {5, 3, 8}, {1, 6, 2}, {7, 0, 7}}) {
      if (!exact(shape, ns)) continue;
      const PassTimes times = uniform_times(shape, ns);
      EXPECT_EQ(pipeline_lower_bound_ns(shape, times),
                walk_schedule(shape, schedule_orders(shape), times).makespan_ns)
          << name_of(shape) << " " << ns.forward << " " << ns.backward_input;
    }
  }
}

// Equal passes: ZB-H2, ZB-V and DualPipeV, too, with as many microbatches as fill them.
TEST(Bound, IsTheWalkForEqualPasses) {
  for (ScheduleKind kind : {ScheduleKind::kZbH2, ScheduleKind::kZbV, ScheduleKind::kDualPipeV}) {
    for (int p = 2; p <= 9; ++p) {
      const ScheduleShape shape{kind, p, kind == ScheduleKind::kZbH2 ? 1 : 2, 4 * p, {}, 0};
      const PassTimes times = uniform_times(shape, {3, 3, 3});
      EXPECT_EQ(pipeline_lower_bound_ns(shape, times),
                walk_schedule(shape, schedule_orders(shape), times).makespan_ns)
          << name_of(shape);
    }
  }
}

}  // namespace
}  // namespace shardwright
