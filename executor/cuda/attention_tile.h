// Tiles of bf16 rows in shared memory and their products on tensor cores: what attention's forward
// and backward are made of.
//
// A tile is [rows, kDim], rows dense. 16-byte chunk c of row r lies at place c ^ (r % 8) of its
// row: the eight rows of an 8x8 matrix that ldmatrix reads then lie in different banks.
//
// A block of 128 rows belongs to four groups of 16 + 16 rows: group g has rows 16 g .. and
// 64 + 16 g .., its blocks m = 0, 1. So a causal diagonal gives every group the same work, and
// tiles that see only one half of the rows are left out for all groups alike.
#pragma once

#include <limits>

#include "executor/cuda/attention_kernels.h"
#include "executor/cuda/kernel.h"
#include "executor/cuda/mma.h"

namespace shardwright {

constexpr float kLog2E = 1.4426950408889634f;
constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();
constexpr int kRowBlock = 128;  // rows that four groups of rows hold
constexpr int kBlockStep = 64;  // from a group's block 0 to its block 1

// Which fragment elements are a lane's: rows group and group + 8, columns 2 quad and 2 quad + 1.
__device__ inline int lane_group() { return static_cast<int>(threadIdx.x % 32) / 4; }
__device__ inline int lane_quad() { return static_cast<int>(threadIdx.x % 4); }

// Hides where a number comes from, so that what follows from it is computed anew where it is used,
// and does not occupy registers all through a loop: sums leave none to spare.
template <typename Number>
__device__ inline int derive_again(Number number) {
  int value = static_cast<int>(number);
#ifdef __CUDA_ARCH__
  asm volatile("" : "+r"(value));
#endif
  return value;
}

template <int kDim>
SW_HOST_DEVICE constexpr int chunk_offset(int row, int chunk) {
  return row * 2 * kDim + ((chunk ^ (row & 7)) << 4);
}

// Of any chunk: whether rows 0 .. 7 lie in the eight groups of 16 bytes that 32 banks of 4 make.
template <int kDim>
constexpr bool rows_in_different_banks() {
  for (int chunk = 0; chunk < kDim / 8; ++chunk) {
    int groups = 0;
    for (int row = 0; row < 8; ++row) groups |= 1 << chunk_offset<kDim>(row, chunk) / 16 % 8;
    if (groups != 0xff) return false;
  }
  return true;
}
static_assert(rows_in_different_banks<64>() && rows_in_different_banks<128>(),
              "no emulation would notice");

// Bytes from a tile's start to the row that this lane names to ldmatrix, for the 16 x 16 elements
// at (first_row, 0); first_row is a multiple of 8. The elements 16 c columns to the right are at
// offset ^ (c << 5), since 16 columns are two chunks; those 16 rows further at + 32 kDim.
// As rows of A, and of a B that is read transposed (its rows are the summed dimension):
template <int kDim>
__device__ inline int fragment_offset(int first_row) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  return chunk_offset<kDim>(first_row + lane % 16, lane / 16);
}
// As columns of B (its rows are columns of the result):
template <int kDim>
__device__ inline int column_offset(int first_row) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  return chunk_offset<kDim>(first_row + lane % 8 + lane / 16 * 8, lane / 8 % 2);
}

// Starts to copy kRows rows from `first_row` on into a tile; rows behind the last one become zero.
template <int kRows, int kDim, int kThreads>
__device__ inline void copy_tile(unsigned char* tile, const HeadRows<const bf16>& head,
                                 int first_row) {
  constexpr int kChunks = kDim / 8, kStep = kThreads / kChunks;  // rows copied at a time
  static_assert(kStep % 8 == 0 && kRows % kStep == 0, "rows a step apart are swizzled alike");
  const int thread = derive_again(threadIdx.x), row = thread / kChunks, chunk = thread % kChunks;
  unsigned char* to = tile + chunk_offset<kDim>(row, chunk);
  const int first = derive_again(first_row + row);
#pragma unroll
  for (int i = 0; i < kRows; i += kStep) {
    cp_async_16(to + i * 2 * kDim, head.row(min(first + i, head.rows - 1)) + chunk * 8,
                first + i < head.rows);
  }
}

// sums[m] += A_m B^T over kDim, for blocks m in [kFirst, kEnd): rows of A times rows of B.
// a_offset: fragment_offset of block 0, b_offset: column_offset.
template <int kDim, int kFirst, int kEnd, int kN>
__device__ inline void add_row_products(float (&sums)[2][kN][4], const unsigned char* a,
                                        int a_offset, const unsigned char* b, int b_offset) {
  a_offset = derive_again(a_offset);
  b_offset = derive_again(b_offset);
#pragma unroll
  for (int c = 0; c < kDim / 16; ++c) {
    uint32_t rows[2][4];
#pragma unroll
    for (int m = kFirst; m < kEnd; ++m) {
      ldmatrix_x4(rows[m], a + (a_offset ^ (c << 5)) + m * kBlockStep * 2 * kDim);
    }
#pragma unroll
    for (int n = 0; n < kN; n += 2) {
      uint32_t columns[4];
      ldmatrix_x4(columns, b + (b_offset ^ (c << 5)) + n * 8 * 2 * kDim);
      const uint32_t left[2] = {columns[0], columns[1]}, right[2] = {columns[2], columns[3]};
#pragma unroll
      for (int m = kFirst; m < kEnd; ++m) {
        mma_m16n8k16(sums[m][n], rows[m], left);
        mma_m16n8k16(sums[m][n + 1], rows[m], right);
      }
    }
  }
}

