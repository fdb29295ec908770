// Small matrix products for attention: operands are packed and padded to whole tiles, so there are
// no remainders. A matrix library's call costs more than many of these products.
#pragma once

#include <cstdint>

#include "executor/cpu/simd.h"

namespace shardwright::simd {

// A tile's sums fill half of the registers or more: enough to hide the latency of multiply-add.
constexpr int64_t kTileRows = kLanes == 16 ? 8 : 4;
constexpr int64_t kTileCols = 2 * kLanes;

// Where element (row, depth) of the left operand lies: data[row * row_stride + depth *
// depth_stride]. Swapped strides read a matrix transposed.
struct LeftOperand {
  const float* data;
  int64_t row_stride, depth_stride;
  LeftOperand below(int64_t rows) const {
    return {data + rows * row_stride, row_stride, depth_stride};
  }
};

// c[kTileRows, kTileCols] = a b, or += with kAdd. b and c are rows with leading dimensions.
template <bool kAdd>
inline void multiply_tile(const LeftOperand& a, const float* b, int64_t ldb, int64_t depth,
                          float* c, int64_t ldc) {
  // Unrolled by request: only then do all sums stay in registers.
  Vec sum[kTileRows][2];
#pragma GCC unroll 8
  for (int64_t row = 0; row < kTileRows; ++row) sum[row][0] = sum[row][1] = Vec{};
  for (int64_t k = 0; k < depth; ++k) {
    const Vec left = load(b + k * ldb), right = load(b + k * ldb + kLanes);
    const float* column = a.data + k * a.depth_stride;
#pragma GCC unroll 8
    for (int64_t row = 0; row < kTileRows; ++row) {
      const Vec factor = splat(column[row * a.row_stride]);
      sum[row][0] += factor * left;
      sum[row][1] += factor * right;
    }
  }
#pragma GCC unroll 8
  for (int64_t row = 0; row < kTileRows; ++row) {
    float* to = c + row * ldc;
    store(to, kAdd ? sum[row][0] + load(to) : sum[row][0]);
    store(to + kLanes, kAdd ? sum[row][1] + load(to + kLanes) : sum[row][1]);
  }
}

}  // namespace shardwright::simd
