#include "executor/comm/device_sharing.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "executor/comm/nccl_environment.h"
#include "executor/comm/routes.h"
#include "executor/comm/thread_comm.h"

namespace shardwright {
namespace {

TEST(DeviceSharing, RanksTakeDevicesInTurn) {
  EXPECT_EQ(device_for(0, 8), 0);
  EXPECT_EQ(device_for(7, 8), 7);
  EXPECT_EQ(device_for(9, 8), 1);
  EXPECT_EQ(device_for(5, 1), 0);  // each rank sees its own only
}

TEST(DeviceSharing, CountsRanksOfOneUuid) {
  const auto most = [](std::vector<unsigned char> device_of_rank) {
    std::vector<int> answers(device_of_rank.size());
    run_ranks(static_cast<int>(device_of_rank.size()), std::chrono::seconds(60),
              [&](Communicator& host) {
                // All bits set but for one byte: no ordinary floats.
                DeviceUuid uuid;
                uuid.fill(0xff);
                uuid[13] = device_of_rank[host.rank()];
                answers[host.rank()] = ranks_on_one_device(host, uuid);
              });
    for (const int answer : answers) EXPECT_EQ(answer, answers[0]);
    return answers[0];
  };
  EXPECT_EQ(most({1, 2, 3, 4}), 1);
  EXPECT_EQ(most({1, 2, 1, 3}), 2);
  EXPECT_EQ(most({5, 5, 5, 4}), 3);
}

TEST(DeviceSharing, EnvironmentForRanksOnOneGpu) {
  for (const char* name :
       {"NCCL_HOSTID", "NCCL_SOCKET_IFNAME", "NCCL_IB_DISABLE", "NCCL_NVLS_ENABLE"}) {
    unsetenv(name);
  }
  setenv("NCCL_HOSTID", "node7", 1);
  setenv("NCCL_SOCKET_IFNAME", "eth0", 1);
  let_ranks_share_a_gpu(3);
  EXPECT_STREQ(std::getenv("NCCL_HOSTID"), "shardwright-rank-3") << "must differ between ranks";
  EXPECT_STREQ(std::getenv("NCCL_SOCKET_IFNAME"), "eth0") << "the user's word stays";
  EXPECT_STREQ(std::getenv("NCCL_IB_DISABLE"), "1");
  EXPECT_STREQ(std::getenv("NCCL_NVLS_ENABLE"), "0");
}

TEST(Routes, OfARankInAPipeline) {
  const auto message = [](OpCode op, int peer) {
    Instruction next;
    next.op = op;
    next.peer = peer;
    next.chunk = 1;
    return next;
  };
  RankProgram rank;
  rank.rank = 2;
  rank.instructions = {
      message(OpCode::kReceiveActivation, 0), message(OpCode::kForward, -1),
      message(OpCode::kSendActivation, 4),    message(OpCode::kReceiveActivation, 0),
      message(OpCode::kReceiveGradient, 4),   message(OpCode::kSendGradient, 0)};
  const WireChannels own{{0, 0}, {1, 1}, {2, 2}, {3, 3}};
  EXPECT_EQ(routes_of(rank, own), (std::vector<Route>{{0, 2, 0}, {2, 0, 1}, {2, 4, 2}, {4, 2, 3}}));
  const WireChannels shared{{0, 0}, {1, 1}, {2, 0}, {3, 3}};
  EXPECT_EQ(routes_of(rank, shared),
            (std::vector<Route>{{0, 2, 0}, {2, 0, 1}, {2, 4, 0}, {4, 2, 3}}));
}

// Ranks 0 and 1 hold chunks 0, 2, 4 and 1, 3, 5. Outputs of chunks 0, 2 and 4 go from 0 to 1 on
// channels 0, 4 and 8, and those of 1 and 3 back on 2 and 6.
TEST(Routes, MessagesShareAChannelWhereBothEndsAgree) {
  Program program;
  program.world = 2;
  program.ranks.resize(2);
  program.ranks[1].rank = 1;
  const auto add = [&](int rank, OpCode op, std::vector<int> chunks) {
    for (const int chunk : chunks) {
      Instruction next;
      next.op = op;
      next.chunk = chunk;
      next.peer = 1 - rank;
      program.ranks[static_cast<size_t>(rank)].instructions.push_back(next);
    }
  };
  add(0, OpCode::kSendActivation, {0, 0, 2, 4});
  add(1, OpCode::kReceiveActivation, {1, 1, 3, 5});
  add(1, OpCode::kSendActivation, {1, 3});
  add(0, OpCode::kReceiveActivation, {4, 2});  // takes them the other way round
  for (const RankProgram& rank : program.ranks) {
    EXPECT_EQ(wire_channels(program, rank), (WireChannels{{0, 0}, {2, 2}, {4, 0}, {6, 6}, {8, 0}}));
  }
}

}  // namespace
}  // namespace shardwright
