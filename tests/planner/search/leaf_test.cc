// What dominates is never slower: held against the walk through random schedules.
#include "planner/search/leaf.h"

#include <gtest/gtest.h>

#include <random>

#include "planner/schedule/schedule.h"

namespace shardwright {
namespace {

Plan plan_of(ScheduleKind schedule, int64_t pp, int64_t v) {
  Plan plan;
  plan.pp = pp;
  plan.virtual_stages = v;
  plan.schedule = schedule;
  plan.global_batch = 2 * pp;
  return plan;
}

Nanoseconds step_of(const Plan& plan, const StepNs& times) {
  const ScheduleShape shape = schedule_shape(plan);
  const ScheduleWalk walk = walk_schedule(shape, schedule_orders(shape), with_messages(times));
  std::vector<Nanoseconds> ends;
  for (const StageWalk& stage : walk.stages) ends.push_back(stage.last_end_ns);
  return end_of_step(plan, times, ends);
}

StepNs random_times(const Plan& plan, std::mt19937* random) {
  const auto ns = [&](int64_t most) { return static_cast<int64_t>((*random)() % most); };
  StepNs times;
  for (int64_t c = 0; c < plan.pp * plan.virtual_stages; ++c) {
    times.passes.chunks.push_back(
        {1 + ns(9), 1 + ns(9), splits_backward(plan.schedule) ? ns(9) : 0});
    if (c > 0) times.passes.message_ns.push_back(ns(3));
  }
  for (int64_t stage = 0; stage < plan.pp; ++stage) {
    times.stages.push_back({ns(20), ns(20), ns(20), ns(20)});
  }
  times.tied = ns(2) * 10;
  times.clip = ns(5);
  times.tied_first = ns(2) == 1;
  return times;
}

TEST(Leaf, WhatDominatesIsNeverSlower) {
  std::mt19937 random(5);
  const std::tuple<ScheduleKind, int64_t> schedules[] = {{ScheduleKind::kGPipe, 1},
                                                         {ScheduleKind::kOneFOneB, 1},
                                                         {ScheduleKind::kOneFOneB, 2},
                                                         {ScheduleKind::kZbH1, 1},
                                                         {ScheduleKind::kZbV, 2}};
  int dominated = 0;
  for (int round = 0; round < 2000; ++round) {
    const auto [schedule, v] = schedules[round % 5];
    const Plan plan = plan_of(schedule, 2 + static_cast<int64_t>(random() % 3), v);
    Leaf a{0, 0, random_times(plan, &random)};
    Leaf b = a;
    // Some times longer, now and then one shorter: then neither may dominate.
    for (StageNs& stage : b.times.stages) {
      for (Nanoseconds* ns :
           {&stage.gather_first, &stage.reduction, &stage.update, &stage.gather_last}) {
        if (random() % 3 == 0) *ns += static_cast<Nanoseconds>(random() % 5);
        if (random() % 40 == 0) *ns = std::max<Nanoseconds>(0, *ns - 3);
      }
    }
    if (random() % 4 == 0) b.times.tied_first = !b.times.tied_first;
    if (random() % 4 == 0) b.times.passes.chunks[0].forward += 2;
    if (!b.dominated_by(a)) continue;
    ++dominated;
    EXPECT_LE(step_of(plan, a.times), step_of(plan, b.times)) << plan.label();
  }
  EXPECT_GT(dominated, 500);
}

// A gather of 4 before the last stage's first forward hides behind filling; one of 3 after the
// update does not: being shorter is not enough.
TEST(Leaf, AShorterGatherElsewhereDoesNotDominate) {
  const Plan plan = plan_of(ScheduleKind::kOneFOneB, 2, 1);
  StepNs before;
  before.passes.chunks = {{5, 5, 0}, {5, 5, 0}};
  before.passes.message_ns = {0};
  before.stages = {{0, 0, 1, 0}, {4, 0, 1, 0}};
  StepNs after = before;
  after.stages = {{0, 0, 1, 0}, {0, 0, 1, 3}};
  EXPECT_EQ(step_of(plan, before) + 3, step_of(plan, after));
  EXPECT_FALSE((Leaf{0, 0, before}.dominated_by(Leaf{0, 0, after})));
  EXPECT_FALSE((Leaf{0, 0, after}.dominated_by(Leaf{0, 0, before})));
}

// Two plans of the same times differ in memory alone.
TEST(Leaf, NeedsAsLittleMemory) {
  Leaf large, small;
  large.memory_share = 0.5;
  small.memory_share = 0.25;
  EXPECT_TRUE(large.dominated_by(small));
  EXPECT_FALSE(small.dominated_by(large));
}

}  // namespace
}  // namespace shardwright
