// Operands: memory for measured calls in the states that training finds it in. What the step before
// has just written is still in a cache (hot); weights and what the forward pass has kept were
// touched long ago (cold). Measuring on the same few buffers would find everything hot.
#pragma once

#include <vector>

#include "executor/ops.h"

namespace shardwright {

class Operands {
 public:
  // cold_elements: of each of the two cold pools, to exceed a rank's share of the last cache.
  Operands(Ops& ops, int64_t cold_elements);
  ~Operands();
  Operands(const Operands&) = delete;
  Operands& operator=(const Operands&) = delete;

  // The same block at every call, by slot. Contents: small positive numbers until overwritten.
  float* hot(size_t slot, int64_t elements);

  // A stretch that was last touched a whole round of its pool ago, 64-byte aligned. The read pool
  // is never written, so that values stay as they are: small, positive, never denormal. Stretches
  // of one call do not overlap as long as they fit into the pool together.
  // REQUIRES: elements <= cold_elements().
  const float* cold_read(int64_t elements);
  float* cold_write(int64_t elements);
  int64_t cold_elements() const { return cold_elements_; }

 private:
  struct Block {
    float* data = nullptr;
    int64_t elements = 0;
    int64_t next = 0;  // where the next stretch begins
  };
  void grow(Block* block, int64_t elements);
  float* stretch(Block* pool, int64_t elements);

  Ops& ops_;
  int64_t cold_elements_;
  Block read_, write_;
  std::vector<Block> hot_;
};

}  // namespace shardwright
