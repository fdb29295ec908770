// Collectives of a group over NCCL. A group of one rank has no communicator and copies.
#pragma once

#include <vector>

#include "executor/comm/nccl_link.h"

namespace shardwright {

class NcclGroup final : public Group {
 public:
  // `link` outlives the group. All members make it together; it is used once, so that the first
  // connections are made here.
  NcclGroup(std::vector<int> members, int index, int max_ctas, NcclLink& link);

  Timing all_reduce(void* data, int64_t elements, DataType type, ReduceOp op) override;
  Timing all_reduce(double* data, int64_t elements, ReduceOp op) override;
  Timing all_gather(const void* mine, void* all, int64_t elements, DataType type) override;
  Timing reduce_scatter(const void* all, void* mine, int64_t elements, DataType type) override;
  Timing broadcast(void* data, int64_t elements, DataType type, int root_index) override;
  // Of the ranks' own threads, over the host communicator: it is called between steps only, needs
  // no device memory, and names who is missing. Its Timing is of the host's clock.
  Timing barrier() override;

 private:
  Timing reduce(void* data, int64_t elements, NcclType type, ReduceOp op);
  Timing copy(const void* from, void* to, Bytes bytes);  // the only member's own part

  NcclLink& link_;
  NcclChannel* channel_ = nullptr;  // null: one member
};

// Throws BrokenInvariant for types that are no compute type.
NcclType nccl_type(DataType type);

}  // namespace shardwright
