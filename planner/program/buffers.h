// Which buffers an instruction brings to life and which it ends. Memory is the running sum of these
// on the walk: simulate and verify count them, the executor allocates and frees them.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "planner/program/instruction.h"

namespace shardwright {

enum class BufferKind : uint8_t {
  kTokens,      // tokens and targets
  kInput,       // received activation: the first layer's input, kept for the backward
  kSaved,       // what the chunk's forward keeps
  kOperands,    // what it keeps for the second part of a backward in two
  kDeferred,    // what the first part makes for the second
  kOutput,      // the chunk's output until it is sent
  kOutputGrad,  // received gradient of the chunk's output
  kInputGrad,   // gradient of the chunk's input until it is sent
};
const char* name_of(BufferKind kind);  // "tokens", "input", ...

struct Buffer {
  BufferKind kind = BufferKind::kSaved;
  int chunk = -1, microbatch = -1;
  friend auto operator<=>(const Buffer&, const Buffer&) = default;
};
std::string label_of(const Buffer& buffer);  // "saved c0 m3"
Bytes bytes_of(const Program& program, const Buffer& buffer);

// The few buffers of one instruction, without a heap allocation: search asks for millions of them.
class BufferList {
 public:
  void push_back(const Buffer& buffer) { items_.at(size_++) = buffer; }
  const Buffer* begin() const { return items_.data(); }
  const Buffer* end() const { return items_.data() + size_; }
  bool empty() const { return size_ == 0; }
  size_t size() const { return size_; }

 private:
  std::array<Buffer, 6> items_;
  size_t size_ = 0;
};

// Allocated before the instruction runs, needed while it runs, freed when it has run. A buffer that
// is freed is also needed.
struct Effects {
  BufferList allocates, needs, frees;
};
// REQUIRES: instruction.chunk is a chunk of the program, or -1.
Effects effects_of(const Program& program, const Instruction& instruction);

// Weights, gradients, optimizer state and scratch of a rank, and the step's own state: alive for
// the whole step.
Bytes resident_bytes(const Program& program, const RankProgram& rank);
Bytes resident_bytes(const Program& program, const std::vector<int>& chunks);  // of these chunks
// Chunks that the rank's instructions work for, ascending.
std::vector<int> chunks_of(const RankProgram& rank);

}  // namespace shardwright
