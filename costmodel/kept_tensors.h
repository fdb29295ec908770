// The tensors that one rank keeps from a layer's forward to its backward under a given framework,
// and the weights of the layer that it holds. All memory of published runs follows from these two
// lists; nothing else knows what a layer consists of.
#pragma once

#include <vector>

#include "costmodel/memory_stack.h"
#include "costmodel/steps.h"

namespace shardwright {

// Kernels that a run chose, where they change what is kept.
struct KernelChoice {
  bool flash = true;         // attention without a matrix of scores
  bool norm_kernel = false;  // a fused norm where the framework's own is made of many passes
  bool fused_loss = false;   // cross-entropy in one kernel
};

struct KeptTensor {
  const char* name;
  double bytes;
};
double total_bytes(const std::vector<KeptTensor>& tensors);

struct MemoryContext {
  const ModelSpec& model;
  const MemoryStack& stack;
  KernelChoice kernels;
};

// One microbatch. The layer's input is the first entry. `everything`: as if nothing is recomputed,
// which is what a recomputation rebuilds.
std::vector<KeptTensor> kept_of_layer(const MemoryContext& context, const ChunkShape& chunk,
                                      int64_t layer, bool everything);
// Beyond the kept tensors, at the fullest moment of the layer's backward.
double backward_bytes(const MemoryContext& context, const ChunkShape& chunk, int64_t layer);
// Final norm, logits and loss, while the head's backward runs.
std::vector<KeptTensor> head_tensors(const MemoryContext& context, const ChunkShape& chunk);

// One weight of a layer as this rank holds it.
struct HeldWeight {
  int64_t rows = 0, cols = 0;
  int64_t copies = 1;   // local experts
  bool expert = false;  // replicated over expert data parallel ranks only
  int64_t elements() const { return rows * cols * copies; }
};
std::vector<HeldWeight> held_weights(const ModelSpec& model, const ChunkShape& chunk,
                                     int64_t layer);

}  // namespace shardwright
