#include "planner/chunk_info.h"

#include <algorithm>

#include "costmodel/memory.h"
#include "costmodel/parameters.h"

namespace shardwright {
namespace {

Bytes share(Bytes bytes, int64_t parts) { return ceil_div(bytes, parts); }

// Weights in the compute type, gradients and optimizer state, as far as each is sharded.
Bytes persistent_bytes(const Plan& plan, const StateInfo& state, const RankParameters& count) {
  const DataType weight = storage_of(plan.precision);
  const Bytes moments =
      plan.optimizer == OptimizerKind::kAdamW ? 2 * size_of(state.moment_type) : 0;
  const Bytes master = weight != DataType::kFp32 && plan.master_weights ? 4 : 0;
  Bytes sum = 0;
  for (const auto& [elements, shards] :
       {std::pair{count.dense, state.shards}, std::pair{count.experts, state.expert_shards}}) {
    sum += share(elements * size_of(weight), state.zero >= 3 ? shards : 1);
    sum += share(elements * size_of(state.gradient_type), state.zero >= 2 ? shards : 1);
    const auto kept = static_cast<double>(elements * (moments + master)) * (1 - state.offload);
    sum += share(static_cast<Bytes>(kept), state.zero >= 1 ? shards : 1);
  }
  return sum;
}

// Zero 3 works layer by layer: the weights of one, those of the next on their way, and the
// gradients of one before they are scattered.
Bytes gathered_bytes(const StateInfo& state, DataType weight, const RankParameters& count) {
  if (state.zero < 3 || state.shards == 1) return 0;
  return count.largest * (2 * size_of(weight) + size_of(state.gradient_type));
}

ChunkInfo chunk_info(const ModelSpec& model, const Plan& plan, const ChunkShape& shape,
                     int64_t index) {
  ChunkInfo info;
  info.first_layer = static_cast<int>(shape.first_layer);
  info.num_layers = static_cast<int>(shape.num_layers);
  info.embedding = shape.embedding;
  info.head = shape.head;
  info.recompute = shape.recompute;
  info.tp = static_cast<int>(shape.tp);
  info.micro_batch = static_cast<int>(shape.micro_batch);
  info.seq = static_cast<int>(shape.seq);
  info.type = shape.type;
  info.stage = static_cast<int>(stage_of_chunk(plan, index));
  info.split = shape.split;
  info.split_backward = splits_backward(plan.schedule);
  info.recompute_layers = static_cast<int>(shape.recompute_layers);
  info.recompute_modules = shape.recompute_modules;
  info.mtp_layers = static_cast<int>(shape.mtp_layers);
  const ActivationBytes kept = activation_bytes(model, shape, info.split_backward);
  const double stays = 1 - plan.activation_offload;
  info.saved = static_cast<Bytes>(static_cast<double>(kept.saved) * stays);
  info.operands = static_cast<Bytes>(static_cast<double>(kept.operands) * stays);
  info.deferred = kept.deferred;
  info.message = kept.message;
  info.tokens = kept.tokens;
  return info;
}

}  // namespace

StateInfo state_info(const Plan& plan) {
  StateInfo state;
  state.zero = static_cast<int>(plan.zero);
  state.gradient_type = plan.gradient_type;
  state.moment_type = plan.moment_type;
  state.offload = plan.optimizer_offload;
  if (plan.zero == 0) return state;
  state.shards = static_cast<int>(shards_of(plan, false));
  state.expert_shards = static_cast<int>(shards_of(plan, true));
  return state;
}

std::vector<ChunkInfo> chunk_infos(const ModelSpec& model, const Plan& plan) {
  const StateInfo state = state_info(plan);
  const int64_t chunks = plan.pp * plan.virtual_stages;
  std::vector<ChunkInfo> infos;
  std::vector<std::vector<ChunkShape>> stages(static_cast<size_t>(plan.pp));
  std::vector<Bytes> gathered(static_cast<size_t>(plan.pp), 0);
  for (int64_t c = 0; c < chunks; ++c) {
    const ChunkShape shape = chunk_shape(plan, c);
    const RankParameters count = rank_parameters(model, shape);
    infos.push_back(chunk_info(model, plan, shape, c));
    infos.back().persistent = persistent_bytes(plan, state, count);
    stages[infos.back().stage].push_back(shape);
    Bytes& room = gathered[infos.back().stage];
    room = std::max(room, gathered_bytes(state, storage_of(plan.precision), count));
  }
  std::vector<Bytes> scratch;
  for (const auto& shapes : stages) scratch.push_back(scratch_bytes(model, shapes));
  for (ChunkInfo& info : infos) info.scratch = scratch[info.stage] + gathered[info.stage];
  return infos;
}

}  // namespace shardwright
