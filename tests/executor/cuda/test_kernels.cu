#include "executor/cuda/kernel.h"
#include "executor/cuda/mma.h"
#include "tests/executor/cuda/test_kernels.h"

namespace shardwright::testing {
namespace {

constexpr uint32_t kAll = 0xffffffffu;

template <typename T>
__global__ void block_sum_kernel(const T* x, T* sums) {
  __shared__ T parts[32];
  T value = x[blockIdx.x * blockDim.x + threadIdx.x];
  for (int step = 16; step > 0; step /= 2) value += __shfl_xor_sync(kAll, value, step);
  const unsigned warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  if (lane == 0) parts[warp] = value;
  __syncthreads();
  if (warp != 0) return;
  value = lane < blockDim.x / 32 ? parts[lane] : T{0};
  for (int step = 16; step > 0; step /= 2) value += __shfl_down_sync(kAll, value, step);
  if (lane == 0) sums[blockIdx.x] = value;
}

__global__ void rotate_kernel(Mistake mistake, const float* x, float* y) {
  float* shared = dynamic_shared<float>();
  const unsigned i = threadIdx.x, n = blockDim.x;
  if (mistake == Mistake::kMisaligned) {
    const Pack<float> pack = load_pack(x + 1);
    y[0] = pack.at[0];
  }
  if (mistake == Mistake::kMissingWait) {
    if (i % 4 == 0) {
      cp_async_16(shared + i, x + blockIdx.x * n + i, true);
      cp_async_commit();
    }
  } else {
    shared[i] = x[blockIdx.x * n + i];
  }
  if (mistake == Mistake::kSharedOverrun && i == 0) shared[n] = 1;
  if (mistake == Mistake::kEarlyExit && i == 37) return;
  if (mistake == Mistake::kDivergentBarrier) {
    if (i < 32) {
      __syncthreads();
    } else {
      __syncthreads();
    }
  } else if (mistake != Mistake::kMissingBarrier) {
    __syncthreads();
  }
  float value = shared[(i + 1) % n];
  if (mistake == Mistake::kMissingLane && i % 32 < 16) value = __shfl_sync(kAll, value, 3);
  if (mistake == Mistake::kLaneOutsideMask && i % 32 < 16) {
    value = __shfl_sync(0x0000ffffu, value, 20);
  }
  y[blockIdx.x * n + i] = value;
}

__global__ void mma_kernel(bool transposed, const bf16* a, const bf16* b, float* d) {
  __shared__ __align__(16) bf16 a_tile[16 * 16];
  __shared__ __align__(16) bf16 b_tile[16 * 8];
  const unsigned lane = threadIdx.x;
  cp_async_16(a_tile + lane * 8, a + lane * 8, true);
  cp_async_16(b_tile + lane % 16 * 8, b + lane % 16 * 8, true);
  cp_async_commit();
  cp_async_wait<0>();
  __syncthreads();
  uint32_t a_part[4], b_part[4];
  // Matrices in the order of a's fragment: rows 0-7 and 8-15 of the left half, then of the right.
  ldmatrix_x4(a_part, a_tile + lane % 16 * 16 + lane / 16 * 8);
  // The lower two matrices are b's halves; the upper two are the same again.
  if (transposed) {
    ldmatrix_x4_trans(b_part, b_tile + lane % 16 * 8);
  } else {
    ldmatrix_x4(b_part, b_tile + lane % 8 * 16 + lane / 8 % 2 * 8);
  }
  float sums[4] = {0, 0, 0, 0};
  const uint32_t b_halves[2] = {b_part[0], b_part[1]};
  mma_m16n8k16(sums, a_part, b_halves);
  for (unsigned i = 0; i < 4; ++i) {
    d[(lane / 4 + i / 2 * 8) * 8 + lane % 4 * 2 + i % 2] = sums[i];
  }
}

}  // namespace

void launch_block_sum(Device& device, Stream stream, const float* x, float* sums, int blocks,
                      int threads) {
  launch(device, stream, block_sum_kernel<float>, static_cast<unsigned>(blocks),
         static_cast<unsigned>(threads), 0, x, sums);
}
void launch_block_sum(Device& device, Stream stream, const double* x, double* sums, int blocks,
                      int threads) {
  launch(device, stream, block_sum_kernel<double>, static_cast<unsigned>(blocks),
         static_cast<unsigned>(threads), 0, x, sums);
}

void launch_rotate(Device& device, Stream stream, Mistake mistake, const float* x, float* y,
                   int blocks, int threads) {
  launch(device, stream, rotate_kernel, static_cast<unsigned>(blocks),
         static_cast<unsigned>(threads), static_cast<size_t>(threads) * sizeof(float), mistake, x,
         y);
}

void launch_mma(Device& device, Stream stream, bool transposed, const bf16* a, const bf16* b,
                float* d) {
  launch(device, stream, mma_kernel, 1, 32, 0, transposed, a, b, d);
}

}  // namespace shardwright::testing
