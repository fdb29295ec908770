// What attention's forward and backward share: packed operands of one head and products of one
// block of queries with one block of keys, of which only the causal part is computed.
//
// Packed matrices are padded with zeros to whole tiles: rows (tokens) to `padded_seq`, columns
// (head_dim) to `padded_dim`. Padded queries see finite numbers that nobody reads, and padded keys
// are above the diagonal of every real query.
#pragma once

#include <cstdint>

#include "executor/cpu/tile.h"
#include "executor/ops.h"

namespace shardwright {

constexpr int64_t kQueryBlock = 64;
constexpr int64_t kKeyBlock = 128;  // a block of scores is 32 KiB, within the first-level cache

// Sizes of one head's packed matrices, in elements.
struct HeadDims {
  explicit HeadDims(const AttentionShape& shape);
  int64_t seq, head_dim;
  int64_t padded_seq, padded_dim;
  int64_t matrix() const { return padded_seq * padded_dim; }
  int64_t query_block() const { return kQueryBlock * padded_dim; }
};

// Block of queries [first, first + rows) against keys [first_key, first_key + keys); rows is a
// multiple of the tile's. Query i sees keys up to i.
struct ScoreBlock {
  int64_t first, rows, first_key, keys;
  // Keys that the block's row `row` sees, counted from first_key; 0 when none.
  int64_t visible(int64_t row) const;
};

// to[rows, padded_dim] = scale * from[rows, head_dim], zero elsewhere up to padded_rows.
void pack_rows(const float* from, int64_t ld, int64_t rows, int64_t padded_rows, float scale,
               const HeadDims& dims, float* to);
// The transpose in panels of kTileCols tokens, [padded_seq / kTileCols, padded_dim, kTileCols]:
// a panel is contiguous, so that walking down head_dim does not hit one cache set.
void pack_transposed(const float* packed_rows, const HeadDims& dims, float* to);
// to[rows, head_dim] = scale * packed[rows, padded_dim]
void unpack_rows(const float* packed, int64_t rows, float scale, const HeadDims& dims, float* to,
                 int64_t ld);

// Reads a sequence's matrix front to back into the second-level cache before its heads are packed
// one by one: their rows lie a stride apart, which the hardware does not foresee. Does nothing when
// the matrix is too large to stay there.
void draw_near(const float* matrix, int64_t elements);

// scores[rows, kKeyBlock] = q[rows, padded_dim] k^T, tiles that no query of theirs sees left out.
// `transposed` is the whole packed k.
void multiply_scores(const float* q, const float* transposed, const ScoreBlock& block,
                     const HeadDims& dims, float* scores);
// out[rows, padded_dim] += weights[rows, kKeyBlock] values, over the keys that a row tile sees;
// `values` is the whole packed matrix.
void add_weighted_keys(const float* weights, const float* values, const ScoreBlock& block,
                       const HeadDims& dims, float* out);
// sums[first_key.., padded_dim] += weights^T rows[rows, padded_dim], over the queries that see a
// key tile; `sums` is the whole packed matrix.
void add_weighted_queries(const float* weights, const float* rows, const ScoreBlock& block,
                          const HeadDims& dims, float* sums);

// Calls body(block) for the key blocks that queries [first, first + rows) see, in order.
template <typename Body>
void for_key_blocks(int64_t first, int64_t rows, const HeadDims& dims, Body&& body) {
  const int64_t end = first + rows < dims.padded_seq ? first + rows : dims.padded_seq;
  for (int64_t key = 0; key < end; key += kKeyBlock) {
    body(ScoreBlock{first, rows, key, end - key < kKeyBlock ? end - key : kKeyBlock});
  }
}

}  // namespace shardwright
