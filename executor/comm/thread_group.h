// Collectives among ranks that are threads. Members show each other where their data lies, wait
// until all have done so, work on each other's memory directly, and wait again before they go on.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <vector>

#include "executor/comm/collective_call.h"
#include "executor/comm/communicator.h"
#include "executor/comm/thread_signal.h"

namespace shardwright {

// What the threads of one world have in common.
struct ThreadWorldState {
  int size = 1;
  std::chrono::nanoseconds deadline{0};  // of every single wait
  bool crowded = false;                  // more ranks than cores
  Alarm alarm;
};

// What one member shows the others during a call.
struct MemberCard {
  CollectiveCall call;
  const void* in = nullptr;
  void* out = nullptr;
  std::atomic<uint64_t> calls{0};  // calls that this member has come to
};

// The part of a group that its members share.
struct GroupBoard {
  GroupBoard(int size, bool crowded) : cards(size), arrived(crowded), left(crowded) {}
  std::vector<MemberCard> cards;  // [size]
  Signal arrived, left;           // each counts size per call
};

// One member's view. Two threads of a rank must not use the same group at the same time.
class ThreadGroup : public Group {
 public:
  // `world` and `board` outlive the group.
  ThreadGroup(std::vector<int> members, int index, ThreadWorldState& world, GroupBoard& board);

  Timing all_reduce(void* data, int64_t elements, DataType type, ReduceOp op) override;
  Timing all_reduce(double* data, int64_t elements, ReduceOp op) override;
  Timing all_gather(const void* mine, void* all, int64_t elements, DataType type) override;
  Timing reduce_scatter(const void* all, void* mine, int64_t elements, DataType type) override;
  Timing broadcast(void* data, int64_t elements, DataType type, int root_index) override;
  Timing barrier() override;

 private:
  template <typename T>
  Timing reduce_all(T* data, int64_t elements, ReduceOp op);

  // Brings all members together, runs `work` between the two waits, times it.
  template <typename Work>
  Timing meet(const CollectiveCall& call, const void* in, void* out, Work work);

  void arrive(const CollectiveCall& call, const void* in, void* out);
  void leave();
  [[noreturn]] void give_up(Signal::Outcome outcome, const CollectiveCall& call, int64_t since_ns);
  std::vector<int> missing() const;  // ranks that have not come to this call
  int first_disagreeing() const;     // index of a member whose call differs from member 0's, or -1

  ThreadWorldState& world_;
  GroupBoard& board_;
  uint64_t calls_ = 0;  // made by this member, the present one included
};

}  // namespace shardwright
