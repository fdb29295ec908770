#include "executor/comm/thread_group.h"

#include <cstring>

#include "costmodel/check.h"
#include "executor/comm/host_data.h"
#include "executor/comm/reduce.h"
#include "executor/comm/wait.h"
#include "executor/exec_error.h"

namespace shardwright {
namespace {

void copy(float* to, const float* from, int64_t elements) {
  if (to != from && elements > 0) std::memcpy(to, from, elements * sizeof(float));
}

}  // namespace

ThreadGroup::ThreadGroup(std::vector<int> members, int index, ThreadWorldState& world,
                         GroupBoard& board)
    : Group(std::move(members), index), world_(world), board_(board) {}

template <typename Work>
Timing ThreadGroup::meet(const CollectiveCall& call, const void* in, void* out, Work work) {
  arrive(call, in, out);
  Timing timing;
  timing.start_ns = monotonic_ns();
  // All members compare the same cards and come to the same answer, so all skip the work together
  // and the group stays usable.
  const int other = first_disagreeing();
  std::string mismatch;
  if (other < 0) {
    work();
  } else {
    mismatch = describe_mismatch(members_[0], board_.cards[0].call, members_[other],
                                 board_.cards[other].call);
  }
  leave();
  timing.end_ns = monotonic_ns();
  if (other >= 0) throw ExecError(members_[index_], to_string(call, members_), mismatch);
  return timing;
}

void ThreadGroup::arrive(const CollectiveCall& call, const void* in, void* out) {
  ++calls_;
  MemberCard& card = board_.cards[index_];
  card.call = call;
  card.in = in;
  card.out = out;
  card.calls.store(calls_);
  const int64_t since_ns = monotonic_ns();
  const uint64_t all_here = calls_ * static_cast<uint64_t>(size());
  board_.arrived.advance();
  const auto outcome = board_.arrived.await(all_here, world_.deadline, &world_.alarm);
  if (outcome == Signal::Outcome::kReached) return;
  // A member that goes must close the meeting: the others would read memory that it frees. When
  // the last one has come in this moment, the meeting takes place.
  if (outcome == Signal::Outcome::kClosed || board_.arrived.close(all_here)) {
    give_up(outcome, call, since_ns);
  }
}

// This wait has no limit and no alarm ends it: the others are at work on this member's memory. It
// is short, because all members are there and none waits for anything else.
void ThreadGroup::leave() {
  board_.left.advance();
  board_.left.await(calls_ * static_cast<uint64_t>(size()), Wait::kForever, nullptr);
}

void ThreadGroup::give_up(Signal::Outcome outcome, const CollectiveCall& call, int64_t since_ns) {
  const int rank = members_[index_];
  const std::string where = to_string(call, members_);
  if (world_.alarm.raised()) throw PeerFailed(rank, where, world_.alarm.reason());
  const std::string waited =
      " after " + in_milliseconds(std::chrono::nanoseconds(monotonic_ns() - since_ns));
  if (outcome == Signal::Outcome::kClosed) {
    throw PeerFailed(rank, where, "another member gave up waiting" + waited);
  }
  throw ExecError(rank, where,
                  "deadline: rank(s) " + to_string(missing()) + " have not come" + waited);
}

std::vector<int> ThreadGroup::missing() const {
  std::vector<int> ranks;
  for (int i = 0; i < size(); ++i) {
    if (board_.cards[i].calls.load() < calls_) ranks.push_back(members_[i]);
  }
  return ranks;
}

int ThreadGroup::first_disagreeing() const {
  for (int i = 1; i < size(); ++i) {
    if (board_.cards[i].call != board_.cards[0].call) return i;
  }
  return -1;
}

template <typename T>
Timing ThreadGroup::reduce_all(T* data, int64_t elements, ReduceOp op) {
  const CollectiveCall call{all_reduce_kind(data, op), 0, elements};
  return meet(call, data, data, [&] {
    const Slice slice = slice_of(elements, size(), index_);
    const auto at = [&](int member) {
      return static_cast<T*>(board_.cards[member].out) + slice.begin;
    };
    if (size() > 1) reduce_in_order<T>({op, slice.size(), size(), size()}, at, at);
  });
}

Timing ThreadGroup::all_reduce(void* data, int64_t elements, DataType type, ReduceOp op) {
  return reduce_all(host_fp32(data, type), elements, op);
}

Timing ThreadGroup::all_reduce(double* data, int64_t elements, ReduceOp op) {
  return reduce_all(data, elements, op);
}

Timing ThreadGroup::all_gather(const void* mine, void* all, int64_t elements, DataType type) {
  float* const parts = host_fp32(all, type);
  return meet({CallKind::kAllGather, 0, elements}, mine, all, [&] {
    for (int i = 0; i < size(); ++i) {
      copy(parts + i * elements, static_cast<const float*>(board_.cards[i].in), elements);
    }
  });
}

Timing ThreadGroup::reduce_scatter(const void* all, void* mine, int64_t elements, DataType type) {
  float* const sum = host_fp32(mine, type);
  return meet({CallKind::kReduceScatter, 0, elements}, all, mine, [&] {
    const auto from = [&](int member) {
      return static_cast<const float*>(board_.cards[member].in) + index_ * elements;
    };
    reduce_in_order<float>({ReduceOp::kSum, elements, size(), 1}, from, [&](int) { return sum; });
  });
}

Timing ThreadGroup::broadcast(void* data, int64_t elements, DataType type, int root_index) {
  SW_CHECK(root_index >= 0 && root_index < size(), "broadcast root " << root_index);
  float* const values = host_fp32(data, type);
  return meet({CallKind::kBroadcast, root_index, elements}, data, data, [&] {
    copy(values, static_cast<const float*>(board_.cards[root_index].in), elements);
  });
}

Timing ThreadGroup::barrier() {
  return meet({CallKind::kBarrier, 0, 0}, nullptr, nullptr, [] {});
}

}  // namespace shardwright
