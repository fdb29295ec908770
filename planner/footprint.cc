#include "planner/footprint.h"

#include <algorithm>

#include "costmodel/memory.h"
#include "planner/schedule/held.h"

namespace shardwright {
namespace {

Bytes smallest_device(const ClusterSpec& cluster, const Plan& plan, int64_t stage) {
  const RankNumbering numbering = numbering_of(plan);
  Bytes smallest = cluster.device_of(numbering.rank(stage, 0)).memory_bytes;
  if (cluster.groups.size() == 1) return smallest;
  for (int64_t place = 0; place < plan.ranks() / plan.pp; ++place) {
    smallest = std::min(smallest, cluster.device_of(numbering.rank(stage, place)).memory_bytes);
  }
  return smallest;
}

}  // namespace

std::vector<NamedBytes> parts_of(const StageMemory& memory) {
  return {{"parameters", memory.parameters},
          {"gradients", memory.gradients},
          {"optimizer", memory.optimizer},
          {"activations", memory.activations},
          {"scratch", memory.scratch}};
}

size_t tightest(const std::vector<StageMemory>& stages) {
  const auto worst = std::max_element(
      stages.begin(), stages.end(),
      [](const StageMemory& a, const StageMemory& b) { return a.missing() < b.missing(); });
  return static_cast<size_t>(worst - stages.begin());
}

bool fits(const std::vector<StageMemory>& stages) {
  return stages[tightest(stages)].missing() <= 0;
}

Footprint::Footprint(const ModelSpec& model, const ClusterSpec& cluster, const Plan& plan)
    : pp_(static_cast<int>(plan.pp)),
      virtual_stages_(static_cast<int>(plan.virtual_stages)),
      microbatches_(static_cast<int>(plan.microbatches())) {
  for (int64_t stage = 0; stage < plan.pp; ++stage) {
    StageMemory resident;
    std::vector<ChunkShape> shapes;
    for (int64_t k = 0; k < plan.virtual_stages; ++k) {
      const ChunkShape shape = chunk_shape(plan, chunk_of_stage(plan, stage, k));
      const ChunkMemory memory = chunk_memory(model, shape, plan.optimizer);
      resident.layers += shape.num_layers;
      resident.parameters += memory.parameters;
      resident.gradients += memory.gradients;
      resident.optimizer += memory.optimizer;
      const Bytes in = shape.embedding ? 0 : memory.message, out = shape.head ? 0 : memory.message;
      const Bytes tokens = shape.embedding || shape.head ? memory.tokens : 0;
      activations_.push_back({memory.saved + tokens + in, in + out});
      shapes.push_back(shape);
    }
    resident.scratch = scratch_bytes(model, shapes) + kStepStateBytes;
    resident.available = smallest_device(cluster, plan, stage);
    resident_.push_back(resident);
  }
}

std::vector<StageMemory> Footprint::smallest(ScheduleKind schedule) const {
  std::vector<StageMemory> stages = resident_;
  const ScheduleShape shape{schedule, pp_, virtual_stages_, microbatches_, {}, 0};
  for (int stage = 0; stage < pp_; ++stage) {
    const PerMicrobatch* const chunks = &activations_[stage * virtual_stages_];
    Bytes working = chunks[0].working;
    for (int k = 0; k < virtual_stages_; ++k) {
      stages[stage].activations += in_flight(shape, stage, k) * chunks[k].held;
      working = std::min(working, chunks[k].working);
    }
    stages[stage].activations += working;
  }
  return stages;
}

}  // namespace shardwright
