#include "executor/cpu/attention_block.h"

#include <algorithm>

namespace shardwright {

using simd::First;
using simd::for_lanes;
using simd::kTileCols;
using simd::kTileRows;
using simd::load;
using simd::multiply_tile;
using simd::store;
using simd::Vec;

HeadDims::HeadDims(const AttentionShape& shape)
    : seq(shape.seq),
      head_dim(shape.head_dim),
      padded_seq(round_up(shape.seq, kTileCols)),
      padded_dim(round_up(shape.head_dim, kTileCols)) {}

int64_t ScoreBlock::visible(int64_t row) const {
  return std::clamp<int64_t>(first + row + 1 - first_key, 0, keys);
}

void draw_near(const float* matrix, int64_t elements) {
  constexpr int64_t kLargest = int64_t{128} << 10;  // 512 KiB, half of a second-level cache
  if (elements > kLargest) return;
  Vec sum = {};
  for_lanes(elements, [&](int64_t i, auto lanes) { sum += load(matrix + i, lanes); });
  asm volatile("" : : "g"(&sum) : "memory");  // the reads count, not their sum
}

void pack_rows(const float* from, int64_t ld, int64_t rows, int64_t padded_rows, float scale,
               const HeadDims& dims, float* to) {
  for (int64_t row = 0; row < rows; ++row) {
    float* packed = to + row * dims.padded_dim;
    for_lanes(dims.head_dim, [&](int64_t i, auto lanes) {
      store(packed + i, load(from + row * ld + i, lanes) * scale, lanes);
    });
    std::fill(packed + dims.head_dim, packed + dims.padded_dim, 0.0f);
  }
  std::fill(to + rows * dims.padded_dim, to + padded_rows * dims.padded_dim, 0.0f);
}

namespace {

typedef float Vec4 __attribute__((vector_size(16)));

// to[4, ldt] = transpose of from[4, ldf]
inline void transpose_4x4(const float* from, int64_t ldf, float* to, int64_t ldt) {
  Vec4 row[4];
  for (int i = 0; i < 4; ++i) std::memcpy(&row[i], from + i * ldf, sizeof row[i]);
  const Vec4 low01 = __builtin_shufflevector(row[0], row[1], 0, 4, 1, 5);
  const Vec4 high01 = __builtin_shufflevector(row[0], row[1], 2, 6, 3, 7);
  const Vec4 low23 = __builtin_shufflevector(row[2], row[3], 0, 4, 1, 5);
  const Vec4 high23 = __builtin_shufflevector(row[2], row[3], 2, 6, 3, 7);
  const Vec4 column[4] = {__builtin_shufflevector(low01, low23, 0, 1, 4, 5),
                          __builtin_shufflevector(low01, low23, 2, 3, 6, 7),
                          __builtin_shufflevector(high01, high23, 0, 1, 4, 5),
                          __builtin_shufflevector(high01, high23, 2, 3, 6, 7)};
  for (int i = 0; i < 4; ++i) std::memcpy(to + i * ldt, &column[i], sizeof column[i]);
}

}  // namespace

void pack_transposed(const float* packed_rows, const HeadDims& dims, float* to) {
  for (int64_t token = 0; token < dims.padded_seq; token += 4) {
    float* panel = to + token / kTileCols * kTileCols * dims.padded_dim + token % kTileCols;
    for (int64_t i = 0; i < dims.padded_dim; i += 4) {
      transpose_4x4(packed_rows + token * dims.padded_dim + i, dims.padded_dim,
                    panel + i * kTileCols, kTileCols);
    }
  }
}

void unpack_rows(const float* packed, int64_t rows, float scale, const HeadDims& dims, float* to,
                 int64_t ld) {
  for (int64_t row = 0; row < rows; ++row) {
    for_lanes(dims.head_dim, [&](int64_t i, auto lanes) {
      store(to + row * ld + i, load(packed + row * dims.padded_dim + i, lanes) * scale, lanes);
    });
  }
}

void multiply_scores(const float* q, const float* transposed, const ScoreBlock& block,
                     const HeadDims& dims, float* scores) {
  for (int64_t key = 0; key < block.keys; key += kTileCols) {
    const float* panel = transposed + (block.first_key + key) * dims.padded_dim;
    for (int64_t row = 0; row < block.rows; row += kTileRows) {
      if (block.visible(row + kTileRows - 1) <= key) continue;
      multiply_tile<false>({q + row * dims.padded_dim, dims.padded_dim, 1}, panel, kTileCols,
                           dims.padded_dim, scores + row * kKeyBlock + key, kKeyBlock);
    }
  }
}

void add_weighted_keys(const float* weights, const float* values, const ScoreBlock& block,
                       const HeadDims& dims, float* out) {
  const float* first_value = values + block.first_key * dims.padded_dim;
  for (int64_t i = 0; i < dims.padded_dim; i += kTileCols) {
    for (int64_t row = 0; row < block.rows; row += kTileRows) {
      const int64_t depth = block.visible(row + kTileRows - 1);
      if (depth == 0) continue;
      multiply_tile<true>({weights + row * kKeyBlock, kKeyBlock, 1}, first_value + i,
                          dims.padded_dim, depth, out + row * dims.padded_dim + i, dims.padded_dim);
    }
  }
}

void add_weighted_queries(const float* weights, const float* rows, const ScoreBlock& block,
                          const HeadDims& dims, float* sums) {
  float* first_sum = sums + block.first_key * dims.padded_dim;
  for (int64_t i = 0; i < dims.padded_dim; i += kTileCols) {
    for (int64_t key = 0; key < block.keys; key += kTileRows) {
      const int64_t skip = std::max<int64_t>(0, block.first_key + key - block.first);
      if (skip >= block.rows) continue;
      multiply_tile<true>({weights + skip * kKeyBlock + key, 1, kKeyBlock},
                          rows + skip * dims.padded_dim + i, dims.padded_dim, block.rows - skip,
                          first_sum + key * dims.padded_dim + i, dims.padded_dim);
    }
  }
}

}  // namespace shardwright
