// Small kernels, right and wrong, for the tests of the emulation.
#pragma once

#include <cstdint>

#include "executor/cuda/bf16.h"
#include "executor/cuda/device.h"

namespace shardwright::testing {

// sums[b] = sum of x[b, threads]: warp shuffles, then static shared memory.
void launch_block_sum(Device& device, Stream stream, const float* x, float* sums, int blocks,
                      int threads);
// The same in double, so that a template has two instances.
void launch_block_sum(Device& device, Stream stream, const double* x, double* sums, int blocks,
                      int threads);

enum class Mistake {
  kNone,
  kMissingBarrier,    // reads a neighbour's shared value before the barrier
  kEarlyExit,         // one thread leaves before a barrier
  kDivergentBarrier,  // two branches with a barrier each
  kMissingLane,       // half of a warp shuffles with the full mask
  kLaneOutsideMask,   // reads a lane that is not in the mask
  kMissingWait,       // uses an asynchronous copy without waiting for it
  kMisaligned,        // a vector load from an odd address
  kSharedOverrun,     // writes behind the dynamic shared memory
};
// y[i] = x[(i + 1) % threads] within each block, by way of dynamic shared memory.
void launch_rotate(Device& device, Stream stream, Mistake mistake, const float* x, float* y,
                   int blocks, int threads);

// d[16,8] = a[16,16] b[8,16]^T through cp.async, ldmatrix and mma; b is stored by columns, or with
// `transposed` by rows as [16,8]. One warp.
void launch_mma(Device& device, Stream stream, bool transposed, const bf16* a, const bf16* b,
                float* d);

}  // namespace shardwright::testing
