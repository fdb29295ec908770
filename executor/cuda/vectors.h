// How kernels touch memory: W neighbouring elements at a time as floats in registers, in accesses
// of up to 16 bytes. W is 16 bytes of elements where rows and pointers allow it, else 1.
#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "costmodel/check.h"
#include "costmodel/units.h"
#include "executor/cuda/bf16.h"
#include "executor/cuda/device.h"
#include "executor/cuda/kernel.h"

namespace shardwright {

template <typename E>
inline constexpr int kWide = 16 / static_cast<int>(sizeof(E));

// W neighbouring elements that move as one access.
template <typename E, int W>
struct alignas(W * sizeof(E)) Elements {
  E e[W];
};

// On a GPU an access that is not aligned to its size is a fault; the emulation says so too.
template <int W, typename E>
__device__ inline void check_aligned([[maybe_unused]] const E* at) {
#ifndef __CUDACC__
  emulation::check(reinterpret_cast<uintptr_t>(at) % alignof(Elements<E, W>) == 0, {},
                   "access that is not aligned to its size");
#endif
}

template <int W, typename E>
__device__ inline Elements<E, W> load_elements(const E* from) {
  check_aligned<W>(from);
  return *reinterpret_cast<const Elements<E, W>*>(from);
}

template <int W, typename E>
__device__ inline void store_elements(const Elements<E, W>& from, E* to) {
  check_aligned<W>(to);
  *reinterpret_cast<Elements<E, W>*>(to) = from;
}

template <int W, typename E>
__device__ inline void load_floats(const E* from, float (&to)[W]) {
  constexpr int kStep = W < kWide<E> ? W : kWide<E>;
#pragma unroll
  for (int at = 0; at < W; at += kStep) {
    const Elements<E, kStep> part = load_elements<kStep>(from + at);
#pragma unroll
    for (int w = 0; w < kStep; ++w) to[at + w] = to_float(part.e[w]);
  }
}

template <int W, typename E>
__device__ inline void store_floats(const float (&from)[W], E* to) {
  constexpr int kStep = W < kWide<E> ? W : kWide<E>;
#pragma unroll
  for (int at = 0; at < W; at += kStep) {
    Elements<E, kStep> part;
#pragma unroll
    for (int w = 0; w < kStep; ++w) part.e[w] = from_float<E>(from[at + w]);
    store_elements(part, to + at);
  }
}

// The whole grid walks over the packs (W columns each) of a matrix [rows, packs]; a thread divides
// once, not once per pack. Blocks and grids are one-dimensional.
class PackWalk {
 public:
  __device__ explicit PackWalk(int64_t packs) : packs_(packs) {
    // In 32 bits, where a division costs a fifth: grids are small (elementwise_grid).
    const auto divisor = static_cast<uint32_t>(packs);
    const uint32_t start = blockIdx.x * blockDim.x + threadIdx.x, stride = gridDim.x * blockDim.x;
    row_ = start / divisor;
    pack_ = start % divisor;
    row_step_ = stride / divisor;
    pack_step_ = stride % divisor;
  }
  __device__ int64_t row() const { return row_; }
  __device__ int64_t pack() const { return pack_; }
  __device__ void next() {
    row_ += row_step_;
    pack_ += pack_step_;
    if (pack_ >= packs_) {
      pack_ -= packs_;
      ++row_;
    }
  }

 private:
  int64_t packs_, row_, pack_, row_step_, pack_step_;
};

// --- on the host ---

// Null counts as aligned: it is an operand that is not there.
template <typename... P>
bool aligned_16(const P*... pointers) {
  return ((reinterpret_cast<uintptr_t>(pointers) % 16 == 0) && ...);
}

// Calls body(W) with the columns per access, a std::integral_constant.
template <typename E, typename Body>
void with_width(int64_t cols, bool aligned, Body&& body) {
  if (aligned && cols % kWide<E> == 0) return body(std::integral_constant<int, kWide<E>>{});
  body(std::integral_constant<int, 1>{});
}

inline int64_t multiprocessors(const Device& device) { return device.properties().sm_count; }

// Blocks for elementwise work that `wanted` blocks would do in one go. 64 blocks for each
// multiprocessor are at least eight times what runs at once, so that the last ones to finish leave
// it idle for little of the time.
inline dim3 elementwise_grid(const Device& device, int64_t wanted) {
  return dim3(static_cast<unsigned>(std::clamp<int64_t>(wanted, 1, 64 * multiprocessors(device))));
}

constexpr int kElementwiseThreads = 256;

inline dim3 pack_grid(const Device& device, int64_t rows, int64_t packs) {
  return elementwise_grid(device, ceil_div(rows * packs, kElementwiseThreads));
}

}  // namespace shardwright
