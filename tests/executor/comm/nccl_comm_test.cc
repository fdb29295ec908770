#include "executor/comm/nccl_comm.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "costmodel/check.h"
#include "executor/comm/staging.h"
#include "executor/exec_error.h"
#include "tests/executor/comm/comm_body.h"
#include "tests/executor/comm/nccl_rank.h"

namespace shardwright::testing {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr seconds kAmple{60};
// For waits that are meant to end so; all that is meant to succeed takes milliseconds.
constexpr seconds kShort{1};

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

// Waits for the device after every collective, so that the checks of every communicator apply.
class WaitingGroup final : public Group {
 public:
  WaitingGroup(Group& group, StandInDevice& device)
      : Group(group.members(), group.index()), group_(group), device_(device) {}
  Timing all_reduce(void* data, int64_t n, DataType type, ReduceOp op) override {
    return wait(group_.all_reduce(data, n, type, op));
  }
  Timing all_reduce(double* data, int64_t n, ReduceOp op) override {
    return wait(group_.all_reduce(data, n, op));
  }
  Timing all_gather(const void* mine, void* all, int64_t n, DataType type) override {
    return wait(group_.all_gather(mine, all, n, type));
  }
  Timing reduce_scatter(const void* all, void* mine, int64_t n, DataType type) override {
    return wait(group_.reduce_scatter(all, mine, n, type));
  }
  Timing broadcast(void* data, int64_t n, DataType type, int root) override {
    return wait(group_.broadcast(data, n, type, root));
  }
  Timing barrier() override { return wait(group_.barrier()); }

 private:
  Timing wait(const Timing& timing) {
    device_.finish_step();
    return timing;
  }
  Group& group_;
  StandInDevice& device_;
};

class WaitingCommunicator final : public Communicator {
 public:
  explicit WaitingCommunicator(NcclRank& rank) : rank_(rank) {}
  int rank() const override { return rank_.comm->rank(); }
  int size() const override { return rank_.comm->size(); }
  const char* backend() const override { return rank_.comm->backend(); }
  Group& group(const std::vector<int>& members) override {
    auto& group = groups_[members];
    if (!group) {
      group = std::make_unique<WaitingGroup>(rank_.comm->group(members), rank_.device);
    }
    return *group;
  }
  Timing send(const void*, int64_t, DataType, int, int) override { return {}; }
  Timing receive(void*, int64_t, DataType, int, int) override { return {}; }

