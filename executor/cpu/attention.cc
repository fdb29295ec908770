// Causal attention without a [seq, seq] matrix: blocks of queries pass over blocks of keys with a
// running maximum and sum (Dao et al., "FlashAttention", algorithm 1).
#include <algorithm>
#include <cmath>
#include <limits>

#include "costmodel/check.h"
#include "executor/cpu/attention_block.h"
#include "executor/cpu/cpu_ops_impl.h"
#include "executor/cpu/simd_math.h"

namespace shardwright {
namespace {

using simd::for_lanes;
using simd::kLanes;
using simd::load;
using simd::store;
using simd::Vec;

constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();

// Packed operands and working blocks of one head, cut out of the call's scratch.
struct HeadBuffers {
  HeadBuffers(float* scratch, const HeadDims& dims)
      : keys(scratch),
        keys_transposed(keys + dims.matrix()),
        values(keys_transposed + dims.matrix()),
        queries(values + dims.matrix()),
        out(queries + dims.query_block()),
        scores(out + dims.query_block()) {}
  static int64_t elements(const HeadDims& dims) {
    return 3 * dims.matrix() + 2 * dims.query_block() + kQueryBlock * kKeyBlock;
  }
  float *keys, *keys_transposed, *values;  // keys serves only the transposition
  float *queries, *out, *scores;
};

// Softmax state of a block of queries: the largest score so far and the sum of exp(score - max).
struct Running {
  float max[kQueryBlock], sum[kQueryBlock];
};

float row_max(const float* scores, int64_t n) {
  Vec top = simd::splat(kMinusInfinity);
  for_lanes(n, [&](int64_t i, auto lanes) {
    top = simd::max(top, simd::select(load(scores + i), simd::splat(kMinusInfinity), lanes));
  });
  return simd::largest(top);
}

// Replaces n visible scores by exp(score - max), zero up to a whole vector; returns their sum.
float exponentials(float* scores, int64_t n, float max) {
  Vec sum = {};
  for_lanes(n, [&](int64_t i, auto lanes) {
    const Vec p = simd::select(simd::exp(load(scores + i) - max), Vec{}, lanes);
    store(scores + i, p);
    sum += p;
  });
  return simd::sum(sum);
}

// Turns a block of scores into weights and rescales what earlier key blocks left in `out`.
void softmax_block(const ScoreBlock& block, const HeadDims& dims, float* scores, Running* running,
                   float* out) {
  for (int64_t row = 0; row < block.rows; ++row) {
    const int64_t n = block.visible(row);
    if (n == 0) continue;  // then no row of its tile sees a key here
    float* line = scores + row * kKeyBlock;
    const float old_max = running->max[row];
    const float max = std::max(old_max, row_max(line, n));
    running->max[row] = max;
    const float fresh = exponentials(line, n, max);
    const float shrink = block.first_key == 0 ? 0.0f : std::exp(old_max - max);
    running->sum[row] = running->sum[row] * shrink + fresh;
    if (block.first_key == 0 || shrink == 1.0f) continue;
    float* sums = out + row * dims.padded_dim;
    for_lanes(dims.padded_dim, [&](int64_t i, auto) { store(sums + i, load(sums + i) * shrink); });
  }
}

// Queries [first, first + rows) of one head; `out` and `lse` point at the first of them.
void attend_block(int64_t first, int64_t rows, const HeadDims& dims, const HeadBuffers& head,
                  float* out, int64_t ld, float* lse) {
  const int64_t padded_rows = round_up(rows, simd::kTileRows);
  Running running;
  std::fill_n(running.max, kQueryBlock, kMinusInfinity);
  std::fill_n(running.sum, kQueryBlock, 0.0f);
  std::fill_n(head.out, padded_rows * dims.padded_dim, 0.0f);
  for_key_blocks(first, padded_rows, dims, [&](const ScoreBlock& block) {
    multiply_scores(head.queries, head.keys_transposed, block, dims, head.scores);
    softmax_block(block, dims, head.scores, &running, head.out);
    add_weighted_keys(head.scores, head.values, block, dims, head.out);
  });
  for (int64_t row = 0; row < rows; ++row) {
    unpack_rows(head.out + row * dims.padded_dim, 1, 1.0f / running.sum[row], dims, out + row * ld,
                ld);
    lse[row] = running.max[row] + std::log(running.sum[row]);
  }
}

}  // namespace

void CpuOps::attention(const float* qkv, const AttentionShape& shape, float* out, float* lse) {
  SW_CHECK_EQ(shape.heads % shape.kv_heads, 0, "heads are shared evenly by key heads");
  const HeadDims dims(shape);
  const HeadBuffers buffers(scratch(HeadBuffers::elements(dims)), dims);
  const int64_t ld = shape.qkv_width(), group = shape.heads / shape.kv_heads;
  const float scale = 1.0f / std::sqrt(static_cast<float>(shape.head_dim));
  for (int64_t head = 0; head < shape.batch * shape.heads; ++head) {
    const int64_t b = head / shape.heads, h = head % shape.heads;
    if (h == 0) {
      draw_near(qkv + b * shape.seq * ld, shape.seq * ld);
      draw_near(out + b * shape.seq * shape.out_width(), shape.seq * shape.out_width());
    }
    const float* q = qkv + b * shape.seq * ld + h * shape.head_dim;
    if (h % group == 0) {
      const float* k = qkv + b * shape.seq * ld + (shape.heads + h / group) * shape.head_dim;
      pack_rows(k, ld, shape.seq, dims.padded_seq, 1.0f, dims, buffers.keys);
      pack_transposed(buffers.keys, dims, buffers.keys_transposed);
      pack_rows(k + shape.kv_heads * shape.head_dim, ld, shape.seq, dims.padded_seq, 1.0f, dims,
                buffers.values);
    }
    for (int64_t first = 0; first < shape.seq; first += kQueryBlock) {
      const int64_t rows = std::min(kQueryBlock, shape.seq - first);
      pack_rows(q + first * ld, ld, rows, round_up(rows, simd::kTileRows), scale, dims,
                buffers.queries);
      attend_block(first, rows, dims, buffers,
                   out + (b * shape.seq + first) * shape.out_width() + h * shape.head_dim,
                   shape.out_width(), lse + head * shape.seq + first);
    }
  }
}

}  // namespace shardwright
