// Sums whose order is fixed: over the threads of a row, over the rows of a column, over a whole
// buffer. Large ones have two stages: blocks write partial sums into scratch, and a second kernel
// adds these in their order. No atomics, so that the same input gives the same bits.
#pragma once

#include "executor/cuda/vectors.h"

namespace shardwright {

constexpr unsigned kAllLanes = 0xffffffffu;
constexpr int kWarp = 32;

// The same bits in every lane: each level of the tree adds the same two numbers on both sides.
__device__ inline float warp_sum(float value) {
#pragma unroll
  for (int lane = kWarp / 2; lane > 0; lane /= 2) value += __shfl_xor_sync(kAllLanes, value, lane);
  return value;
}

// Sums of N values over the blockDim.x threads with this threadIdx.y, in each of them. `shared`
// holds N floats for every warp of the block; it may be written again after a __syncthreads() that
// follows, or by a call with other memory. When a row is one warp nothing is shared or awaited.
template <int N>
__device__ inline void row_sums(float (&values)[N], float* shared) {
#pragma unroll
  for (int n = 0; n < N; ++n) values[n] = warp_sum(values[n]);
  const int warps = static_cast<int>(blockDim.x) / kWarp;
  if (warps == 1) return;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  float* row = shared + static_cast<int>(threadIdx.y) * warps * N;
  if (lane == 0) {
    for (int n = 0; n < N; ++n) row[static_cast<int>(threadIdx.x) / kWarp * N + n] = values[n];
  }
  __syncthreads();
#pragma unroll
  for (int n = 0; n < N; ++n) values[n] = warp_sum(lane < warps ? row[lane * N + n] : 0.0f);
}

// Sum over a block of 256 threads, valid in thread 0. `shared` holds 256 doubles.
constexpr int kSumThreads = 256;
__device__ inline double block_sum(double value, double* shared) {
  const int thread = static_cast<int>(threadIdx.x);
  shared[thread] = value;
  for (int half = kSumThreads / 2; half > 0; half /= 2) {
    __syncthreads();
    if (thread < half) shared[thread] += shared[thread + half];
  }
  return shared[0];
}

// --- column sums: blocks of 32 x 8 threads, 32 packs of columns by a range of rows each ---

constexpr int kColumnRows = 8;

// Where a block of a column pass works, and where its sums go: partial[sum][blockIdx.y][cols].
struct ColumnShape {
  int64_t rows, cols, rows_per_block;
  float* partial;  // null: no sums
};

namespace {  // of the file that includes it: it has shared memory of its own

// Calls body(row, column, sums) for every pack of the block, then adds the N sums over the block's
// rows: a thread's own rows one after another, then the eight threads of a column in order.
template <int W, int N, typename Body>
__device__ inline void column_pass(const ColumnShape& shape, Body body) {
  __shared__ float shared[kColumnRows][W][kWarp];
  const int lane = static_cast<int>(threadIdx.x), y = static_cast<int>(threadIdx.y);
  const int64_t column = (static_cast<int64_t>(blockIdx.x) * kWarp + lane) * W;
  const int64_t first = static_cast<int64_t>(blockIdx.y) * shape.rows_per_block;
  const int64_t end = first + shape.rows_per_block;
  const int64_t last = end < shape.rows ? end : shape.rows;
  float sums[N][W] = {};
  if (column < shape.cols) {
    for (int64_t row = first + y; row < last; row += kColumnRows) body(row, column, sums);
  }
  if (shape.partial == nullptr) return;
  for (int n = 0; n < N; ++n) {
#pragma unroll
    for (int w = 0; w < W; ++w) shared[y][w][lane] = sums[n][w];
    __syncthreads();
    for (int w = y; w < W && column < shape.cols; w += kColumnRows) {
      float sum = 0;
      for (int k = 0; k < kColumnRows; ++k) sum += shared[k][w][lane];
      shape.partial[(n * static_cast<int64_t>(gridDim.y) + blockIdx.y) * shape.cols + column + w] =
          sum;
    }
    __syncthreads();
  }
}

}  // namespace

// --- on the host ---

// Blocks of a column pass: four for each multiprocessor, which run all at once (they need up to 64
// registers a thread), so that none is left for a second round; of at least 16 rows.
inline dim3 column_grid(const Device& device, int64_t rows, int64_t cols, int width) {
  const int64_t tiles = ceil_div(cols, int64_t{kWarp} * width);
  const int64_t ranges = std::max<int64_t>(1, 4 * multiprocessors(device) / tiles);
  return dim3(static_cast<unsigned>(tiles),
              static_cast<unsigned>(std::min(ranges, ceil_div(rows, 16))));
}

// What the first stages may fill, within what scratch() has.
constexpr Bytes kPartialBytes = Bytes{16} << 20;

// Scratch of a column pass with `sums` sums, at most 4 * SMs * 32 * 8 columns * 4 bytes for each
// (0.5 MB on 132 multiprocessors), or one row where that is more.
inline Bytes partial_bytes(int64_t ranges, int64_t cols, int64_t sums) {
  return ranges * cols * sums * static_cast<Bytes>(sizeof(float));
}

// first[cols] += the sums over i of partial[i][cols], i < ranges, and second[cols] += those of the
// `ranges` rows after these, when not null.
void add_column_sums(Device& device, Stream stream, const float* partial, int64_t ranges,
                     int64_t cols, float* first, float* second);

// *sum += partial[0] + ... + partial[count - 1], in a fixed order.
void add_total(Device& device, Stream stream, const double* partial, int64_t count, double* sum);

}  // namespace shardwright
