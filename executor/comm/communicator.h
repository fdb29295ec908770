// Communicator: how one rank talks to the others. Two backends on CPU: ranks as threads of one
// process (thread_comm.h) and ranks as processes under Open MPI (mpi_comm.h). On GPUs: NCCL, or a
// path that stages through one of the two (nccl_comm.h, staged_comm.h).
//
// Data lies where the rank's Ops allocate it. Host backends move fp32 and fp64 and are done when a
// call returns; device backends move every compute type and give the call to the lane under way.
//
// Every call returns Timing: when the data or all the members were there (start_ns) and when the
// call was done (end_ns). On hosts these are monotonic_ns(), on devices stamps (lanes.h) that mean
// something when the step is over; what lies between the call and start_ns was waiting for others.
// Every wait has a deadline: past it, or when a peer has failed, the call throws ExecError /
// PeerFailed that names rank, group and what was waited for. Messages between two ranks match in
// order per channel; a message of another length than awaited is an ExecError, not an overrun.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "costmodel/units.h"

namespace shardwright {

inline int64_t monotonic_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

struct Timing {
  int64_t start_ns = 0;
  int64_t end_ns = 0;
};

enum class ReduceOp { kSum, kMax };

// The members of a collective in rank order, and this rank's place among them.
// Obtained from Communicator::group; every member must ask for its groups in the same order.
class Group {
 public:
  virtual ~Group() = default;
  const std::vector<int>& members() const { return members_; }
  int size() const { return static_cast<int>(members_.size()); }
  int index() const { return index_; }  // of this rank among the members

  // In place. Every member ends with the same bits; on hosts the sum is formed in member order.
  virtual Timing all_reduce(void* data, int64_t elements, DataType type, ReduceOp op) = 0;
  virtual Timing all_reduce(double* data, int64_t elements, ReduceOp op) = 0;
  // all[size, elements]: member i's `mine` at place i.
  virtual Timing all_gather(const void* mine, void* all, int64_t elements, DataType type) = 0;
  // mine[elements] = sum over members of their all[index(), elements].
  virtual Timing reduce_scatter(const void* all, void* mine, int64_t elements, DataType type) = 0;
  virtual Timing broadcast(void* data, int64_t elements, DataType type, int root_index) = 0;
  virtual Timing barrier() = 0;

  // The same in fp32.
  Timing all_reduce(float* data, int64_t elements, ReduceOp op) {
    return all_reduce(data, elements, DataType::kFp32, op);
  }
  Timing all_gather(const float* mine, float* all, int64_t elements) {
    return all_gather(mine, all, elements, DataType::kFp32);
  }
  Timing reduce_scatter(const float* all, float* mine, int64_t elements) {
    return reduce_scatter(all, mine, elements, DataType::kFp32);
  }
  Timing broadcast(float* data, int64_t elements, int root_index) {
    return broadcast(data, elements, DataType::kFp32, root_index);
  }

 protected:
  Group(std::vector<int> members, int index) : members_(std::move(members)), index_(index) {}
  std::vector<int> members_;
  int index_;
};

// The way of messages from one rank to another; `channel` as in send and receive.
struct Route {
  int from = 0, to = 0, channel = 0;
  friend bool operator==(const Route&, const Route&) = default;
  friend auto operator<=>(const Route&, const Route&) = default;
};

class Communicator {
 public:
  virtual ~Communicator() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;
  virtual const char* backend() const = 0;  // "threads", "mpi", "nccl", "staged over mpi"

  // REQUIRES: members ascending, this rank among them. The object lives as long as the
  // communicator.
  virtual Group& group(const std::vector<int>& members) = 0;

  // Makes ready what messages need. Every rank calls it once, after its groups and before its first
  // message, with all routes that it is an end of (routes.h). Nothing to do on hosts.
  virtual void connect(std::span<const Route>) {}
  // The communicator that moves memory of the host among the same ranks: itself on hosts, on
  // devices the one that it was made over.
  virtual Communicator& host() { return *this; }
  // Throws PeerFailed when another rank is known to have failed; for loops that wait for something
  // else than this communicator. Processes are ended by their launcher instead.
  virtual void check_peers() {}

  // Posted: returns when `data` may be reused, without waiting for the receiver. `channel` is the
  // lane.
  virtual Timing send(const void* data, int64_t elements, DataType type, int peer, int channel) = 0;
  virtual Timing receive(void* data, int64_t elements, DataType type, int peer, int channel) = 0;
  // The same in fp32.
  Timing send(const float* data, int64_t elements, int peer, int channel) {
    return send(data, elements, DataType::kFp32, peer, channel);
  }
  Timing receive(float* data, int64_t elements, int peer, int channel) {
    return receive(data, elements, DataType::kFp32, peer, channel);
  }
};

}  // namespace shardwright
