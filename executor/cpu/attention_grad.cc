// The gradient of attention: weights are recomputed from lse block by block. With P the weights and
// D_i = sum over head_dim of dout_i out_i:
//   dV = P^T dO,  dS = P (dO V^T - D),  dQ = scale dS K,  dK = scale dS^T Q.
// Gradients of a key head are summed over the query heads that share it, in their order.
#include <algorithm>
#include <cmath>

#include "costmodel/check.h"
#include "executor/cpu/attention_block.h"
#include "executor/cpu/cpu_ops_impl.h"
#include "executor/cpu/simd_math.h"

namespace shardwright {
namespace {

using simd::for_lanes;
using simd::load;
using simd::store;
using simd::Vec;

struct GradBuffers {
  GradBuffers(float* scratch, const HeadDims& dims) {
    const auto take = [&](int64_t elements) {
      float* part = scratch;
      scratch += elements;
      return part;
    };
    for (float** matrix : {&keys, &keys_transposed, &values, &values_transposed, &dkeys, &dvalues})
      *matrix = take(dims.matrix());
    for (float** block : {&queries, &dout, &dqueries}) *block = take(dims.query_block());
    for (float** block : {&weights, &dscores}) *block = take(kQueryBlock * kKeyBlock);
  }
  static int64_t elements(const HeadDims& dims) {
    return 6 * dims.matrix() + 3 * dims.query_block() + 2 * kQueryBlock * kKeyBlock;
  }
  float *keys, *keys_transposed, *values, *values_transposed, *dkeys, *dvalues;
  float *queries, *dout, *dqueries;  // of one query block; queries are scaled
  float *weights, *dscores;
};

// What the rows of a query block need of the forward pass; zero for padded rows.
struct RowSums {
  float lse[kQueryBlock], dot[kQueryBlock];  // dot is D_i
};

// weights: scores -> P; dscores: dO V^T -> dS. Zero up to a whole vector past the visible keys,
// because a tile's rows all read as far as its last one sees.
void differentiate_softmax(const ScoreBlock& block, const RowSums& sums, float* weights,
                           float* dscores) {
  for (int64_t row = 0; row < block.rows; ++row) {
    float *p = weights + row * kKeyBlock, *ds = dscores + row * kKeyBlock;
    const int64_t n = block.visible(row);
    for_lanes(n, [&](int64_t i, auto lanes) {
      const Vec weight = simd::select(simd::exp(load(p + i) - sums.lse[row]), Vec{}, lanes);
      const Vec dscore = weight * (load(ds + i) - sums.dot[row]);
      store(p + i, weight);
      store(ds + i, simd::select(dscore, Vec{}, lanes));
    });
  }
}

// One block of queries, already in `head`: its dqueries, and its share of dkeys and dvalues.
void grad_block(int64_t first, int64_t padded_rows, const HeadDims& dims, const GradBuffers& head,
                const RowSums& sums) {
  std::fill_n(head.dqueries, padded_rows * dims.padded_dim, 0.0f);
  for_key_blocks(first, padded_rows, dims, [&](const ScoreBlock& block) {
    multiply_scores(head.queries, head.keys_transposed, block, dims, head.weights);
    multiply_scores(head.dout, head.values_transposed, block, dims, head.dscores);
    differentiate_softmax(block, sums, head.weights, head.dscores);
    add_weighted_queries(head.weights, head.dout, block, dims, head.dvalues);
    add_weighted_queries(head.dscores, head.queries, block, dims, head.dkeys);
    add_weighted_keys(head.dscores, head.keys, block, dims, head.dqueries);
  });
}

// Pointers to the first token of one sequence.
struct Sequence {
  const float *qkv, *out, *lse, *dout;
  float* dqkv;
};

void row_sums(const Sequence& s, const AttentionShape& shape, int64_t h, int64_t first,
              int64_t rows, RowSums* sums) {
  *sums = {};
  for (int64_t row = 0; row < rows; ++row) {
    const int64_t at = (first + row) * shape.out_width() + h * shape.head_dim;
    sums->lse[row] = s.lse[h * shape.seq + first + row];
    sums->dot[row] = simd::sums_over<1>(shape.head_dim, [&](int64_t i, auto lanes) {
      return std::array<Vec, 1>{load(s.out + at + i, lanes) * load(s.dout + at + i, lanes)};
    })[0];
  }
}

void grad_query_head(const Sequence& s, const AttentionShape& shape, int64_t h,
                     const HeadDims& dims, const GradBuffers& head) {
  const int64_t ld = shape.qkv_width(), column = h * shape.head_dim;
  const float scale = 1.0f / std::sqrt(static_cast<float>(shape.head_dim));
  for (int64_t first = 0; first < shape.seq; first += kQueryBlock) {
    const int64_t rows = std::min(kQueryBlock, shape.seq - first);
    const int64_t padded_rows = round_up(rows, simd::kTileRows);
    pack_rows(s.qkv + first * ld + column, ld, rows, padded_rows, scale, dims, head.queries);
    pack_rows(s.dout + first * shape.out_width() + column, shape.out_width(), rows, padded_rows,
              1.0f, dims, head.dout);
    RowSums sums;
    row_sums(s, shape, h, first, rows, &sums);
    grad_block(first, padded_rows, dims, head, sums);
    unpack_rows(head.dqueries, rows, scale, dims, s.dqkv + first * ld + column, ld);
  }
}

// Key head `kv` with all query heads that share it.
void grad_key_head(const Sequence& s, const AttentionShape& shape, int64_t kv, const HeadDims& dims,
                   const GradBuffers& head) {
  const int64_t ld = shape.qkv_width(), group = shape.heads / shape.kv_heads;
  const int64_t key_column = (shape.heads + kv) * shape.head_dim;
  const int64_t value_column = key_column + shape.kv_heads * shape.head_dim;
  pack_rows(s.qkv + key_column, ld, shape.seq, dims.padded_seq, 1.0f, dims, head.keys);
  pack_rows(s.qkv + value_column, ld, shape.seq, dims.padded_seq, 1.0f, dims, head.values);
  pack_transposed(head.keys, dims, head.keys_transposed);
  pack_transposed(head.values, dims, head.values_transposed);
  std::fill_n(head.dkeys, dims.matrix(), 0.0f);
  std::fill_n(head.dvalues, dims.matrix(), 0.0f);
  for (int64_t h = kv * group; h < (kv + 1) * group; ++h) {
    grad_query_head(s, shape, h, dims, head);
  }
  unpack_rows(head.dkeys, shape.seq, 1.0f, dims, s.dqkv + key_column, ld);
  unpack_rows(head.dvalues, shape.seq, 1.0f, dims, s.dqkv + value_column, ld);
}

}  // namespace

void CpuOps::attention_grad(const float* qkv, const float* out, const float* lse, const float* dout,
                            const AttentionShape& shape, float* dqkv) {
  SW_CHECK_EQ(shape.heads % shape.kv_heads, 0, "heads are shared evenly by key heads");
  const HeadDims dims(shape);
  const GradBuffers head(scratch(GradBuffers::elements(dims)), dims);
  for (int64_t b = 0; b < shape.batch; ++b) {
    const int64_t in_row = b * shape.seq * shape.qkv_width();
    const int64_t out_row = b * shape.seq * shape.out_width();
    const Sequence sequence{qkv + in_row, out + out_row, lse + b * shape.heads * shape.seq,
                            dout + out_row, dqkv + in_row};
    draw_near(sequence.qkv, shape.seq * shape.qkv_width());
    draw_near(sequence.out, shape.seq * shape.out_width());
    draw_near(sequence.dout, shape.seq * shape.out_width());
    for (int64_t kv = 0; kv < shape.kv_heads; ++kv) {
      grad_key_head(sequence, shape, kv, dims, head);
    }
  }
}

}  // namespace shardwright
