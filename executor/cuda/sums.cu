// The second stages of the sums that several kernels share.
#include "executor/cuda/sums.h"

namespace shardwright {
namespace {

struct ColumnSums {
  const float* partial;  // [outputs][ranges][cols]
  int64_t ranges, cols;
  float *first, *second;  // outputs
};

// Blocks of 32 columns by 32 threads, blockIdx.y is the output: thread y adds ranges y, y + 32,
// ..., and one warp then adds its column over y.
__global__ void __launch_bounds__(1024) add_column_sums_kernel(ColumnSums a) {
  __shared__ float shared[kWarp][kWarp + 1];
  const int x = static_cast<int>(threadIdx.x), y = static_cast<int>(threadIdx.y);
  const int64_t column = static_cast<int64_t>(blockIdx.x) * kWarp + x;
  const float* partial = a.partial + static_cast<int64_t>(blockIdx.y) * a.ranges * a.cols;
  float sum = 0;
  if (column < a.cols) {
#pragma unroll 4
    for (int64_t range = y; range < a.ranges; range += kWarp) {
      sum += partial[range * a.cols + column];
    }
  }
  shared[y][x] = sum;
  __syncthreads();
  if (y > 0 || column >= a.cols) return;
  float total = 0;
  for (int k = 0; k < kWarp; ++k) total += shared[k][x];
  (blockIdx.y == 0 ? a.first : a.second)[column] += total;
}

__global__ void __launch_bounds__(kSumThreads)
    add_total_kernel(const double* partial, int64_t count, double* sum) {
  __shared__ double shared[kSumThreads];
  double mine = 0;
  for (int64_t i = threadIdx.x; i < count; i += kSumThreads) mine += partial[i];
  const double total = block_sum(mine, shared);
  if (threadIdx.x == 0) *sum += total;
}

}  // namespace

void add_column_sums(Device& device, Stream stream, const float* partial, int64_t ranges,
                     int64_t cols, float* first, float* second) {
  const dim3 grid(static_cast<unsigned>(ceil_div(cols, kWarp)), second == nullptr ? 1 : 2);
  launch(device, stream, add_column_sums_kernel, grid, dim3(kWarp, kWarp), 0,
         ColumnSums{partial, ranges, cols, first, second});
}

void add_total(Device& device, Stream stream, const double* partial, int64_t count, double* sum) {
  launch(device, stream, add_total_kernel, dim3(1), dim3(kSumThreads), 0, partial, count, sum);
}

}  // namespace shardwright