 private:
  NcclRank& rank_;
  std::map<std::vector<int>, std::unique_ptr<WaitingGroup>> groups_;
};

class NcclBody : public ::testing::TestWithParam<std::tuple<int, int64_t>> {};

TEST_P(NcclBody, CollectivesDoWhatEveryCommunicatorMust) {
  const auto [ranks, elements] = GetParam();
  NcclWorld world(ranks);
  EXPECT_NO_THROW(run_nccl_ranks(world, ranks, kAmple, [n = elements](NcclRank& rank) {
    WaitingCommunicator comm(rank);
    check_all_reduce(comm, n);
    check_all_gather(comm, n);
    check_reduce_scatter(comm, n);
    check_broadcast(comm, n);
    check_disjoint_groups(comm, n);
    check_overlapping_groups(comm, n);
  }));
  EXPECT_EQ(world.open_handles(), 0);
  EXPECT_EQ(world.aborted_handles(), 0);
  EXPECT_TRUE(world.mismatches().empty());
}

INSTANTIATE_TEST_SUITE_P(RanksAndElements, NcclBody,
                         ::testing::Combine(::testing::Values(1, 2, 3, 4, 8),
                                            ::testing::Values<int64_t>(1, 7, 1003)));

TEST(NcclComm, MovesAndAddsBf16) {
  NcclWorld world(3);
  run_nccl_ranks(world, 3, kAmple, [](NcclRank& rank) {
    const auto own = static_cast<uint16_t>(rank.comm->rank());
    Group& group = rank.comm->group({0, 1, 2});
    std::vector<uint16_t> sum(5, narrow(1.5F * static_cast<float>(own + 1))), all(15, 0);
    rank.device.start_step(false);
    rank.device.begin(0, Lane::kCompute, {});
    group.all_gather(sum.data(), all.data(), 5, DataType::kBf16);
    group.all_reduce(sum.data(), 5, DataType::kBf16, ReduceOp::kSum);
    rank.device.end(0);
    rank.device.finish_step();
    for (const uint16_t value : sum) EXPECT_EQ(wide(value), 9.0F);  // 1.5 (1 + 2 + 3)
    for (int i = 0; i < 15; ++i) EXPECT_EQ(wide(all[i]), 1.5F * static_cast<float>(i / 5 + 1));
  });
}

TEST(NcclComm, TypesThatAreNoComputeTypeAreMistakes) {
  NcclWorld world(1);
  run_nccl_ranks(world, 1, kAmple, [](NcclRank& rank) {
    float value = 0;
    EXPECT_THROW(rank.comm->group({0}).all_reduce(&value, 1, DataType::kFp8, ReduceOp::kSum),
                 BrokenInvariant);
  });
}

// Every rank sends to the next and receives from the one before, two messages a channel, before
// anyone has waited: a send is not over before its receiver comes, and must not hold up the other
// lanes.
TEST(NcclComm, MessagesAroundARingOnTwoChannels) {
  constexpr int kRanks = 4;
  NcclWorld world(kRanks);
  run_nccl_ranks(world, kRanks, kAmple, [](NcclRank& rank) {
    const int own = rank.comm->rank(), next = (own + 1) % kRanks,
              last = (own + kRanks - 1) % kRanks;
    rank.comm->connect(
        std::vector<Route>{{own, next, 0}, {last, own, 0}, {own, last, 1}, {next, own, 1}});
    const auto value = [](int from, int channel, int message) {
      return static_cast<float>(100 * from + 10 * channel + message);
    };
    std::vector<float> out, in(4, -1);
    for (const int channel : {0, 1}) {
      for (const int message : {0, 1}) out.push_back(value(own, channel, message));
    }
    rank.device.start_step(false);
    const Lane outward[] = {Lane::kActivationOut, Lane::kGradientOut};
    const Lane inward[] = {Lane::kActivationIn, Lane::kGradientIn};
    int index = 0;
    for (const int channel : {0, 1}) {
      for (const int message : {0, 1}) {
        rank.device.begin(index, outward[channel], {});
        rank.comm->send(&out[2 * channel + message], 1, channel == 0 ? next : last, channel);
        rank.device.end(index++);
        rank.device.begin(index, inward[channel], {});
        rank.comm->receive(&in[2 * channel + message], 1, channel == 0 ? last : next, channel);
        rank.device.end(index++);
      }
    }
    rank.device.finish_step();
    for (const int channel : {0, 1}) {
      for (const int message : {0, 1}) {
        EXPECT_EQ(in[2 * channel + message], value(channel == 0 ? last : next, channel, message));
      }
    }
  });
  EXPECT_EQ(world.communicators(), 2 * kRanks);
  EXPECT_EQ(world.open_handles(), 0);
}

TEST(NcclComm, MessagesNeedTheirRoute) {
  NcclWorld world(2);
  run_nccl_ranks(world, 2, kAmple, [](NcclRank& rank) {
    float value = 0;
    EXPECT_THROW(rank.comm->receive(&value, 1, 1 - rank.comm->rank(), 0), BrokenInvariant);
    rank.comm->connect(std::vector<Route>{{0, 1, 0}});
    EXPECT_THROW(rank.comm->send(&value, 1, 1 - rank.comm->rank(), 1), BrokenInvariant);
  });
}

TEST(NcclComm, StampsLieAroundTheCall) {
  NcclWorld world(2);
  run_nccl_ranks(world, 2, kAmple, [](NcclRank& rank) {
    Group& group = rank.comm->group({0, 1});
    float value = 1;
    const int64_t begun_ns = monotonic_ns();
    if (rank.comm->rank() == 1) std::this_thread::sleep_for(milliseconds(30));
    rank.device.start_step(false);
    rank.device.begin(0, Lane::kCompute, {});
    const Timing timing = group.all_reduce(&value, 1, ReduceOp::kSum);
    rank.device.end(0);
    rank.device.finish_step();
    EXPECT_GE(rank.device.ns_of(timing.start_ns), begun_ns);
    // Both end when the later one has come.
    EXPECT_GE(rank.device.ns_of(timing.end_ns) - begun_ns, 25'000'000);
    EXPECT_EQ(value, 2.0F);
  });
}

TEST(NcclComm, WarmUpLeavesNoMemoryBehind) {
  NcclWorld world(2);
  run_nccl_ranks(world, 2, kAmple, [](NcclRank& rank) {
    rank.comm->group({0, 1});
    rank.comm->connect(std::vector<Route>{{0, 1, 0}});
    EXPECT_EQ(rank.ops.live_bytes(), 0);
  });
}

TEST(NcclComm, BarrierNeedsNoNccl) {
  NcclWorld world(2);
  run_nccl_ranks(world, 2, kAmple, [&](NcclRank& rank) {
    Group& group = rank.comm->group({0, 1});
    const size_t before = world.calls(rank.comm->rank()).size();
    group.barrier();
    EXPECT_EQ(world.calls(rank.comm->rank()).size(), before);
  });
}

// Alive and idle until another rank has failed.
[[noreturn]] void idle_until_a_peer_fails(NcclRank& rank) {
  for (;;) {
    rank.comm->check_peers();
    std::this_thread::sleep_for(milliseconds(5));
  }
}

// Rank 1 never makes the call of the second instruction.
TEST(NcclComm, StuckPeerEndsByDeadlineWithTheCallNamed) {
  NcclWorld world(2);
  const auto body = [&](NcclRank& rank) {
    Group& group = rank.comm->group({0, 1});
    std::vector<float> data(6, 1.0F);
    rank.device.start_step(false);
    for (const int index : {0, 1}) {
      rank.device.begin(index, Lane::kCompute, {});
      if (index == 0 || rank.comm->rank() == 0) group.all_reduce(data.data(), 6, ReduceOp::kSum);
      rank.device.end(index);
    }
    if (rank.comm->rank() == 1) idle_until_a_peer_fails(rank);
    try {
      rank.device.finish_step();
    } catch (const ExecError&) {
      expect_contains(message_of([&] { group.all_reduce(data.data(), 1, ReduceOp::kSum); }),
                      "not possible after the earlier failure");
      throw;
    }
  };
  const std::string text = message_of([&] { run_nccl_ranks(world, 2, kShort, body); });
  expect_contains(text,
                  "rank 0: instruction 1: all_reduce(sum, 6 elements of fp32) on group {0,1}");
  expect_contains(text, "deadline");
  EXPECT_EQ(world.aborted_handles(), 2);
  EXPECT_EQ(world.open_handles(), 0);
}

TEST(NcclComm, StuckMessageNamesItsRoute) {
  NcclWorld world(2);
  const auto body = [&](NcclRank& rank) {
    rank.comm->connect(std::vector<Route>{{0, 1, 0}, {1, 0, 1}});
    if (rank.comm->rank() == 1) idle_until_a_peer_fails(rank);
    float value = 0;
    rank.device.start_step(false);
    rank.device.begin(7, Lane::kGradientIn, {});
    rank.comm->receive(&value, 1, 1, 1);
    rank.device.end(7);
    rank.device.finish_step();
  };
  expect_contains(
      message_of([&] { run_nccl_ranks(world, 2, kShort, body); }),
      "rank 0: instruction 7: receive(1 elements of fp32) on route 1 -> 0 on channel 1");
}

// A rank that ends well while another has given up does not wait for it.
TEST(NcclComm, EndDoesNotWaitForAFailedPeer) {
  NcclWorld world(2);
  const auto body = [&](NcclRank& rank) {
    rank.comm->group({0, 1});
    if (rank.comm->rank() == 1) throw ExecError(1, "kernel", "broken on purpose");
  };
  expect_contains(message_of([&] { run_nccl_ranks(world, 2, kAmple, body); }),
                  "rank 1: kernel: broken on purpose");
  EXPECT_EQ(world.open_handles(), 0);
}

TEST(NcclComm, AsynchronousErrorIsReportedInNcclsWords) {
  NcclWorld world(2);
  const auto body = [&](NcclRank& rank) {
    Group& group = rank.comm->group({0, 1});
    float value = 0;
    rank.device.start_step(false);
    rank.device.begin(3, Lane::kData, {});
    if (rank.comm->rank() == 1) return;  // its end is what breaks the link in this test
    group.all_reduce(&value, 1, ReduceOp::kSum);
    rank.device.end(3);
    world.break_link(0, NcclStatus::kError, "ncclNet: connection reset");
    rank.device.finish_step();
  };
  const std::string text = message_of([&] { run_nccl_ranks(world, 2, kAmple, body); });
  expect_contains(text,
                  "rank 0: instruction 3: all_reduce(sum, 1 elements of fp32) on group {0,1}");
  expect_contains(text, "ncclNet: connection reset");
  expect_contains(text, "NCCL_DEBUG=INFO");
}

// What NCCL calls a remote error follows from another rank's failure: that one is reported.
TEST(NcclComm, RemoteErrorsAndFailedThreadsArePeers) {
  NcclWorld world(3);
  std::atomic<int> peers = 0;
  const auto body = [&](NcclRank& rank) {
    Group& group = rank.comm->group({0, 1, 2});
    if (rank.comm->rank() == 1) throw ExecError(1, "kernel", "broken on purpose");
    if (rank.comm->rank() == 2) world.break_link(2, NcclStatus::kRemoteError, "");
    float value = 0;
    try {
      rank.device.start_step(false);
      rank.device.begin(0, Lane::kCompute, {});
      group.all_reduce(&value, 1, ReduceOp::kSum);
      rank.device.end(0);
      rank.device.finish_step();
    } catch (const PeerFailed&) {
      ++peers;
      throw;
    }
  };
  const std::string text = message_of([&] { run_nccl_ranks(world, 3, kAmple, body); });
  expect_contains(text, "rank 1: kernel: broken on purpose");
  EXPECT_EQ(peers.load(), 2);
  EXPECT_EQ(world.open_handles(), 0);
}

TEST(NcclComm, StartThatIsRefusedSaysWhy) {
  NcclWorld world(2);
  world.refuse_start(1, "Duplicate GPU detected : rank 0 and rank 1 both on CUDA device 1000");
  const std::string text = message_of([&] {
    run_nccl_ranks(world, 2, kAmple, [](NcclRank& rank) { rank.comm->group({0, 1}); });
  });
  expect_contains(text, "rank 1: start of NCCL for group {0,1}: NCCL: unhandled system error");
  expect_contains(text, "Duplicate GPU detected");
  EXPECT_EQ(world.open_handles(), 0);
}

}  // namespace
}  // namespace shardwright::testing
