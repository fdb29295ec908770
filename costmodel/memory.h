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
  kInput,           // [T, h] residual stream into the layer
  kNorm1,           // [T, h]
  kStats1,          // [T, 2] fp32
  kQkv,             // [T, q + 2 kv]
  kContext,         // [T, q] attention output
  kLse,             // [T, heads] fp32
  kMiddle,          // [T, h] residual stream after attention
  kNorm2,           // [T, h]
  kStats2,          // [T, 2] fp32
  kUp,              // [T, f or 2f]
  kActivated,       // [T, f]
  kLatent,          // [T, ranks] queries, keys and values at their low rank
  kExperts,         // routed experts: outputs and up of all copies of tokens
  kExpertOperands,  // and their inputs and activated
  kHeadInput,       // [T, h]
  kFinalNorm,       // [T, h]
  kFinalStats,      // [T, 2] fp32
  kLogits,          // [T, vocabulary share]
  kLossLse,         // [T] fp32
  // Of a backward in two parts: gradients of products' outputs, which the second part multiplies.
  kGradInput,    // [T, h] of the residual stream into the first layer, for the embedding
  kGradOutput,   // [T, h] of the layer's output
  kGradMiddle,   // [T, h]
  kGradUp,       // [T, f or 2f]
  kGradQkv,      // [T, q + 2 kv]
  kGradExperts,  // outputs and up
};

struct SavedTensor {
  Saved name = Saved::kInput;
  int64_t layer = -1;
  int64_t elements = 0;
  Bytes bytes = 0;
};

// Which tensors of one microbatch, by the time for which they live. A product's weight gradient
// needs the product's input and the gradient of its output: when it is put off, these stay.
enum class Kept : uint8_t {
  kAll,       // backward in one part: from the forward to it
  kForInput,  // backward in two parts: from the forward to the first
  kOperands,  // from the forward to the second
  kDeferred,  // from the first to the second: gradients of outputs, and inputs computed again
};
// What stays alive between forward and backward of one microbatch. With recomputation only the
// inputs of the layers stay. The first layer's input is listed only when the chunk starts with the
// embedding: otherwise it is the received message. So is the gradient of the last layer's output
// only when the chunk ends with the head.
std::vector<SavedTensor> saved_tensors(const ModelSpec& model, const ChunkShape& chunk,
                                       Kept kept = Kept::kAll);
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
// The same, large enough for each of a rank's chunks, which use it in turn.
std::vector<ScratchTensor> scratch_tensors(const ModelSpec& model,
                                           const std::vector<ChunkShape>& chunks);
// Room for one layer's tensors while its backward computes them again: of a rank's chunks the
// largest. Empty without full recomputation.
std::vector<SavedTensor> rebuilt_tensors(const ModelSpec& model,
                                         const std::vector<ChunkShape>& chunks);
Bytes scratch_bytes(const ModelSpec& model, const std::vector<ChunkShape>& chunks);

// Of one microbatch, by the time for which they live.
struct ActivationBytes {
  Bytes saved = 0;  // Kept::kAll, or kForInput when the backward is in two parts
  Bytes operands = 0, deferred = 0;
  Bytes message = 0;  // [T, h] activation or gradient at a chunk boundary, of one of tp ranks where
                      // the sequence is split over them
  Bytes tokens = 0;   // tokens and targets, int32
};
ActivationBytes activation_bytes(const ModelSpec& model, const ChunkShape& chunk,
                                 bool split_backward);

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
