#include "planner/program/step_table.h"

#include <algorithm>

#include "costmodel/check.h"
#include "costmodel/parameters.h"
#include "planner/program/closing_work.h"

namespace shardwright {
namespace {

Step outside(StepOp op, Work work) { return {op, Phase::kForward, -1, std::move(work)}; }

}  // namespace

StepTable::StepTable(const ModelSpec& model, const Program& program, OptimizerKind optimizer)
    : model_(model), program_(program), optimizer_(optimizer) {
  for (const RankProgram& rank : program.ranks) {
    for (const Instruction& instruction : rank.instructions) {
      auto [slot, fresh] = lists_.try_emplace({instruction.op, instruction.chunk});
      if (fresh) slot->second = make(instruction);
    }
  }
}

const std::vector<Step>& StepTable::steps(const Instruction& instruction) const {
  const auto found = lists_.find({instruction.op, instruction.chunk});
  SW_CHECK(found != lists_.end(), "no steps for " << label_of(instruction));
  return found->second;
}

namespace {

// Elements of a chunk on one rank, whole and as far as they are sharded.
class ChunkStates {
 public:
  ChunkStates(const ModelSpec& model, const Program& program, const ChunkInfo& chunk)
      : state_(program.state),
        weight_type_(storage_of(chunk.type)),
        count_(rank_parameters(model, chunk.shape())) {
    const int64_t replicas = int64_t{program.replicas} * program.cp;
    replicas_ = replicas;
    const int64_t holders =
        chunk.split.ep * chunk.split.expert_tp(chunk.tp);  // ranks that hold all experts once
    expert_replicas_ = std::max<int64_t>(1, chunk.tp * replicas / holders);
  }

  ClosingShape closing(OptimizerKind optimizer) const {
    ClosingShape shape;
    const bool sharded = state_.zero >= 1;
    shape.updated = sharded ? ceil_div(count_.dense, state_.shards) +
                                  ceil_div(count_.experts, state_.expert_shards)
                            : count_.all();
    shape.gradients = state_.zero == 3 ? shape.updated : count_.all();
    shape.optimizer = optimizer;
    shape.weight_type = weight_type_;
    shape.gradient_type = state_.gradient_type;
    shape.moment_type = state_.moment_type;
    return shape;
  }

  std::vector<Step> gather() const { return exchange(CollectiveKind::kAllGather, weight_type_); }
  std::vector<Step> scatter() const {
    return exchange(CollectiveKind::kReduceScatter, state_.gradient_type);
  }
  // Over all replicas. Of sharded states each copy sums its shards, then copies sum theirs; with
  // zero 3 the former is done already.
  std::vector<Step> reduce() const {
    if (state_.zero == 0) return all_reduce(1, 1);
    std::vector<Step> steps;
    if (state_.zero < 3) steps = scatter();
    for (Step& step : all_reduce(state_.shards, state_.expert_shards)) {
      steps.push_back(std::move(step));
    }
    return steps;
  }

 private:
  static void add(CollectiveKind kind, Axis axis, Bytes bytes, std::vector<Step>* steps) {
    if (bytes > 0) {
      steps->push_back(outside(StepOp::kGradientReduce, CollectiveWork{kind, axis, bytes}));
    }
  }
  std::vector<Step> exchange(CollectiveKind kind, DataType type) const {
    std::vector<Step> steps;
    add(kind, Axis::kDp, count_.dense * size_of(type), &steps);
    if (state_.expert_shards > 1) {
      add(kind, Axis::kExpertDp, count_.experts * size_of(type), &steps);
    }
    return steps;
  }
  // Of each shard over those that hold the same one.
  std::vector<Step> all_reduce(int64_t shards, int64_t expert_shards) const {
    const Bytes size = size_of(state_.gradient_type);
    std::vector<Step> steps;
    if (replicas_ > shards) {
      add(CollectiveKind::kAllReduce, Axis::kDp, ceil_div(count_.dense, shards) * size, &steps);
    }
    if (expert_replicas_ > expert_shards) {
      add(CollectiveKind::kAllReduce, Axis::kExpertDp,
          ceil_div(count_.experts, expert_shards) * size, &steps);
    }
    return steps;
  }

