// Memory of one rank: the tensors that a chunk keeps from its forward to its backward, the scratch
// it works in, and its parameters with their gradients and optimizer state.
//
// The executor allocates exactly the tensors listed here, by these names, and the Program's walk
// adds the same sizes up; so predicted and measured peaks differ only when one of them is wrong.
#pragma once

#include <vector>

#include "costmodel/steps.h"

namespace shardwright {

// T = tokens of a microbatch, h = hidden; widths are local to the rank.
enum class Saved : uint8_t {
  kInput,       // [T, h] residual stream into the layer
  kNorm1,       // [T, h]
  kStats1,      // [T, 2] fp32
  kQkv,         // [T, q + 2 kv]
  kContext,     // [T, q] attention output
  kLse,         // [T, heads] fp32
  kMiddle,      // [T, h] residual stream after attention
  kNorm2,       // [T, h]
  kStats2,      // [T, 2] fp32
  kUp,          // [T, f or 2f]
  kActivated,   // [T, f]
  kExperts,     // routed experts: inputs, up and activated of all copies of tokens
  kHeadInput,   // [T, h]
  kFinalNorm,   // [T, h]
  kFinalStats,  // [T, 2] fp32
  kLogits,      // [T, vocabulary share]
  kLossLse,     // [T] fp32
};

struct SavedTensor {
  Saved name = Saved::kInput;
  int64_t layer = -1;
  int64_t elements = 0;
  Bytes bytes = 0;
};

// What stays alive between forward and backward of one microbatch. With recomputation only the
// inputs of the layers stay. The first layer's input is listed only when the chunk starts with the
// embedding: otherwise it is the received message (BoundaryBytes::in).
std::vector<SavedTensor> saved_tensors(const ModelSpec& model, const ChunkShape& chunk);
// One layer in full, as recomputation rebuilds it (its input excluded).
std::vector<SavedTensor> layer_tensors(const ModelSpec& model, const ChunkShape& chunk,
                                       int64_t layer);

// Scratch that lives as long as the rank, shared by all its instructions.
enum class Scratch : uint8_t {
  kPartial,        // [T, h] a branch's output before it joins the residual
  kGradStream,     // [T, h] gradient of the residual stream
  kGradMiddle,     // [T, h]
  kGradNorm,       // [T, h]
  kGradUp,         // [T, up]
  kGradActivated,  // [T, f]
  kGradQkv,        // [T, q + 2 kv]
  kGradContext,    // [T, q]
  kLossParts,      // [T, 3] of this rank, fp32
  kLossPartsAll,   // [tp, T, 3], fp32; tp > 1 only
  kCount
};
struct ScratchTensor {
  Scratch name = Scratch::kPartial;
  int64_t elements = 0;
  Bytes bytes = 0;
};
// Enough for the largest layer. REQUIRES: all chunks of a rank share tp, micro_batch, seq and type.
std::vector<ScratchTensor> scratch_tensors(const ModelSpec& model, const ChunkShape& chunk);

// Bytes per parameter of what an optimizer keeps beside the weight itself.
enum class OptimizerKind { kSgd, kAdamW };
const char* name_of(OptimizerKind kind);

// Sums and scalars of a training step on a rank, in device memory: gradient norm, loss, learning
// rate (executor/run/interpreter.h).
constexpr Bytes kStepStateBytes = 64;

struct ChunkMemory {
  Bytes parameters = 0;  // weights in the compute type
  Bytes gradients = 0;   // fp32: they accumulate over microbatches
  Bytes optimizer =
      0;  // AdamW: two fp32 moments, and an fp32 master copy when the weights are not fp32
  Bytes scratch = 0;
  // Per microbatch:
  Bytes saved = 0;    // saved_tensors
  Bytes message = 0;  // [T, h] activation or gradient at a chunk boundary
  Bytes tokens = 0;   // tokens and targets, int32
  Bytes persistent() const { return parameters + gradients + optimizer; }
};
ChunkMemory chunk_memory(const ModelSpec& model, const ChunkShape& chunk, OptimizerKind optimizer);

}  // namespace shardwright
