#include "executor/comm/nccl_group.h"

#include "costmodel/check.h"
#include "executor/comm/collective_call.h"

namespace shardwright {

NcclType nccl_type(DataType type) {
  SW_CHECK(type == DataType::kFp32 || type == DataType::kBf16,
           "NCCL communicator was given " << name_of(type));
  return type == DataType::kFp32 ? NcclType::kFp32 : NcclType::kBf16;
}

NcclGroup::NcclGroup(std::vector<int> members, int index, int max_ctas, NcclLink& link)
    : Group(std::move(members), index), link_(link) {
  if (size() == 1) return;
  channel_ = &link_.open(members_, index_, max_ctas, "group " + to_string(members_));
  float* const value = link_.ops().allocate_floats(1);
  link_.ops().zero(value, sizeof(float));
  all_reduce(value, 1, DataType::kFp32, ReduceOp::kSum);
  link_.await_idle(*channel_, {NcclVerb::kAllReduce, NcclType::kFp32, 1, ReduceOp::kSum, 0});
  link_.ops().free(value);
}

Timing NcclGroup::reduce(void* data, int64_t elements, NcclType type, ReduceOp op) {
  if (channel_ == nullptr) return copy(data, data, 0);
  return link_.run(*channel_, {NcclVerb::kAllReduce, type, elements, op, 0},
                   [&](NcclApi& api, const NcclPlace& place) {
                     return api.all_reduce(data, elements, type, op, place);
                   });
}

Timing NcclGroup::all_reduce(void* data, int64_t elements, DataType type, ReduceOp op) {
  return reduce(data, elements, nccl_type(type), op);
}

Timing NcclGroup::all_reduce(double* data, int64_t elements, ReduceOp op) {
  return reduce(data, elements, NcclType::kFp64, op);
}

Timing NcclGroup::all_gather(const void* mine, void* all, int64_t elements, DataType type) {
  const NcclType wire = nccl_type(type);
  if (channel_ == nullptr) return copy(mine, all, elements * size_of(type));
  return link_.run(*channel_, {NcclVerb::kAllGather, wire, elements, ReduceOp::kSum, 0},
                   [&](NcclApi& api, const NcclPlace& place) {
                     return api.all_gather(mine, all, elements, wire, place);
                   });
}

Timing NcclGroup::reduce_scatter(const void* all, void* mine, int64_t elements, DataType type) {
  const NcclType wire = nccl_type(type);
  if (channel_ == nullptr) return copy(all, mine, elements * size_of(type));
  return link_.run(*channel_, {NcclVerb::kReduceScatter, wire, elements, ReduceOp::kSum, 0},
                   [&](NcclApi& api, const NcclPlace& place) {
                     return api.reduce_scatter(all, mine, elements, wire, place);
                   });
}

Timing NcclGroup::broadcast(void* data, int64_t elements, DataType type, int root_index) {
  SW_CHECK(root_index >= 0 && root_index < size(), "broadcast root " << root_index);
  const NcclType wire = nccl_type(type);
  if (channel_ == nullptr) return copy(data, data, 0);
  return link_.run(*channel_, {NcclVerb::kBroadcast, wire, elements, ReduceOp::kSum, root_index},
                   [&](NcclApi& api, const NcclPlace& place) {
                     return api.broadcast(data, elements, wire, root_index, place);
                   });
}

Timing NcclGroup::barrier() { return link_.host().group(members_).barrier(); }

Timing NcclGroup::copy(const void* from, void* to, Bytes bytes) {
  Timing timing;
  timing.start_ns = link_.now();
  if (from != to && bytes > 0) link_.ops().copy(to, from, bytes);
  timing.end_ns = link_.now();
  return timing;
}

}  // namespace shardwright
