#include "planner/program/step_table.h"

#include "costmodel/check.h"
#include "costmodel/parameters.h"
#include "planner/program/closing_work.h"

namespace shardwright {
namespace {

constexpr Bytes kFp32 = 4;

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

std::vector<Step> StepTable::make(const Instruction& instruction) const {
  if (instruction.chunk < 0) {
    SW_CHECK(instruction.op == OpCode::kClip, label_of(instruction) << " without a chunk");
    // Two fp64 figures: the sum of squares and the loss.
    return {
        outside(StepOp::kNormReduce, CollectiveWork{CollectiveKind::kAllReduce, Axis::kWorld, 16})};
  }
  const ChunkInfo& info = program_.chunks.at(instruction.chunk);
  const ChunkShape shape = info.shape();
  const int64_t count = local_parameters(model_, shape);
  const ClosingShape closing{.gradients = count,
                             .updated = count,
                             .optimizer = optimizer_,
                             .weight_type = DataType::kFp32};
  switch (instruction.op) {
    case OpCode::kForward:
      return forward_steps(model_, shape);
    case OpCode::kBackward:
      return backward_steps(model_, shape);
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
    case OpCode::kReduceGradients:
      return {outside(StepOp::kGradientReduce,
                      CollectiveWork{CollectiveKind::kAllReduce, Axis::kDp, count * kFp32})};
    case OpCode::kReduceTied: {
      const Bytes table = padded_vocab_share(model_, info.tp) * model_.hidden * kFp32;
      return {outside(StepOp::kTiedReduce,
                      CollectiveWork{CollectiveKind::kAllReduce, Axis::kTied, table})};
    }
    case OpCode::kClip:
      return {outside(StepOp::kSquareSum, square_sum_work(closing)),
              outside(StepOp::kNormReduce,
                      CollectiveWork{CollectiveKind::kAllReduce, Axis::kWorld, 16})};
    case OpCode::kOptimizerStep:
      return {outside(StepOp::kUpdate, update_work(closing)),
              outside(StepOp::kZeroGradients, zero_work(closing))};
    default:
      break;
  }
  SW_CHECK(false, "opcode " << static_cast<int>(instruction.op));
}

}  // namespace shardwright
