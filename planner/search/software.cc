#include "planner/search/software.h"

namespace shardwright {

struct Software::ForTp {
  ForTp(ModelSpec padded, const ClusterSpec& cluster, const Stack& stack, const MemoryStack& memory,
        const Factors& factors)
      : model(std::move(padded)),
        estimator(model, cluster, stack.kernels, factors),
        memory_model({model, memory, choice(stack.kernels)}) {}
  static KernelChoice choice(const Kernels& kernels) {
    return {.flash = kernels.flash_attention, .fused_loss = kernels.fused_loss};
  }
  ModelSpec model;
  Estimator estimator;
  RankMemoryModel memory_model;
};

Software::Software(const ModelSpec& model, const ClusterSpec& cluster, Stack stack,
                   MemoryStack memory)
    : model_(model),
      cluster_(cluster),
      stack_(std::move(stack)),
      memory_(std::move(memory)),
      factors_(factors_for(stack_, cluster)) {}
Software::~Software() = default;

Result<std::unique_ptr<Software>> Software::load(const ModelSpec& model, const ClusterSpec& cluster,
                                                 const std::string& stack,
                                                 const std::string& profiles_dir) {
  Result<Stack> loaded = load_stack(stack, profiles_dir);
  if (!loaded) return loaded.error();
  const std::string name = loaded->memory.empty() ? "megatron-core" : loaded->memory;
  Result<MemoryStack> memory = load_memory_stack(name, profiles_dir);
  if (!memory) return memory.error();
  return std::make_unique<Software>(model, cluster, *std::move(loaded), *std::move(memory));
}

Software::ForTp& Software::at(int64_t tp) {
  std::unique_ptr<ForTp>& entry = for_tp_[tp];
  if (entry == nullptr) {
    ModelSpec model = model_;
    if (stack_.kernels.padded_vocabulary) model.vocab = round_up(model.vocab, 128 * tp);
    entry = std::make_unique<ForTp>(std::move(model), cluster_, stack_, memory_, factors_);
  }
  return *entry;
}

void Software::set_usual(Plan* plan) const { set_usual_overlap(stack_.kernels, plan); }

const PlanPrices& Software::prices(const Plan& plan) { return at(plan.tp).estimator.prices(plan); }
const Estimator::PartSeconds& Software::parts(const Plan& plan) {
  return at(plan.tp).estimator.parts(plan);
}
Estimate Software::estimate(const Plan& plan) { return at(plan.tp).estimator.estimate(plan); }

double Software::device_bytes(const Plan& plan) {
  return at(plan.tp).memory_model.fullest_device_bytes(plan);
}

std::vector<StageMemory> Software::stages(const Plan& plan) {
  std::vector<StageMemory> out;
  for (int64_t stage = 0; stage < plan.pp; ++stage) {
    const RankMemory memory = at(plan.tp).memory_model.stage(plan, stage);
    StageMemory entry;
    for (int64_t v = 0; v < plan.virtual_stages; ++v) {
      entry.layers += plan.stage_layers[chunk_of_stage(plan, stage, v)];
    }
    double named = 0;
    for (const MemoryPart& part : memory.parts) {
      const std::string name = part.name;
      const auto bytes = static_cast<Bytes>(part.bytes);
      if (name == "weights") {
        entry.parameters = bytes;
      } else if (name == "gradients of weights") {
        entry.gradients = bytes;
      } else if (name == "optimizer") {
        entry.optimizer = bytes;
      } else if (name == "activations") {
        entry.activations = bytes;
      } else {
        continue;
      }
      named += static_cast<double>(bytes);
    }
    entry.scratch = static_cast<Bytes>(memory.device_bytes - named);
    entry.available = available();
    out.push_back(entry);
  }
  return out;
}

RankMemory Software::memory(const Plan& plan, int64_t stage) {
  return at(plan.tp).memory_model.stage(plan, stage);
}

Bytes Software::available() const { return cluster_.device_of(0).memory_bytes; }

const ModelSpec& Software::model_for(int64_t tp) { return at(tp).model; }

}  // namespace shardwright
