#include "executor/profile/sampling.h"

#include <gtest/gtest.h>

#include <cmath>
#include <thread>

#include "executor/comm/thread_comm.h"
#include "executor/profile/rank_bench.h"

namespace shardwright {
namespace {

TEST(Sampling, ShortCallsAreBatchedLongOnesAreNot) {
  Sampling sampling;
  sampling.samples = 3;
  sampling.most_samples = 9;
  sampling.sample_ns = 200'000;
  sampling.point_ns = 1'000'000;
  const Repeats small = repeats_of(sampling, 3'000);
  EXPECT_EQ(small.calls, 67);   // the fewest that last 200 us
  EXPECT_EQ(small.samples, 4);  // 4 of 201 us fit into 1 ms
  const Repeats large = repeats_of(sampling, 50'000'000);
  EXPECT_EQ(large.calls, 1);
  EXPECT_EQ(large.samples, 3);
  EXPECT_EQ(repeats_of(sampling, 0).calls, 200'000);  // a clock that has not moved
}

TEST(Sampling, MedianOfOddAndEven) {
  EXPECT_EQ(median({5}), 5);
  EXPECT_EQ(median({9, 1, 4}), 4);
  EXPECT_EQ(median({8, 2, 4, 100}), 6);
}

// Calls take 10 us each by a fake clock, but for the third sample, which is disturbed.
TEST(Sampling, OneDisturbedSampleDoesNotCount) {
  int64_t now_ns = 0;
  int64_t calls = 0;
  const auto call = [&] { now_ns += calls++ / 4 == 2 ? 500'000 : 10'000; };
  EXPECT_DOUBLE_EQ(median_seconds(
                       {4, 5}, [&] { return now_ns; }, call),
                   10e-6);
  EXPECT_EQ(calls, 20);
}

TEST(Sampling, ThreadTimeExcludesSleep) {
  const int64_t begin_ns = thread_cpu_ns();
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  EXPECT_LT(thread_cpu_ns() - begin_ns, 90'000'000);
}

// Rank 0's calls take 1 us, rank 1's 3 us: both learn the mean, and repeat equally often.
TEST(RankBench, MeanOverRanksOfEachRanksMedian) {
  int64_t calls[2] = {0, 0};
  double seconds[2] = {0, 0};
  run_ranks(2, std::chrono::seconds(20), [&](Communicator& comm) {
    int64_t now_ns = 0;
    RankBench bench(comm.group({0, 1}), {}, [&] { return now_ns; });
    seconds[comm.rank()] = bench.measure([&] {
      ++calls[comm.rank()];
      now_ns += comm.rank() == 0 ? 1'000 : 3'000;
    });
  });
  EXPECT_DOUBLE_EQ(seconds[0], 2e-6);
  EXPECT_EQ(seconds[0], seconds[1]);
  EXPECT_EQ(calls[0], calls[1]);
}

TEST(Section, RefusesWhatIsExpectedPastTheDeadline) {
  run_ranks(1, std::chrono::seconds(20), [](Communicator& comm) {
    RankBench bench(comm.group({0}), {});
    std::vector<std::string> told;
    const Progress progress = [&](const std::string& text) { told.push_back(text); };
    Section section(bench, "gemm forward", 3, monotonic_ns() + 3'600'000'000'000, progress);
    EXPECT_TRUE(section.affords(0));
    EXPECT_FALSE(section.affords(7200));
    EXPECT_TRUE(section.affords(1));
    EXPECT_EQ(told, (std::vector<std::string>{"gemm forward 1/3", "gemm forward 3/3"}));
  });
}

}  // namespace
}  // namespace shardwright