// sums[m] += W_m R: weights as A's fragments [block][16 summed rows], R the rows of a tile.
// `offset`: fragment_offset of R's first row, moved to the first column wanted.
template <int kDim, int kFirst, int kEnd, int kN, int kK>
__device__ inline void add_weighted_rows(float (&sums)[2][kN][4],
                                         const uint32_t (&weights)[2][kK][4],
                                         const unsigned char* rows, int offset) {
  offset = derive_again(offset);
#pragma unroll
  for (int k = 0; k < kK; ++k) {
#pragma unroll
    for (int n = 0; n < kN; n += 2) {
      uint32_t columns[4];
      ldmatrix_x4_trans(columns, rows + (offset ^ (n << 4)) + k * 16 * 2 * kDim);
      const uint32_t left[2] = {columns[0], columns[1]}, right[2] = {columns[2], columns[3]};
#pragma unroll
      for (int m = kFirst; m < kEnd; ++m) {
        mma_m16n8k16(sums[m][n], weights[m][k], left);
        mma_m16n8k16(sums[m][n + 1], weights[m][k], right);
      }
    }
  }
}

// Results rounded to bf16 as the next product's A: 16 columns of a result lie in a lane as 16
// columns of A do.
template <int kK>
__device__ inline void to_weights(const float (&values)[2 * kK][4], uint32_t (&weights)[kK][4]) {
#pragma unroll
  for (int k = 0; k < kK; ++k) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float(&pair)[4] = values[2 * k + i / 2];
      weights[k][i] = pack_bf16x2(pair[i % 2 * 2], pair[i % 2 * 2 + 1]);
    }
  }
}

// Writes 16 rows of results into a tile, times a factor for the lane's upper and lower row.
template <int kDim, int kN>
__device__ inline void put_rows(unsigned char* tile, int first_row, int first_chunk,
                                const float (&values)[kN][4], float upper, float lower) {
  const int row = first_row + lane_group();
#pragma unroll
  for (int n = 0; n < kN; ++n) {
    unsigned char* at = tile + lane_quad() * 4;
    *reinterpret_cast<uint32_t*>(at + chunk_offset<kDim>(row, first_chunk + n)) =
        pack_bf16x2(values[n][0] * upper, values[n][1] * upper);
    *reinterpret_cast<uint32_t*>(at + chunk_offset<kDim>(row + 8, first_chunk + n)) =
        pack_bf16x2(values[n][2] * lower, values[n][3] * lower);
  }
}

// Copies a tile of kRowBlock rows to where a head has rows; the whole block of threads takes part.
template <int kDim, int kThreads>
__device__ inline void store_tile(const unsigned char* tile, const HeadRows<bf16>& head,
                                  int first_row) {
  constexpr int kChunks = kDim / 8;
#pragma unroll
  for (int i = 0; i < kRowBlock * kChunks / kThreads; ++i) {
    const int index = i * kThreads + static_cast<int>(threadIdx.x);
    const int row = index / kChunks, chunk = index % kChunks;
    if (first_row + row >= head.rows) continue;
    store_pack(head.row(first_row + row) + chunk * 8,
               load_pack(reinterpret_cast<const bf16*>(tile + chunk_offset<kDim>(row, chunk))));
  }
}

// Scores of keys behind their query become minus infinity. `ahead`: by how much the lane's first
// row is ahead of its first key.
template <int kN>
__device__ inline void hide_later_keys(float (&scores)[kN][4], int ahead) {
#pragma unroll
  for (int n = 0; n < kN; ++n) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if (n * 8 + i % 2 > ahead + i / 2 * 8) scores[n][i] = kMinusInfinity;
    }
  }
}

// Which queries a block of threads has. Heads are the faster index of blocks and later queries come
// first: what takes longest starts first, and neighbours in time share their keys in the cache.
struct QueryPlace {
  int head, sequence, first;  // query
  __device__ explicit QueryPlace(const HeadSizes& sizes) {
    const int index = derive_again(blockIdx.x);
    head = index % sizes.heads;
    sequence = index / sizes.heads;
    first = static_cast<int>(gridDim.y - 1) * kRowBlock - derive_again(blockIdx.y) * kRowBlock;
  }
};

// The largest, and the sum, over the four lanes that hold a row of a fragment.
__device__ inline float quad_max(float x) {
  x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, 1));
  return fmaxf(x, __shfl_xor_sync(0xffffffffu, x, 2));
}
__device__ inline float quad_sum(float x) {
  x += __shfl_xor_sync(0xffffffffu, x, 1);
  return x + __shfl_xor_sync(0xffffffffu, x, 2);
}

}  // namespace shardwright
