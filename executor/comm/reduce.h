// The arithmetic of reductions, the same in every backend: members are combined in member order,
// element by element, so that the result does not depend on the backend or on who computes it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "executor/comm/communicator.h"

namespace shardwright {

// Part `part` of `elements` cut into `parts`. Cuts are at multiples of 16 elements, a cache line
// of floats, so that two members never write to one line; later parts may be shorter or empty.
struct Slice {
  int64_t begin = 0;
  int64_t end = 0;
  int64_t size() const { return end - begin; }
};

inline Slice slice_of(int64_t elements, int parts, int part) {
  constexpr int64_t kLine = 16;
  const int64_t each = ((elements + parts - 1) / parts + kLine - 1) / kLine * kLine;
  return {std::min(elements, part * each), std::min(elements, (part + 1) * each)};
}

template <typename T>
void combine(ReduceOp op, T* __restrict into, const T* __restrict from, int64_t elements) {
  if (op == ReduceOp::kSum) {
    for (int64_t i = 0; i < elements; ++i) into[i] += from[i];
  } else {
    // A NaN of any member stays: a maximum that hides it would hide a diverged run.
    for (int64_t i = 0; i < elements; ++i) {
      into[i] = (from[i] > into[i] || from[i] != from[i]) ? from[i] : into[i];
    }
  }
}

struct Reduction {
  ReduceOp op = ReduceOp::kSum;
  int64_t elements = 0;
  int sources = 1;
  int sinks = 1;
};

// Combines from(0), from(1), ... in this order and writes the result to every to(k); `from` and
// `to` return the first of `elements` elements. A sink may be one of the sources.
template <typename T, typename From, typename To>
void reduce_in_order(const Reduction& r, From from, To to) {
  constexpr int64_t kBlock = 16384 / sizeof(T);  // half of a first-level cache
  alignas(64) T block[kBlock];
  for (int64_t at = 0; at < r.elements; at += kBlock) {
    const int64_t count = std::min(kBlock, r.elements - at);
    const size_t bytes = static_cast<size_t>(count) * sizeof(T);
    std::memcpy(block, from(0) + at, bytes);
    for (int s = 1; s < r.sources; ++s) combine(r.op, block, from(s) + at, count);
    for (int k = 0; k < r.sinks; ++k) std::memcpy(to(k) + at, block, bytes);
  }
}

}  // namespace shardwright
