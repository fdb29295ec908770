// Collectives among ranks that are processes, made of MPI's nonblocking messages.
//
// They are our own and not MPI's because MPI leaves the order of a sum open, cannot make groups
// without a wait that has no deadline, and does not say when all members were there.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "executor/comm/communicator.h"
#include "executor/comm/mpi_link.h"
#include "executor/comm/mpi_meeting.h"

namespace shardwright {

class MpiGroup : public Group {
 public:
  // `link` outlives the group.
  MpiGroup(std::vector<int> members, int index, MpiLink& link);

  Timing all_reduce(void* data, int64_t elements, DataType type, ReduceOp op) override;
  Timing all_reduce(double* data, int64_t elements, ReduceOp op) override;
  Timing all_gather(const void* mine, void* all, int64_t elements, DataType type) override;
  Timing reduce_scatter(const void* all, void* mine, int64_t elements, DataType type) override;
  Timing broadcast(void* data, int64_t elements, DataType type, int root_index) override;
  Timing barrier() override;

 private:
  // Part of an array of T.
  template <typename T>
  struct Part {
    T* data;
    int64_t elements;
  };

  template <typename T>
  Timing reduce_all(T* data, int64_t elements, ReduceOp op);
  // All-reduce in one exchange (short) or two (long); the first is posted, then reduced.
  template <typename T>
  void post_whole(Part<T> data);
  template <typename T>
  void reduce_whole(Part<T> data, ReduceOp op);
  template <typename T>
  void post_slices(Part<T> data);
  template <typename T>
  void reduce_slice(Part<T> data, ReduceOp op);

  // Posts with every other member i: receive into in(i), send out(i).
  template <typename T, typename In, typename Out>
  void post_exchange(In in, Out out);
  template <typename T>
  void post_receive(Part<T> part, int member);
  template <typename T>
  void post_send(Part<const T> part, int member);
  void finish();  // waits for all that is posted

  // Room for `elements` from each other member. The same memory at each call.
  template <typename T>
  T* reserve(int64_t elements);
  template <typename T>
  T* room_of(int member, int64_t elements) const;

  Timing end(int64_t start_ns) const { return {start_ns, monotonic_ns()}; }

  MpiLink& link_;
  MpiMeeting meeting_;
  RequestSet posted_;
  std::unique_ptr<std::byte[]> scratch_;
  size_t scratch_bytes_ = 0;
};

}  // namespace shardwright
