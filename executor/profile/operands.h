// Operands: memory for measured calls in the states that training finds it in. What the step before
// has just written is still in a cache (hot); weights and what the forward pass has kept were
// touched long ago (cold). Measuring on the same few buffers would find everything hot.
#pragma once

#include <cstddef>
#include <vector>

#include "executor/ops.h"

namespace shardwright {

// Elements are of the Ops' compute type, or fp32 where the name says so. Contents: small positive
// numbers until overwritten.
class Operands {
 public:
  // cold_bytes: of each of the two cold pools, to exceed a rank's share of the last cache.
  Operands(Ops& ops, Bytes cold_bytes);
  ~Operands();
  Operands(const Operands&) = delete;
  Operands& operator=(const Operands&) = delete;

  // The same block at every call, by slot.
  void* hot(size_t slot, int64_t elements);
  float* hot_floats(size_t slot, int64_t elements);

  // A stretch that was last touched a whole round of its pool ago, 64-byte aligned. The read pool
  // is never written, so that values stay as they are: small, positive, never denormal. Stretches
  // of one call do not overlap as long as they fit into the pool together.
  // REQUIRES: the stretch is not larger than the pool.
  const void* cold_read(int64_t elements);
  void* cold_write(int64_t elements);
  const float* cold_read_floats(int64_t elements);
  float* cold_write_floats(int64_t elements);

  Bytes cold_bytes() const { return cold_bytes_; }
  Bytes bytes_of(int64_t elements) const { return elements * size_of(ops_.type()); }

 private:
  struct Block {
    std::byte* data = nullptr;
    Bytes bytes = 0;
    Bytes next = 0;  // where the next stretch begins
  };
  void grow(Block* block, Bytes bytes);
  void* hot_bytes(size_t slot, Bytes bytes);
  void* stretch(Block* pool, Bytes bytes);

  Ops& ops_;
  Bytes cold_bytes_;
  Block read_, write_;
  std::vector<Block> hot_;
};

}  // namespace shardwright
