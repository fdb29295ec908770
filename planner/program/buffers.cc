#include "planner/program/buffers.h"

#include <algorithm>
#include <set>

#include "costmodel/check.h"
#include "costmodel/memory.h"

namespace shardwright {

const char* name_of(BufferKind kind) {
  switch (kind) {
    case BufferKind::kTokens:
      return "tokens";
    case BufferKind::kInput:
      return "input";
    case BufferKind::kSaved:
      return "saved";
    case BufferKind::kOperands:
      return "operands";
    case BufferKind::kDeferred:
      return "deferred";
    case BufferKind::kOutput:
      return "output";
    case BufferKind::kOutputGrad:
      return "output_grad";
    case BufferKind::kInputGrad:
      return "input_grad";
  }
  SW_CHECK(false, "buffer kind " << static_cast<int>(kind));
}

std::string label_of(const Buffer& buffer) {
  return std::string(name_of(buffer.kind)) + " c" + std::to_string(buffer.chunk) + " m" +
         std::to_string(buffer.microbatch);
}

Bytes bytes_of(const Program& program, const Buffer& buffer) {
  const ChunkInfo& chunk = program.chunks.at(buffer.chunk);
  switch (buffer.kind) {
    case BufferKind::kTokens:
      return chunk.tokens;
    case BufferKind::kSaved:
      return chunk.saved;
    case BufferKind::kOperands:
      return chunk.operands;
    case BufferKind::kDeferred:
      return chunk.deferred;
    default:
      return chunk.message;
  }
}

namespace {

// What a chunk's passes have in their hands. A neighbouring chunk on the same rank takes over what
// would else be sent: the output is made as its input, the gradient as that of its output.
class PassBuffers {
 public:
  PassBuffers(const Program& program, const Instruction& instruction)
      : program_(program),
        chunk_(program.chunks[instruction.chunk]),
        index_(instruction.chunk),
        microbatch_(instruction.microbatch) {}

  void forward(Effects* effects) const {
    effects->allocates.push_back(own(BufferKind::kSaved));
    if (chunk_.split_backward) effects->allocates.push_back(own(BufferKind::kOperands));
    if (!chunk_.head) {
      effects->allocates.push_back(program_.hands_over(index_)
                                       ? Buffer{BufferKind::kInput, index_ + 1, microbatch_}
                                       : own(BufferKind::kOutput));
    }
    if (chunk_.embedding || chunk_.head) effects->needs.push_back(own(BufferKind::kTokens));
    if (!chunk_.embedding) effects->needs.push_back(own(BufferKind::kInput));
  }

  void backward(Effects* effects) const {
    make_input_grad(effects);
    effects->frees.push_back(own(BufferKind::kSaved));
    if (chunk_.split_backward) effects->frees.push_back(own(BufferKind::kOperands));
    if (!chunk_.embedding) effects->frees.push_back(own(BufferKind::kInput));
    if (!chunk_.head) effects->frees.push_back(own(BufferKind::kOutputGrad));
    if (chunk_.embedding || chunk_.head) effects->frees.push_back(own(BufferKind::kTokens));
  }

  void backward_input(Effects* effects) const {
    make_input_grad(effects);
    effects->allocates.push_back(own(BufferKind::kDeferred));
    effects->frees.push_back(own(BufferKind::kSaved));
    if (!chunk_.embedding) effects->frees.push_back(own(BufferKind::kInput));
    effects->needs.push_back(own(BufferKind::kOperands));
    if (!chunk_.head) effects->needs.push_back(own(BufferKind::kOutputGrad));
    // Targets are needed here, tokens by the gradient of the embedding.
    if (!chunk_.head && !chunk_.embedding) return;
    (chunk_.embedding ? effects->needs : effects->frees).push_back(own(BufferKind::kTokens));
  }

  // The gradient of the output is an operand of the last product.
  void backward_weight(Effects* effects) const {
    effects->frees.push_back(own(BufferKind::kOperands));
    effects->frees.push_back(own(BufferKind::kDeferred));
    if (!chunk_.head) effects->frees.push_back(own(BufferKind::kOutputGrad));
    if (chunk_.embedding) effects->frees.push_back(own(BufferKind::kTokens));
  }

 private:
  Buffer own(BufferKind kind) const { return {kind, index_, microbatch_}; }
  void make_input_grad(Effects* effects) const {
    if (chunk_.embedding) return;
    effects->allocates.push_back(program_.hands_over(index_ - 1)
                                     ? Buffer{BufferKind::kOutputGrad, index_ - 1, microbatch_}
                                     : own(BufferKind::kInputGrad));
  }

  const Program& program_;
  const ChunkInfo& chunk_;
  const int index_, microbatch_;
};

}  // namespace

Effects effects_of(const Program& program, const Instruction& instruction) {
  Effects effects;
  if (instruction.chunk < 0) return effects;
  const auto buffer = [&](BufferKind kind) {
    return Buffer{kind, instruction.chunk, instruction.microbatch};
  };
  const PassBuffers pass(program, instruction);
  switch (instruction.op) {
    case OpCode::kLoad:
      effects.allocates.push_back(buffer(BufferKind::kTokens));
      break;
    case OpCode::kReceiveActivation:
      effects.allocates.push_back(buffer(BufferKind::kInput));
      break;
    case OpCode::kReceiveGradient:
      effects.allocates.push_back(buffer(BufferKind::kOutputGrad));
      break;
    case OpCode::kSendActivation:
      effects.frees.push_back(buffer(BufferKind::kOutput));
      break;
    case OpCode::kSendGradient:
      effects.frees.push_back(buffer(BufferKind::kInputGrad));
      break;
    case OpCode::kForward:
      pass.forward(&effects);
      break;
    case OpCode::kBackward:
      pass.backward(&effects);
      break;
    case OpCode::kBackwardInput:
      pass.backward_input(&effects);
      break;
    case OpCode::kBackwardWeight:
      pass.backward_weight(&effects);
      break;
    default:
      break;
  }
  for (const Buffer& freed : effects.frees) effects.needs.push_back(freed);
  return effects;
}

std::vector<int> chunks_of(const RankProgram& rank) {
  std::set<int> chunks;
  int last = -1;
  for (const Instruction& instruction : rank.instructions) {
    if (instruction.chunk >= 0 && instruction.chunk != last)
      chunks.insert(last = instruction.chunk);
  }
  return {chunks.begin(), chunks.end()};
}

Bytes resident_bytes(const Program& program, const RankProgram& rank) {
  return resident_bytes(program, chunks_of(rank));
}

Bytes resident_bytes(const Program& program, const std::vector<int>& chunks) {
  Bytes persistent = 0, scratch = 0;
  for (int chunk : chunks) {
    if (chunk >= static_cast<int>(program.chunks.size())) continue;
    persistent += program.chunks[chunk].persistent;
    scratch = std::max(scratch, program.chunks[chunk].scratch);
  }
  return persistent + scratch + kStepStateBytes;
}

}  // namespace shardwright
