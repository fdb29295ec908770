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
    default:
      return chunk.message;
  }
}

Effects effects_of(const Program& program, const Instruction& instruction) {
  Effects effects;
  if (instruction.chunk < 0) return effects;
  const ChunkInfo& chunk = program.chunks.at(instruction.chunk);
  const auto buffer = [&](BufferKind kind) {
    return Buffer{kind, instruction.chunk, instruction.microbatch};
  };
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
      effects.allocates.push_back(buffer(BufferKind::kSaved));
      if (!chunk.head) effects.allocates.push_back(buffer(BufferKind::kOutput));
      if (chunk.embedding || chunk.head) effects.needs.push_back(buffer(BufferKind::kTokens));
      if (!chunk.embedding) effects.needs.push_back(buffer(BufferKind::kInput));
      break;
    case OpCode::kBackward:
      if (!chunk.embedding) effects.allocates.push_back(buffer(BufferKind::kInputGrad));
      effects.frees.push_back(buffer(BufferKind::kSaved));
      if (!chunk.embedding) effects.frees.push_back(buffer(BufferKind::kInput));
      if (!chunk.head) effects.frees.push_back(buffer(BufferKind::kOutputGrad));
      if (chunk.embedding || chunk.head) effects.frees.push_back(buffer(BufferKind::kTokens));
      break;
    default:
      break;
  }
  for (const Buffer& freed : effects.frees) effects.needs.push_back(freed);
  return effects;
}

std::vector<int> chunks_of(const RankProgram& rank) {
  std::set<int> chunks;
  for (const Instruction& instruction : rank.instructions) {
    if (instruction.chunk >= 0) chunks.insert(instruction.chunk);
  }
  return {chunks.begin(), chunks.end()};
}

Bytes resident_bytes(const Program& program, const RankProgram& rank) {
  Bytes persistent = 0, scratch = 0;
  for (int chunk : chunks_of(rank)) {
    if (chunk >= static_cast<int>(program.chunks.size())) continue;
    persistent += program.chunks[chunk].persistent;
    scratch = std::max(scratch, program.chunks[chunk].scratch);
  }
  return persistent + scratch + kStepStateBytes;
}

}  // namespace shardwright
