// Softmax cross-entropy over a vocabulary that may be split between ranks: each rank reduces its
// columns to three numbers per token, and their combination gives every rank the same lse.
//
// A block takes one row of logits in one pass: every thread keeps the largest logit that it has
// seen and the sum of exponentials relative to it. Rows need not start on 16 bytes (a vocabulary
// may be odd): the elements before the first boundary and after the last are taken one by one.
//
// Memory traffic, in elements of the compute type per logit: loss_local 1, loss_grad 2.
#include <cmath>

#include "executor/cuda/cuda_ops_impl.h"
#include "executor/cuda/sums.h"
#include "executor/cuda/vectors.h"

namespace shardwright {
namespace {

constexpr int64_t kParts = 3;  // local max, sum of exponentials, target logit
constexpr int kRowThreads = 512;
// Below every logit, but finite: differences to it are no NaN.
constexpr float kLowest = -1e38f;

// The elements of one row as one by one, packs, one by one.
struct PeeledRow {
  int64_t head, packs, tail;  // elements, packs, elements
};
template <typename E>
__device__ inline PeeledRow peel(const E* row, int64_t n) {
  constexpr int64_t kElements = kWide<E>;
  const auto offset = static_cast<int64_t>(reinterpret_cast<uintptr_t>(row) % 16 / sizeof(E));
  int64_t head = (kElements - offset) % kElements;
  if (head > n) head = n;
  const int64_t packs = (n - head) / kElements;
  return {head, packs, n - head - packs * kElements};
}

// Calls body(first column, width) over the row, width a std::integral_constant.
template <typename E, typename Body>
__device__ inline void for_row(const E* row, int64_t n, Body body) {
  constexpr int kElements = kWide<E>;
  const PeeledRow parts = peel(row, n);
#pragma unroll 2
  for (int64_t pack = threadIdx.x; pack < parts.packs; pack += blockDim.x) {
    body(parts.head + pack * kElements, std::integral_constant<int, kElements>{});
  }
  const int64_t i = threadIdx.x;
  if (i < parts.head) body(i, std::integral_constant<int, 1>{});
  if (i < parts.tail) body(n - parts.tail + i, std::integral_constant<int, 1>{});
}

// exp of a difference to a maximum.
template <typename E>
__device__ inline float exp_of(float x) {
  if constexpr (std::is_same_v<E, float>) {
    return expf(x);
  } else {
    return fast_exp(x);
  }
}

struct Softmax {
  float top, sum;  // sum of exp(z - top)

