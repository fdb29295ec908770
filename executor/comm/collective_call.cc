#include "executor/comm/collective_call.h"

#include <algorithm>

#include "costmodel/check.h"

namespace shardwright {
namespace {

const char* name_of(CallKind kind) {
  switch (kind) {
    case CallKind::kSumFloat:
      return "all_reduce(sum of float, ";
    case CallKind::kMaxFloat:
      return "all_reduce(max of float, ";
    case CallKind::kSumDouble:
      return "all_reduce(sum of double, ";
    case CallKind::kMaxDouble:
      return "all_reduce(max of double, ";
    case CallKind::kAllGather:
      return "all_gather(";
    case CallKind::kReduceScatter:
      return "reduce_scatter(";
    case CallKind::kBroadcast:
      return "broadcast(";
    case CallKind::kBarrier:
      return "barrier(";
  }
  return "unknown collective(";
}

}  // namespace

CallKind all_reduce_kind(const float*, ReduceOp op) {
  return op == ReduceOp::kSum ? CallKind::kSumFloat : CallKind::kMaxFloat;
}

CallKind all_reduce_kind(const double*, ReduceOp op) {
  return op == ReduceOp::kSum ? CallKind::kSumDouble : CallKind::kMaxDouble;
}

std::string to_string(const CollectiveCall& call) {
  std::string text = name_of(call.kind);
  if (call.kind == CallKind::kBarrier) return text + ")";
  text += std::to_string(call.elements) + " elements";
  if (call.kind == CallKind::kBroadcast) text += " from member " + std::to_string(call.root);
  return text + ")";
}

std::string to_string(const std::vector<int>& members) {
  std::string text = "{";
  for (size_t i = 0; i < members.size(); ++i) {
    if (i > 0) text += ",";
    text += std::to_string(members[i]);
  }
  return text + "}";
}

std::string to_string(const CollectiveCall& call, const std::vector<int>& members) {
  return to_string(call) + " on group " + to_string(members);
}

std::string describe_mismatch(int rank, const CollectiveCall& call, int other_rank,
                              const CollectiveCall& other_call) {
  return "rank " + std::to_string(rank) + " called " + to_string(call) + ", but rank " +
         std::to_string(other_rank) + " called " + to_string(other_call);
}

int checked_index(const std::vector<int>& members, int rank, int size) {
  SW_CHECK(!members.empty(), "a group without members");
  for (size_t i = 1; i < members.size(); ++i) {
    SW_CHECK_LT(members[i - 1], members[i], "group " << to_string(members) << " not ascending");
  }
  SW_CHECK_GE(members.front(), 0, "group " << to_string(members));
  SW_CHECK_LT(members.back(), size, "group " << to_string(members));
  const auto place = std::lower_bound(members.begin(), members.end(), rank);
  SW_CHECK(place != members.end() && *place == rank,
           "rank " << rank << " is not in group " << to_string(members));
  return static_cast<int>(place - members.begin());
}

}  // namespace shardwright
