// What the stages of a plan hold before ZeRO shards anything: parameters, and activations of the
// microbatches in flight. The same for all shardings of one pipeline.
#pragma once

#include <map>
#include <tuple>
#include <utility>
#include <vector>

#include "planner/layer_memory.h"
#include "planner/schedule/held.h"

namespace shardwright {

// Parameters that a rank of one stage holds: experts have replicas of their own.
struct HeldParameters {
  double dense = 0, experts = 0;
  double largest_layer = 0;
  double distinct = 0;  // one of every weight shape
  double head = 0;      // of the output projection
  double all() const { return dense + experts; }
};

// Activations in flight and what the fullest moments add, in bytes.
struct Activations {
  double kept = 0, head = 0, recompute = 0, backward = 0;
};

struct StageLoad {
  HeldParameters held;
  Activations activations;
  // No part is larger than the other's: whatever the sharding, the other stage is as full.
  bool within(const StageLoad& other) const;
};

// Loads of any number of plans of one model under one stack. What plans share with those before
// them (layers of the same shape, the same pipeline) is looked up.
class StageLoads {
 public:
  // The context's model and stack must outlive this.
  explicit StageLoads(const MemoryContext& context);
  // By stage; valid until the next call. REQUIRES: the plan fits the model (check_plan).
  const std::vector<StageLoad>& of(const Plan& plan);
  // Of those only the ones that can be the fullest under some sharding.
  const std::vector<StageLoad>& fullest_of(const Plan& plan);

 private:
  struct Loads {
    std::vector<StageLoad> all, fullest;
  };
  const Loads& loads(const Plan& plan);
  const LayerMemory& layers_of(const Plan& plan);
  bool same_pipeline(const Plan& plan) const;
  void set_pipeline(const Plan& plan);
  StageLoad load(const Plan& plan, const LayerMemory& layers, int64_t stage) const;
  void add_chunk(const Plan& plan, const LayerMemory& layers, int64_t stage, int64_t v,
                 StageLoad* out) const;
  double distinct_elements(const Plan& plan, const LayerMemory& layers, int64_t stage) const;
  int64_t layers_of_kind(size_t kind, int64_t first, int64_t end) const {
    return before_[kind][end] - before_[kind][first];
  }

  MemoryContext c_;
  std::vector<std::vector<int64_t>> before_;  // per kind: layers of it before each layer
  using LayersKey = std::tuple<int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t,
                               int64_t, DataType, Recompute, uint32_t>;
  std::map<LayersKey, LayerMemory> layers_;

  // The pipeline asked for last.
  Plan pipeline_;
  std::vector<int64_t> first_;  // layer of each chunk, and the number of layers
  std::vector<int> held_;       // [pp, virtual_stages] microbatches in flight
  ScheduleMemo schedules_;
  using LoadsKey = std::tuple<Recompute, uint32_t, int64_t, double>;
  std::map<LoadsKey, Loads> loads_;  // by what is recomputed
};

}  // namespace shardwright
