// Orders against lists written by hand, and in-flight microbatches against the closed forms of
// GPipe (arXiv 1811.06965) and 1F1B (arXiv 2104.04473): m and min(m, p - r).
#include "planner/schedule/schedule.h"

#include "tests/planner/schedule/support.h"

namespace shardwright {
namespace {

std::string text(const ScheduleShape& shape, int stage) {
  const auto orders = schedule_orders(shape);
  return text_of(orders[stage]);
}
std::string text(ScheduleKind kind, int stage, int stages, int microbatches) {
  return text({kind, stages, 1, microbatches, {}, 0}, stage);
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

TEST(Schedule, InterleavedOfTwoStages) {
  const ScheduleShape shape{ScheduleKind::kOneFOneB, 2, 2, 4, {}, 0};
  EXPECT_EQ(text(shape, 0), "F0F1F0'F1'F2B0'F3B1'F2'B0F3'B1B2'B3'B2B3");
  EXPECT_EQ(text(shape, 1), "F0F1F0'B0'F1'B1'F2B0F3B1F2'B2'F3'B3'B2B3");
}

TEST(Schedule, BreadthFirstOfTwoStages) {
  const ScheduleShape shape{ScheduleKind::kBreadthFirst, 2, 2, 3, {}, 0};
  EXPECT_EQ(text(shape, 0), "F0F1F2F0'F1'F2'B0'B1'B2'B0B1B2");
  EXPECT_EQ(text(shape, 1), text(shape, 0));
}

TEST(Schedule, ZbH1OfThreeStages) {
  EXPECT_EQ(text(ScheduleKind::kZbH1, 0, 3, 4), "F0F1F2I0W0F3I1W1I2W2I3W3");
  EXPECT_EQ(text(ScheduleKind::kZbH1, 1, 3, 4), "F0F1I0F2I1W0F3I2W1I3W2W3");
  EXPECT_EQ(text(ScheduleKind::kZbH1, 2, 3, 4), "F0I0F1I1F2I2W0F3I3W1W2W3");
}

}  // namespace
}  // namespace shardwright
