// Kernels over flat arrays side by side: 4 elements in a thread's turn, 16 bytes of fp32.
#pragma once

#include "executor/cuda/vectors.h"

namespace shardwright {

constexpr int kFlatGroup = 4;

// Elements [0, n) of all arrays: `head` ones one by one, then groups of 4 that lie on 16 bytes (8
// for bf16) in every array, then the rest one by one.
struct FlatShape {
  int64_t n, head;
};

// Calls body(first element, width) over all, width a std::integral_constant. kUnroll groups of a
// thread are under way at once where the body only reads.
template <int kUnroll = 1, typename Body>
__device__ inline void for_flat(const FlatShape& shape, Body body) {
  const int64_t first = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  const int64_t stride = static_cast<int64_t>(gridDim.x) * blockDim.x;
  const int64_t groups = (shape.n - shape.head) / kFlatGroup;
#pragma unroll kUnroll
  for (int64_t group = first; group < groups; group += stride) {
    body(shape.head + group * kFlatGroup, std::integral_constant<int, kFlatGroup>{});
  }
  const int64_t single = shape.n - groups * kFlatGroup;
#pragma unroll 1
  for (int64_t i = first; i < single; i += stride) {
    body(i < shape.head ? i : i + groups * kFlatGroup, std::integral_constant<int, 1>{});
  }
}

// --- on the host ---

// Elements before the first boundary of a group.
template <typename E>
int64_t flat_head(const E* pointer) {
  const auto element = static_cast<int64_t>(reinterpret_cast<uintptr_t>(pointer) / sizeof(E));
  return (kFlatGroup - element % kFlatGroup) % kFlatGroup;
}

// Arrays (null: not there) whose groups do not lie on boundaries together are taken one by one.
template <typename First, typename... Rest>
FlatShape flat_shape(int64_t n, const First* first, const Rest*... rest) {
  const int64_t head = flat_head(first);
  const bool together = ((rest == nullptr || flat_head(rest) == head) && ...);
  return {n, together ? std::min(head, n) : n};
}

inline dim3 flat_grid(const Device& device, int64_t n) {
  return elementwise_grid(device, ceil_div(n, int64_t{kElementwiseThreads} * kFlatGroup));
}

}  // namespace shardwright
