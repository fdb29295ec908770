// The tensors that a chunk keeps between forward and backward, and the scratch it works in:
// allocated exactly as costmodel/memory.h lists them, found by name.
#pragma once

#include <array>
#include <vector>

#include "costmodel/memory.h"
#include "executor/ops.h"

namespace shardwright {

// One microbatch's saved tensors. Allocates on construction, frees on destruction.
class SavedSet {
 public:
  SavedSet(Ops& ops, const std::vector<SavedTensor>& tensors);
  ~SavedSet();
  SavedSet(const SavedSet&) = delete;
  SavedSet& operator=(const SavedSet&) = delete;
  // Null when the set has no such tensor. `layer` is -1 for the head's.
  void* find(Saved name, int64_t layer) const;

 private:
  struct Entry {
    Saved name;
    int64_t layer;
    void* data;
  };
  Ops& ops_;
  std::vector<Entry> entries_;
};

// For all chunks of a rank, which work one after another.
class ScratchSet {
 public:
  // With recomputation also one layer's tensors, rebuilt layer after layer.
  ScratchSet(Ops& ops, const ModelSpec& model, const std::vector<ChunkShape>& chunks);
  ~ScratchSet();
  ScratchSet(const ScratchSet&) = delete;
  ScratchSet& operator=(const ScratchSet&) = delete;
  void* at(Scratch name) const { return blocks_[static_cast<size_t>(name)]; }
  // Rebuilt tensor of the layer being recomputed; null without recomputation.
  void* rebuilt(Saved name) const;

 private:
  Ops& ops_;
  std::array<void*, static_cast<size_t>(Scratch::kCount)> blocks_{};
  std::vector<std::pair<Saved, void*>> rebuilt_;
};

}  // namespace shardwright
