// One rank for tests of communication over NCCL: its device, memory and communicator, all
// stand-ins.
#pragma once

#include <chrono>
#include <functional>
#include <memory>

#include "executor/comm/nccl_comm.h"
#include "executor/comm/thread_comm.h"
#include "tests/executor/comm/nccl_stand_in.h"
#include "tests/executor/comm/stand_in_device.h"
#include "tests/executor/comm/stand_in_ops.h"

namespace shardwright::testing {

struct NcclRank {
  NcclRank(NcclWorld& world, Communicator& host, std::chrono::nanoseconds deadline)
      : comm(make_nccl_communicator(world.api(host.rank(), device), host, ops, device, deadline)) {}

  StandInDevice device;
  StandInOps ops{device};
  std::unique_ptr<Communicator> comm;
};

// `deadline` holds for the device's waits; the host's are ample.
inline void run_nccl_ranks(NcclWorld& world, int ranks, std::chrono::nanoseconds deadline,
                           const std::function<void(NcclRank&)>& body) {
  run_ranks(ranks, std::chrono::seconds(60), [&](Communicator& host) {
    NcclRank rank(world, host, deadline);
    body(rank);
  });
}

}  // namespace shardwright::testing
