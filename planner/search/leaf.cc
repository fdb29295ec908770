#include "planner/search/leaf.h"

#include <algorithm>

namespace shardwright {
namespace {

bool within(const StageNs& a, const StageNs& b) {
  return a.gather_first <= b.gather_first && a.reduction <= b.reduction && a.update <= b.update &&
         a.gather_last <= b.gather_last;
}

bool within(const ChunkUnits& a, const ChunkUnits& b) {
  return a.forward <= b.forward && a.backward_input <= b.backward_input &&
         a.backward_weight <= b.backward_weight;
}

template <typename Times>
bool each_within(const std::vector<Times>& a, const std::vector<Times>& b) {
  for (size_t i = 0; i < a.size(); ++i) {
    if (!within(a[i], b[i])) return false;
  }
  return true;
}

}  // namespace

bool Leaf::dominated_by(const Leaf& other) const {
  const StepNs &mine = times, &its = other.times;
  const bool same_order = mine.tied_first == its.tied_first || (mine.tied == 0 && its.tied == 0);
  const bool replicas =
      mine.replicas.size() == its.replicas.size() &&
      std::equal(mine.replicas.begin(), mine.replicas.end(), its.replicas.begin(),
                 [](const ReplicaNs& a, const ReplicaNs& b) {
                   return a.replica == b.replica && each_within(b.chunks, a.chunks);
                 });
  return same_order && replicas && other.memory_share <= memory_share && its.tied <= mine.tied &&
         its.clip <= mine.clip && its.serial_message <= mine.serial_message &&
         each_within(its.stages, mine.stages) && each_within(its.passes.chunks, mine.passes.chunks);
}

}  // namespace shardwright
