#include "executor/comm/thread_comm.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <atomic>
#include <cmath>
#include <limits>
#include <thread>
#include <vector>

#include "costmodel/check.h"
#include "executor/comm/wait.h"
#include "executor/exec_error.h"
#include "tests/executor/comm/comm_body.h"

namespace shardwright {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr seconds kAmple{60};

std::string message_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const std::exception& e) {
    return e.what();
  }
  return "";
}

void expect_contains(const std::string& text, const std::string& part) {
  EXPECT_NE(text.find(part), std::string::npos) << "\"" << part << "\" is not in: " << text;
}

class ThreadCommBody : public ::testing::TestWithParam<std::tuple<int, int64_t>> {};

TEST_P(ThreadCommBody, DoesWhatEveryCommunicatorMust) {
  const auto [ranks, elements] = GetParam();
  EXPECT_NO_THROW(run_ranks(ranks, kAmple, [elements = elements](Communicator& comm) {
    check_communicator(comm, elements);
  }));
}

INSTANTIATE_TEST_SUITE_P(RanksAndElements, ThreadCommBody,
                         ::testing::Combine(::testing::Values(1, 2, 3, 4, 8),
                                            ::testing::Values<int64_t>(1, 7, 1000, 100003)));

TEST(ThreadComm, ManyMoreRanksThanCores) {
  EXPECT_NO_THROW(run_ranks(24, kAmple, [](Communicator& comm) {
    for (int round = 0; round < 20; ++round) check_all_reduce(comm, 33);
    check_sends_before_receives(comm, 5);
  }));
}

TEST(ThreadComm, EmptyCallsMeet) {
  EXPECT_NO_THROW(run_ranks(3, kAmple, [](Communicator& comm) {
    comm.group({0, 1, 2}).all_reduce(static_cast<float*>(nullptr), 0, ReduceOp::kSum);
    comm.send(nullptr, 0, 0, 0);
    if (comm.rank() == 0) {
      for (int peer = 0; peer < 3; ++peer) comm.receive(nullptr, 0, peer, 0);
    }
  }));
}

TEST(ThreadComm, MaximumKeepsNaN) {
  run_ranks(3, kAmple, [](Communicator& comm) {
    float data[2] = {1.0F, 1.0F};
    if (comm.rank() < 2) data[comm.rank()] = std::numeric_limits<float>::quiet_NaN();
    comm.group({0, 1, 2}).all_reduce(data, 2, ReduceOp::kMax);
    EXPECT_TRUE(std::isnan(data[0]) && std::isnan(data[1]));
  });
}

TEST(ThreadComm, InPlaceGatherAndScatter) {
  run_ranks(2, kAmple, [](Communicator& comm) {
    float all[2] = {-1.0F, -1.0F};
    all[comm.rank()] = static_cast<float>(comm.rank() + 1);
    Group& group = comm.group({0, 1});
    group.all_gather(&all[comm.rank()], all, 1);
    EXPECT_EQ(all[0], 1.0F);
    EXPECT_EQ(all[1], 2.0F);
    group.reduce_scatter(all, &all[comm.rank()], 1);
    EXPECT_EQ(all[comm.rank()], 2.0F * static_cast<float>(comm.rank() + 1));
  });
}

TEST(ThreadComm, TimesTheDataFromWhenItIsThere) {
  run_ranks(2, kAmple, [](Communicator& comm) {
    float data = 0.0F;
    const int64_t called_ns = monotonic_ns();
    if (comm.rank() == 0) {
      std::this_thread::sleep_for(milliseconds(30));
      comm.send(&data, 1, 1, 0);
    } else {
      const Timing timing = comm.receive(&data, 1, 0, 0);
      EXPECT_GT(timing.start_ns - called_ns, 10'000'000);
      EXPECT_GE(timing.end_ns, timing.start_ns);
    }
  });
}

TEST(ThreadComm, DisagreeingLengthsAreNamedAndTheGroupStaysUsable) {
  run_ranks(3, kAmple, [](Communicator& comm) {
    std::vector<float> data(9, 1.0F);
    Group& group = comm.group({0, 1, 2});
    const std::string text = message_of(
        [&] { group.all_reduce(data.data(), comm.rank() == 2 ? 9 : 5, ReduceOp::kSum); });
    expect_contains(text, "rank 0 called all_reduce(sum of float, 5 elements)");
    expect_contains(text, "rank 2 called all_reduce(sum of float, 9 elements)");
    check_all_reduce(comm, 17);
  });
}

TEST(ThreadComm, DisagreeingKindsAreNamed) {
  run_ranks(2, kAmple, [](Communicator& comm) {
    double data[2] = {};
    Group& group = comm.group({0, 1});
    const std::string text = message_of(
        [&] { comm.rank() == 0 ? group.barrier() : group.all_reduce(data, 2, ReduceOp::kMax); });
    expect_contains(text, "rank 0 called barrier()");
    expect_contains(text, "rank 1 called all_reduce(max of double, 2 elements)");
  });
}