  template <typename E, int W>
  __device__ inline void add(const float (&z)[W]) {
    float largest = z[0];
#pragma unroll
    for (int w = 1; w < W; ++w) largest = fmaxf(largest, z[w]);
    if (largest > top) {
      sum *= exp_of<E>(top - largest);
      top = largest;
    }
#pragma unroll
    for (int w = 0; w < W; ++w) sum += exp_of<E>(z[w] - top);
  }
  __device__ inline void join(const Softmax& other) {
    const float larger = fmaxf(top, other.top);
    sum = sum * expf(top - larger) + other.sum * expf(other.top - larger);
    top = larger;
  }
};

// Joined over the block, in thread 0: a tree over the lanes of each warp, then the warps in order.
__device__ inline Softmax join_block(Softmax mine) {
  __shared__ Softmax shared[kRowThreads / kWarp];
#pragma unroll
  for (int lane = kWarp / 2; lane > 0; lane /= 2) {
    mine.join(
        {__shfl_down_sync(kAllLanes, mine.top, lane), __shfl_down_sync(kAllLanes, mine.sum, lane)});
  }
  if (threadIdx.x % kWarp == 0) shared[threadIdx.x / kWarp] = mine;
  __syncthreads();
  if (threadIdx.x == 0) {
    for (int warp = 1; warp < kRowThreads / kWarp; ++warp) mine.join(shared[warp]);
  }
  return mine;
}

template <typename E>
struct LossArgs {
  E* logits;
  const int32_t* targets;
  int64_t first_row, valid, ld;
  float* parts;      // loss_local
  const float* lse;  // loss_grad
  float scale;
};

template <typename E>
__global__ void __launch_bounds__(kRowThreads) loss_local_kernel(LossArgs<E> a) {
  const int64_t t = blockIdx.x;
  const E* z = a.logits + t * a.ld;
  Softmax mine{kLowest, 0};
  for_row(z, a.valid, [&](int64_t column, auto width) {
    float values[width.value];
    load_floats(z + column, values);
    mine.template add<E>(values);
  });
  mine = join_block(mine);
  if (threadIdx.x > 0) return;
  const int64_t target = a.targets[t] - a.first_row;
  a.parts[kParts * t] = a.valid == 0 ? -INFINITY : mine.top;
  a.parts[kParts * t + 1] = mine.sum;
  a.parts[kParts * t + 2] = target >= 0 && target < a.valid ? to_float(z[target]) : 0.0f;
}

template <typename E>
__global__ void __launch_bounds__(kRowThreads) loss_grad_kernel(LossArgs<E> a) {
  const int64_t t = blockIdx.x;
  E* z = a.logits + t * a.ld;
  const float lse = a.lse[t];
  const int64_t target = a.targets[t] - a.first_row;
  for_row(z, a.ld, [&](int64_t column, auto width) {
    constexpr int W = width.value;
    float values[W];
    load_floats(z + column, values);
#pragma unroll
    for (int w = 0; w < W; ++w) {
      const float hit = column + w == target ? 1.0f : 0.0f;
      const float grad = (exp_of<E>(values[w] - lse) - hit) * a.scale;
      values[w] = column + w < a.valid ? grad : 0.0f;
    }
    store_floats(values, z + column);
  });
}

// lse of one token, in double: `ranks` is small.
__device__ inline double combine_token(const float* parts, int64_t ranks, int64_t stride) {
  float top = -INFINITY;
  for (int64_t r = 0; r < ranks; ++r) top = fmaxf(top, parts[r * stride]);
  double sum = 0;
  for (int64_t r = 0; r < ranks; ++r) {
    const float* part = parts + r * stride;
    // A rank that holds only padding has maximum -infinity and adds exp(-infinity) = 0.
    sum += part[1] * exp(static_cast<double>(part[0]) - top);
  }
  return top + log(sum);
}

__global__ void __launch_bounds__(kSumThreads)
    loss_combine_kernel(const float* parts, int64_t ranks, float* lse, int64_t T, double* partial) {
  __shared__ double shared[kSumThreads];
  const int64_t t = static_cast<int64_t>(blockIdx.x) * kSumThreads + threadIdx.x;
  double loss = 0;
  if (t < T) {
    const float* token = parts + kParts * t;
    const double token_lse = combine_token(token, ranks, kParts * T);
    double target = 0;
    for (int64_t r = 0; r < ranks; ++r) target += token[r * kParts * T + 2];
    lse[t] = static_cast<float>(token_lse);
    loss = token_lse - target;
  }
  const double sum = block_sum(loss, shared);
  if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

}  // namespace

void CudaOps::loss_local(const void* logits, const int32_t* targets, int64_t first_row,
                         int64_t valid, int64_t ld, float* parts, int64_t T) {
  if (T == 0) return;
  with_type([&](auto element) {
    using E = decltype(element);
    // The kernel only reads them.
    auto* z = const_cast<E*>(static_cast<const E*>(logits));
    launch(device_, stream(), loss_local_kernel<E>, dim3(static_cast<unsigned>(T)),
           dim3(kRowThreads), 0,
           LossArgs<E>{z, targets, first_row, valid, ld, parts, nullptr, 0.0f});
  });
}

void CudaOps::loss_combine(const float* parts, int64_t ranks, float* lse, int64_t T,
                           double* loss_sum) {
  if (T == 0) return;
  const int64_t blocks = ceil_div(T, int64_t{kSumThreads});
  auto* partial = static_cast<double*>(scratch(blocks * static_cast<Bytes>(sizeof(double))));
  launch(device_, stream(), loss_combine_kernel, dim3(static_cast<unsigned>(blocks)),
         dim3(kSumThreads), 0, parts, ranks, lse, T, partial);
  add_total(device_, stream(), partial, blocks, loss_sum);
}

void CudaOps::loss_grad(void* logits, const int32_t* targets, int64_t first_row, int64_t valid,
                        int64_t ld, const float* lse, float scale, int64_t T) {
  if (T == 0 || ld == 0) return;
  with_type([&](auto element) {
    using E = decltype(element);
    launch(
        device_, stream(), loss_grad_kernel<E>, dim3(static_cast<unsigned>(T)), dim3(kRowThreads),
        0,
        LossArgs<E>{static_cast<E*>(logits), targets, first_row, valid, ld, nullptr, lse, scale});
  });
}

}  // namespace shardwright
