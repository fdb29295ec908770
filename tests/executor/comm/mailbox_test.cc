#include "executor/comm/mailbox.h"

#include <gtest/gtest.h>

#include <vector>

namespace shardwright {
namespace {

TEST(Mailbox, KeepsOrderAndReusesBuffers) {
  Mailbox box(/*crowded=*/true);
  const Alarm alarm;
  float in[2] = {}, out[2] = {};
  for (int round = 0; round < 100; ++round) {
    for (int m = 0; m < 3; ++m) {
      in[1] = static_cast<float>(3 * round + m);
      box.post(in, 2);
    }
    for (int m = 0; m < 3; ++m) {
      ASSERT_EQ(box.await(std::chrono::seconds(1), alarm), Signal::Outcome::kReached);
      ASSERT_EQ(box.take(out, 2), 2);
      ASSERT_EQ(out[1], static_cast<float>(3 * round + m));
    }
  }
  EXPECT_EQ(box.buffers(), 3);  // as many as were on their way at once
}

TEST(Mailbox, AnIdleBufferGrowsForALongerMessage) {
  Mailbox box(/*crowded=*/false);
  const Alarm alarm;
  for (const int64_t elements : {1, 1000, 10}) {
    const std::vector<float> in(static_cast<size_t>(elements), 7.0F);
    std::vector<float> out(in.size());
    box.post(in.data(), elements);
    ASSERT_EQ(box.await(std::chrono::seconds(1), alarm), Signal::Outcome::kReached);
    EXPECT_EQ(box.take(out.data(), elements), elements);
    EXPECT_EQ(out, in);
  }
  EXPECT_EQ(box.buffers(), 1);
}

TEST(Signal, CloseLosesAgainstTheCount) {
  Signal signal(/*crowded=*/true);
  signal.advance();
  EXPECT_FALSE(signal.close(1));
  EXPECT_EQ(signal.await(1, std::chrono::seconds(1), nullptr), Signal::Outcome::kReached);
  EXPECT_TRUE(signal.close(2));
  signal.advance();
  EXPECT_EQ(signal.await(2, std::chrono::seconds(1), nullptr), Signal::Outcome::kClosed);
}

TEST(Signal, AlarmAndLimitEndAWait) {
  Signal signal(/*crowded=*/false);
  Alarm alarm;
  const auto outcome = signal.await(1, std::chrono::milliseconds(20), &alarm);
  EXPECT_EQ(outcome, Signal::Outcome::kLate);
  alarm.raise(3, "first");
  alarm.raise(4, "second");
  EXPECT_EQ(signal.await(1, std::chrono::seconds(60), &alarm), Signal::Outcome::kFailed);
  EXPECT_EQ(alarm.reason(), "rank 3 failed: first");
}

}  // namespace
}  // namespace shardwright
