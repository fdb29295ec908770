#include "executor/comm/staged_group.h"

#include "costmodel/check.h"

namespace shardwright {

StagedGroup::StagedGroup(Group& host, Ops& ops, Staging& staging)
    : Group(host.members(), host.index()), host_(host), ops_(ops), staging_(staging) {}

Timing StagedGroup::all_reduce(void* data, int64_t elements, DataType type, ReduceOp op) {
  Timing timing;
  timing.start_ns = ops_.lanes().stamp();
  float* const values = staging_.floats(elements);
  staging_.download(values, data, elements, type);
  host_.all_reduce(values, elements, op);
  staging_.upload(data, values, elements, type);
  timing.end_ns = ops_.lanes().stamp();
  return timing;
}

Timing StagedGroup::all_reduce(double* data, int64_t elements, ReduceOp op) {
  Timing timing;
  timing.start_ns = ops_.lanes().stamp();
  double* const values = staging_.doubles(elements);
  staging_.download(values, data, elements);
  host_.all_reduce(values, elements, op);
  staging_.upload(data, values, elements);
  timing.end_ns = ops_.lanes().stamp();
  return timing;
}

// Each member's part lies at its place among all, where the host's group finds and leaves it.
Timing StagedGroup::all_gather(const void* mine, void* all, int64_t elements, DataType type) {
  Timing timing;
  timing.start_ns = ops_.lanes().stamp();
  float* const values = staging_.floats(elements * size());
  float* const own = values + elements * index_;
  staging_.download(own, mine, elements, type);
  host_.all_gather(own, values, elements);
  staging_.upload(all, values, elements * size(), type);
  timing.end_ns = ops_.lanes().stamp();
  return timing;
}

Timing StagedGroup::reduce_scatter(const void* all, void* mine, int64_t elements, DataType type) {
  Timing timing;
  timing.start_ns = ops_.lanes().stamp();
  float* const values = staging_.floats(elements * size());
  float* const own = values + elements * index_;
  staging_.download(values, all, elements * size(), type);
  host_.reduce_scatter(values, own, elements);
  staging_.upload(mine, own, elements, type);
  timing.end_ns = ops_.lanes().stamp();
  return timing;
}

Timing StagedGroup::broadcast(void* data, int64_t elements, DataType type, int root_index) {
  SW_CHECK(root_index >= 0 && root_index < size(), "broadcast root " << root_index);
  Timing timing;
  timing.start_ns = ops_.lanes().stamp();
  float* const values = staging_.floats(elements);
  if (index_ == root_index) staging_.download(values, data, elements, type);
  host_.broadcast(values, elements, root_index);
  if (index_ != root_index) staging_.upload(data, values, elements, type);
  timing.end_ns = ops_.lanes().stamp();
  return timing;
}

}  // namespace shardwright
