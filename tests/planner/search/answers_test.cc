// Which plans are answers, told by hand.
#include "planner/search/answers.h"

#include <gtest/gtest.h>

namespace shardwright {
namespace {

RankedPlan ranked(int64_t tp, Nanoseconds ns, Bytes memory) {
  RankedPlan plan;
  plan.plan.tp = tp;
  plan.step_ns = ns;
  plan.memory_peak_bytes = memory;
  plan.stages.resize(1);
  return plan;
}

// The second best time of those seen bounds two answers; equal times may be one answer and count
// once.
TEST(Answers, WorstIsTheLastOfTheBestTimes) {
  Answers answers(2);
  EXPECT_EQ(answers.worst_s(), std::numeric_limits<double>::infinity());
  for (Nanoseconds ns : {5, 9, 9, 5}) answers.note(ranked(1, ns, 0));
  EXPECT_EQ(answers.worst_s(), to_seconds(9));
  answers.note(ranked(1, 7, 0));
  EXPECT_EQ(answers.worst_s(), to_seconds(7));
  answers.note(ranked(1, 100, 0));
  EXPECT_EQ(answers.worst_s(), to_seconds(7));
}

TEST(Answers, OfPlansThatAreOneAnswerTheFirst) {
  Answers answers(2);
  answers.accept(ranked(1, 5, 10));
  answers.accept(ranked(1, 5, 20));  // the same degrees and time
  EXPECT_FALSE(answers.full());
  answers.accept(ranked(2, 5, 20));
  EXPECT_TRUE(answers.full());
  ASSERT_EQ(answers.plans().size(), 2u);
  EXPECT_EQ(answers.plans()[0].memory_peak_bytes, 10);
  EXPECT_EQ(answers.plans()[1].plan.tp, 2);
}

TEST(Answers, StoppedSearchesGiveTheBestSoFar) {
  Answers answers(2);
  std::vector<RankedPlan> simulated = {ranked(1, 9, 1), ranked(2, 5, 2), ranked(4, 5, 1)};
  simulated.push_back(RankedPlan());  // given away already
  answers.accept_best(&simulated);
  ASSERT_EQ(answers.plans().size(), 2u);
  EXPECT_EQ(answers.plans()[0].plan.tp, 4);  // as fast as the next, with less memory
  EXPECT_EQ(answers.plans()[1].plan.tp, 2);
}

}  // namespace
}  // namespace shardwright
