// What a member asks its group to do: the part of a collective call on which all members must
// agree. Members compare theirs before they touch each other's data.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "executor/comm/communicator.h"

namespace shardwright {

enum class CallKind : int32_t {
  kSumFloat,
  kMaxFloat,
  kSumDouble,
  kMaxDouble,
  kAllGather,
  kReduceScatter,
  kBroadcast,
  kBarrier,
};

struct CollectiveCall {
  CallKind kind = CallKind::kBarrier;
  int32_t root = 0;      // index of the broadcasting member; 0 in the other kinds
  int64_t elements = 0;  // as in the call: per member in all_gather and reduce_scatter

  bool operator==(const CollectiveCall&) const = default;
};

CallKind all_reduce_kind(const float* data, ReduceOp op);
CallKind all_reduce_kind(const double* data, ReduceOp op);

// "all_reduce(sum of float, 1000 elements)"
std::string to_string(const CollectiveCall& call);
// "{0,2,3}"
std::string to_string(const std::vector<int>& members);
// "all_reduce(sum of float, 1000 elements) on group {0,2,3}"
std::string to_string(const CollectiveCall& call, const std::vector<int>& members);

// "rank 0 called ..., but rank 3 called ..."
std::string describe_mismatch(int rank, const CollectiveCall& call, int other_rank,
                              const CollectiveCall& other_call);

// Throws BrokenInvariant unless members are ascending, within [0, size), and include `rank`.
// Returns the place of `rank` among them.
int checked_index(const std::vector<int>& members, int rank, int size);

}  // namespace shardwright