  const StateInfo& state_;
  const DataType weight_type_;
  const RankParameters count_;
  int64_t replicas_ = 1, expert_replicas_ = 1;
};

// The first part of a backward in two, or the second.
std::vector<Step> part_of_backward(const ModelSpec& model, const ChunkShape& shape, bool weight) {
  std::vector<Step> steps = backward_steps(model, shape);
  std::erase_if(steps,
                [&](const Step& step) { return (step.phase == Phase::kBackwardWeight) != weight; });
  return steps;
}

// The gradient of a tied table on both its ranks, or of its two copies on one rank: each is read
// and written.
Step tied_step(const ModelSpec& model, const Program& program, const ChunkInfo& chunk, bool here) {
  const StateInfo& state = program.state;
  const int64_t rows = padded_vocab_share(model, chunk.tp);
  const Bytes table = rows * model.hidden * size_of(state.gradient_type);
  if (here) {
    return outside(StepOp::kTiedReduce, PassWork{PassKind::kAdd, rows, model.hidden, 4 * table});
  }
  const Bytes bytes = state.zero == 3 ? ceil_div(table, state.shards) : table;
  return outside(StepOp::kTiedReduce,
                 CollectiveWork{CollectiveKind::kAllReduce, Axis::kTied, bytes});
}

}  // namespace

std::vector<Step> StepTable::make(const Instruction& instruction) const {
  // Two fp64 figures: the sum of squares and the loss.
  const Step norm =
      outside(StepOp::kNormReduce, CollectiveWork{CollectiveKind::kAllReduce, Axis::kWorld, 16});
  if (instruction.chunk < 0) {
    SW_CHECK(instruction.op == OpCode::kClip, label_of(instruction) << " without a chunk");
    return {norm};
  }
  const ChunkInfo& info = program_.chunks.at(instruction.chunk);
  const ChunkShape shape = info.shape();
  const auto states = [&] { return ChunkStates(model_, program_, info); };
  switch (instruction.op) {
    case OpCode::kForward:
      return forward_steps(model_, shape);
    case OpCode::kBackward:
      return backward_steps(model_, shape);
    case OpCode::kBackwardInput:
      return part_of_backward(model_, shape, false);
    case OpCode::kBackwardWeight:
      return part_of_backward(model_, shape, true);
    case OpCode::kLoad:
      return {
          outside(StepOp::kLoad, PassWork{PassKind::kCopy, shape.tokens(), 2, info.tokens * 2})};
    case OpCode::kSendActivation:
    case OpCode::kSendGradient:
      return {
          outside(StepOp::kSend, CollectiveWork{CollectiveKind::kSend, Axis::kPp, info.message})};
    case OpCode::kReceiveActivation:
    case OpCode::kReceiveGradient:
      return {outside(StepOp::kReceive,
                      CollectiveWork{CollectiveKind::kReceive, Axis::kPp, info.message})};
    case OpCode::kGatherParameters:
      return states().gather();
    case OpCode::kScatterGradients:
      return states().scatter();
    case OpCode::kReduceGradients:
      return states().reduce();
    case OpCode::kReduceTied:
      return {tied_step(model_, program_, info, instruction.group < 0)};
    case OpCode::kClip: {
      const Step squares =
          outside(StepOp::kSquareSum, square_sum_work(states().closing(optimizer_)));
      return instruction.group < 0 ? std::vector<Step>{squares} : std::vector<Step>{squares, norm};
    }
    case OpCode::kOptimizerStep: {
      const ClosingShape closing = states().closing(optimizer_);
      ClosingShape on_device = closing;
      on_device.updated =
          static_cast<int64_t>(static_cast<double>(closing.updated) * (1 - program_.state.offload));
      return {outside(StepOp::kUpdate, update_work(on_device)),
              outside(StepOp::kZeroGradients, zero_work(closing))};
    }
    case OpCode::kCount:
      break;
  }
  SW_CHECK(false, "opcode " << static_cast<int>(instruction.op));
}

}  // namespace shardwright
