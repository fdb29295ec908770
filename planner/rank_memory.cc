#include "planner/rank_memory.h"

#include <algorithm>

#include "planner/stage_loads.h"

namespace shardwright {
namespace {

constexpr double kGib = 1024.0 * 1024.0 * 1024.0;
constexpr double kHalf = 2;  // bytes of a 16-bit element

struct States {
  double weights = 0, gradients = 0, sharded = 0, gathered = 0, step = 0;
};

// Gradients are what of `unsharded` exceeds the 16-bit weights.
States states_of(const MemoryStack& stack, const Plan& plan, const HeldParameters& held) {
  const bool fp16 = plan.precision == DataType::kFp16;
  const double unsharded = fp16 ? stack.unsharded_fp16 : stack.unsharded_bf16;
  double sharded = fp16 ? stack.sharded_fp16 : stack.sharded_bf16;
  sharded *= 1 - plan.optimizer_offload;
  States states;
  for (const bool experts : {false, true}) {
    const double count = experts ? held.experts : held.dense;
    const auto shard = static_cast<double>(shards_of(plan, experts));
    const double weights = plan.zero >= 3 ? kHalf / shard : kHalf;
    const double gradients = (unsharded - kHalf) / (plan.zero >= 2 ? shard : 1);
    states.weights += count * weights;
    states.gradients += count * gradients;
    states.sharded += count * sharded / (plan.zero >= 1 ? shard : 1);
    states.step += count * stack.step_copies / (plan.zero >= 1 ? shard : 1);
  }
  if (storage_of(plan.precision) != plan.precision) {
    states.weights += (held.all() - held.head) * stack.fp8_copies;
  }
  if (plan.zero >= 3) {
    states.gathered =
        held.largest_layer * (kHalf * stack.gathered_layers + stack.gathered_gradient) +
        kHalf * held.head;
  }
  return states;
}

double workspaces(const MemoryContext& c) {
  const bool experts = std::any_of(c.model.kinds.begin(), c.model.kinds.end(),
                                   [](const LayerSpec& kind) { return kind.moe.experts > 0; });
  return kGib * (c.stack.workspace_gib + (experts ? c.stack.expert_workspace_gib : 0));
}

struct Moment {
  const char* phase;
  std::vector<MemoryPart> parts;
};

double sum_of(const std::vector<MemoryPart>& parts) {
  double sum = 0;
  for (const MemoryPart& part : parts) sum += part.bytes;
  return sum;
}

}  // namespace

class RankMemoryModel::Table {
 public:
  explicit Table(const MemoryContext& context)
      : stack_(context.stack), loads_(context), workspaces_(workspaces(context)) {}

  const std::vector<StageLoad>& loads(const Plan& plan) { return loads_.of(plan); }
  const std::vector<StageLoad>& fullest(const Plan& plan) { return loads_.fullest_of(plan); }

  // What a stage needs at its fullest moment, in numbers and with their names.
  double allocated(const Plan& plan, const StageLoad& load) const {
    const States states = states_of(stack_, plan, load.held);
    const Activations& activations = load.activations;
    const double always = this->always(states, load.held);
    const double kept = always + activations.kept + states.gathered;
    return std::max({kept + activations.head, kept + activations.recompute + activations.backward,
                     always + states.step});
  }
  RankMemory memory(const Plan& plan, int64_t stage) {
    const StageLoad& load = loads_.of(plan)[stage];
    const States states = states_of(stack_, plan, load.held);
    const Activations& activations = load.activations;
    RankMemory memory;
    memory.stage = stage;
    memory.allocated_bytes = -1;
    const std::vector<MemoryPart> always = {
        {"weights", states.weights},     {"gradients of weights", states.gradients},
        {"optimizer", states.sharded},   {"dummy gradients", dummies(load.held)},
        {"buckets", buckets(load.held)}, {"workspaces", workspaces_}};
    const MemoryPart kept = {"activations", activations.kept};
    const MemoryPart whole = {"gathered weights", states.gathered};
    consider(always, {"backward of the loss", {kept, whole, {"logits and loss", activations.head}}},
             &memory);
    consider(
        always,
        {"backward of a layer",
         {kept, whole, {"recomputed", activations.recompute}, {"gradients", activations.backward}}},
        &memory);
    consider(always, {"optimizer step", {{"copies of the shard", states.step}}}, &memory);
    memory.reserved_bytes = memory.allocated_bytes * stack_.slack;
    memory.device_bytes = device_bytes(memory.allocated_bytes);
    return memory;
  }
  double device_bytes(double allocated) const {
    return allocated * stack_.slack + kGib * stack_.context_gib;
  }

 private:
  double always(const States& states, const HeldParameters& held) const {
    return states.weights + states.gradients + states.sharded + dummies(held) + buckets(held) +
           workspaces_;
  }
  double dummies(const HeldParameters& held) const {
    return stack_.dummy_gradients * held.distinct;
  }
  double buckets(const HeldParameters& held) const {
    return 2 * kHalf * std::min(held.all(), stack_.bucket_elements);
  }
  static void consider(const std::vector<MemoryPart>& always, const Moment& moment,
                       RankMemory* memory) {
    std::vector<MemoryPart> parts = always;
    parts.insert(parts.end(), moment.parts.begin(), moment.parts.end());
    const double sum = sum_of(parts);
    if (sum <= memory->allocated_bytes) return;
    memory->phase = moment.phase;
    memory->allocated_bytes = sum;
    memory->parts = std::move(parts);
  }

  const MemoryStack& stack_;
  StageLoads loads_;
  double workspaces_ = 0;
};

RankMemoryModel::RankMemoryModel(const MemoryContext& context)
    : table_(std::make_unique<Table>(context)) {}
RankMemoryModel::~RankMemoryModel() = default;

RankMemory RankMemoryModel::stage(const Plan& plan, int64_t stage) {
  return table_->memory(plan, stage);
}

RankMemory RankMemoryModel::fullest(const Plan& plan) {
  const std::vector<StageLoad>& loads = table_->loads(plan);
  size_t worst = 0;
  double most = -1;
  for (size_t stage = 0; stage < loads.size(); ++stage) {
    const double bytes = table_->allocated(plan, loads[stage]);
    if (bytes <= most) continue;
    most = bytes;
    worst = stage;
  }
  return table_->memory(plan, static_cast<int64_t>(worst));
}

double RankMemoryModel::fullest_device_bytes(const Plan& plan) {
  double most = 0;
  for (const StageLoad& load : table_->fullest(plan)) {
    most = std::max(most, table_->allocated(plan, load));
  }
  return table_->device_bytes(most);
}

std::vector<double> RankMemoryModel::device_bytes(const Plan& plan) {
  std::vector<double> bytes;
  for (const StageLoad& load : table_->loads(plan)) {
    bytes.push_back(table_->device_bytes(table_->allocated(plan, load)));
  }
  return bytes;
}

RankMemory rank_memory(const MemoryContext& context, const Plan& plan) {
  return RankMemoryModel(context).fullest(plan);
}

}  // namespace shardwright
