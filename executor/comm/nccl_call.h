// One call of this rank to NCCL, kept as figures until a failure needs it in words.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "executor/comm/nccl_api.h"

namespace shardwright {

// One NCCL communicator of this rank: of a group, or of the messages of one route.
struct NcclChannel {
  NcclHandle handle = nullptr;
  std::string name;  // "group {0,1}", "route 0 -> 4 on channel 1"
};

enum class NcclVerb { kAllReduce, kAllGather, kReduceScatter, kBroadcast, kSend, kReceive };

struct NcclCall {
  NcclVerb verb = NcclVerb::kAllReduce;
  NcclType type = NcclType::kFp32;
  int64_t elements = 0;
  ReduceOp op = ReduceOp::kSum;  // of an all-reduce
  int root = 0;                  // of a broadcast, as a place among the members
};

// "all_reduce(sum, 1000 elements of bf16)"
std::string to_string(const NcclCall& call);

}  // namespace shardwright
