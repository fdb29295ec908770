// Collectives of devices through the host communicator's group of the same members.
#pragma once

#include "executor/comm/communicator.h"
#include "executor/comm/staging.h"

namespace shardwright {

class StagedGroup final : public Group {
 public:
  // All outlive the group.
  StagedGroup(Group& host, Ops& ops, Staging& staging);

  Timing all_reduce(void* data, int64_t elements, DataType type, ReduceOp op) override;
  Timing all_reduce(double* data, int64_t elements, ReduceOp op) override;
  Timing all_gather(const void* mine, void* all, int64_t elements, DataType type) override;
  Timing reduce_scatter(const void* all, void* mine, int64_t elements, DataType type) override;
  Timing broadcast(void* data, int64_t elements, DataType type, int root_index) override;
  Timing barrier() override { return host_.barrier(); }  // Timing of the host's clock

 private:
  Group& host_;
  Ops& ops_;
  Staging& staging_;
};

}  // namespace shardwright
