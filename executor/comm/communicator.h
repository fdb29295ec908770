// Communicator: how one rank talks to the others. Two backends on CPU: ranks as threads of one
// process (thread_comm.h) and ranks as processes under Open MPI (mpi_comm.h).
//
// Every call returns Timing: when the data or all the members were there (start_ns) and when the
// call was done (end_ns), on monotonic_ns(); what lies between the call and start_ns was waiting
// for others. Every wait has a deadline: past it, or when a peer has failed, the call throws
// ExecError / PeerFailed that names rank, group and what was waited for. Messages between two ranks
// match in order per channel; a message of another length than awaited is an ExecError, not an
// overrun.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

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

  // In place. The sum is formed in member order on one member and is the same bits everywhere.
  virtual Timing all_reduce(float* data, int64_t elements, ReduceOp op) = 0;
  virtual Timing all_reduce(double* data, int64_t elements, ReduceOp op) = 0;
  // all[size, elements]: member i's `mine` at place i.
  virtual Timing all_gather(const float* mine, float* all, int64_t elements) = 0;
  // mine[elements] = sum over members of their all[index(), elements].
  virtual Timing reduce_scatter(const float* all, float* mine, int64_t elements) = 0;
  virtual Timing broadcast(float* data, int64_t elements, int root_index) = 0;
  virtual Timing barrier() = 0;

 protected:
  Group(std::vector<int> members, int index) : members_(std::move(members)), index_(index) {}
  std::vector<int> members_;
  int index_;
};

class Communicator {
 public:
  virtual ~Communicator() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;
  virtual const char* backend() const = 0;  // "threads", "mpi"

  // REQUIRES: members ascending, this rank among them. The object lives as long as the
  // communicator.
  virtual Group& group(const std::vector<int>& members) = 0;

  // Posted: returns when `data` may be reused, without waiting for the receiver. `channel` is the
  // lane.
  virtual Timing send(const float* data, int64_t elements, int peer, int channel) = 0;
  virtual Timing receive(float* data, int64_t elements, int peer, int channel) = 0;
};

}  // namespace shardwright
