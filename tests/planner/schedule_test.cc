// Orders against lists written by hand, and in-flight microbatches against the closed forms of
// GPipe (arXiv 1811.06965) and 1F1B (arXiv 2104.04473): m and min(m, p - r).
#include "planner/schedule/schedule.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace shardwright {
namespace {

std::string text(ScheduleKind kind, int stage, int stages, int microbatches) {
  std::string out;
  const auto orders = schedule_orders({kind, stages, 1, microbatches, {}, 0});
  for (const Slot& slot : orders[stage]) {
    out += slot.kind == Slot::kForward ? 'F' : 'B';
    out += std::to_string(slot.microbatch);
  }
  return out;
}

TEST(Schedule, GPipeIsAllForwardsThenAllBackwards) {
  for (int stage = 0; stage < 3; ++stage) {
    EXPECT_EQ(text(ScheduleKind::kGPipe, stage, 3, 4), "F0F1F2F3B0B1B2B3");
  }
}

TEST(Schedule, OneFOneBOfThreeStages) {
  EXPECT_EQ(text(ScheduleKind::kOneFOneB, 0, 3, 4), "F0F1F2B0F3B1B2B3");
  EXPECT_EQ(text(ScheduleKind::kOneFOneB, 1, 3, 4), "F0F1B0F2B1F3B2B3");
  EXPECT_EQ(text(ScheduleKind::kOneFOneB, 2, 3, 4), "F0B0F1B1F2B2F3B3");
}

TEST(Schedule, OneFOneBWithFewerMicrobatchesThanStages) {
  EXPECT_EQ(text(ScheduleKind::kOneFOneB, 0, 4, 2), "F0F1B0B1");
  EXPECT_EQ(text(ScheduleKind::kOneFOneB, 2, 4, 2), "F0F1B0B1");
  EXPECT_EQ(text(ScheduleKind::kOneFOneB, 3, 4, 2), "F0B0F1B1");
}

TEST(Schedule, InFlightIsTheClosedForm) {
  for (int stages = 1; stages <= 8; ++stages) {
    for (int m = 1; m <= 12; ++m) {
      for (int stage = 0; stage < stages; ++stage) {
        EXPECT_EQ(in_flight({ScheduleKind::kGPipe, stages, 1, m, {}, 0}, stage, 0), m);
        EXPECT_EQ(in_flight({ScheduleKind::kOneFOneB, stages, 1, m, {}, 0}, stage, 0),
                  std::min(m, stages - stage));
      }
    }
  }
}

}  // namespace
}  // namespace shardwright