TEST(ThreadComm, MessageOfAnotherLengthIsAnError) {
  run_ranks(2, kAmple, [](Communicator& comm) {
    std::vector<float> data(8, 3.0F);
    if (comm.rank() == 0) return void(comm.send(data.data(), 8, 1, 4));
    data.assign(8, -1.0F);
    const std::string text = message_of([&] { comm.receive(data.data(), 5, 0, 4); });
    expect_contains(text, "rank 1: receive(5 elements) from rank 0 on channel 4");
    expect_contains(text, "8 elements");
    EXPECT_EQ(data[0], -1.0F);
  });
}

TEST(ThreadComm, DeadlineOfACollectiveNamesWhoIsMissing) {
  ThreadWorld world(4, milliseconds(200));
  std::atomic<int> named = 0, failed = 0;
  {
    std::vector<std::jthread> threads;
    for (const int rank : {0, 1, 3}) {
      threads.emplace_back([&, rank] {
        try {
          world.communicator(rank).group({0, 1, 2, 3}).barrier();
        } catch (const PeerFailed&) {
          ++failed;  // another member's deadline came a moment earlier
        } catch (const ExecError& e) {
          ++named;
          expect_contains(e.what(), "barrier() on group {0,1,2,3}");
          expect_contains(e.what(), "rank(s) {2}");
        }
      });
    }
  }
  EXPECT_GE(named.load(), 1);
  EXPECT_EQ(named + failed, 3);
  // The late one finds the meeting closed and reads no memory of those that went.
  EXPECT_THROW(world.communicator(2).group({0, 1, 2, 3}).barrier(), PeerFailed);
}

TEST(ThreadComm, DeadlineOfAReceive) {
  ThreadWorld world(2, milliseconds(50));
  float data = 0.0F;
  const std::string text = message_of([&] { world.communicator(0).receive(&data, 1, 1, 3); });
  expect_contains(text, "rank 0: receive(1 elements) from rank 1 on channel 3");
  expect_contains(text, "deadline");
}

TEST(ThreadComm, RootCauseIsRethrownAndTheOthersSeePeerFailed) {
  std::atomic<int> peers_failed = 0;
  const auto body = [&](Communicator& comm) {
    float data = 0.0F;
    try {
      if (comm.rank() == 1) throw ExecError(1, "kernel", "broken device");
      if (comm.rank() == 2) comm.receive(&data, 1, 1, 0);
      comm.group({0, 1, 2, 3}).barrier();
    } catch (const PeerFailed& e) {
      ++peers_failed;
      expect_contains(e.what(), "rank 1 failed: rank 1: kernel: broken device");
      throw;
    }
  };
  expect_contains(message_of([&] { run_ranks(4, kAmple, body); }), "rank 1: kernel: broken device");
  EXPECT_EQ(peers_failed.load(), 3);
}

TEST(ThreadComm, OtherExceptionsAreRootCausesToo) {
  EXPECT_THROW(run_ranks(3, kAmple,
                         [](Communicator& comm) {
                           if (comm.rank() == 2) throw BrokenInvariant("mine");
                           comm.group({0, 1, 2}).barrier();
                         }),
               BrokenInvariant);
}

TEST(ThreadComm, FailWakesSleepingWaiters) {
  ThreadWorld world(2, kAmple);
  std::jthread later([&] {
    std::this_thread::sleep_for(milliseconds(50));
    world.fail(1, "stopped");
  });
  EXPECT_THROW(world.communicator(0).group({0, 1}).barrier(), PeerFailed);
  EXPECT_THROW(world.communicator(0).receive(nullptr, 0, 1, 0), PeerFailed);
}

TEST(ThreadComm, GroupMustBeAscendingAndIncludeTheRank) {
  ThreadWorld world(3, kAmple);
  EXPECT_THROW(world.communicator(0).group({1, 2}), BrokenInvariant);
  EXPECT_THROW(world.communicator(0).group({1, 0}), BrokenInvariant);
  EXPECT_THROW(world.communicator(0).group({0, 3}), BrokenInvariant);
  EXPECT_EQ(&world.communicator(0).group({0, 2}), &world.communicator(0).group({0, 2}));
}

// Bound to different cores, so that they never share one.
TEST(RunRanks, RanksThatFillTheMachineGetACoreEach) {
  const int cores = usable_cores();
  if (cores == 1) GTEST_SKIP() << "one core";
  std::vector<int> cpu(cores, -1);
  run_ranks(cores, std::chrono::seconds(10), [&](Communicator& comm) {
    cpu_set_t set;
    ASSERT_EQ(sched_getaffinity(0, sizeof(set), &set), 0);
    EXPECT_EQ(CPU_COUNT(&set), 1);
    cpu[comm.rank()] = sched_getcpu();
  });
  std::sort(cpu.begin(), cpu.end());
  EXPECT_EQ(std::unique(cpu.begin(), cpu.end()), cpu.end());
  EXPECT_EQ(usable_cores(), cores) << "the main thread keeps all of them";
}

}  // namespace
}  // namespace shardwright
