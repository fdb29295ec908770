// Optimizer steps over flat buffers, each in one pass.
//
// Memory traffic in bytes per element, with w of the size of the compute type: adamw 28 + w (p, m,
// v in and out, g in, w out), sgd 12 + w, square_sum 4.
#include <cmath>

#include "executor/cuda/cuda_ops_impl.h"
#include "executor/cuda/flat.h"
#include "executor/cuda/sums.h"

namespace shardwright {
namespace {

template <typename E>
struct UpdateArgs {
  FlatShape shape;
  float* p;
  E* w;
  const float* g;
  float *m, *v;
  AdamWSettings settings;
  const StepScalars* scalars;
};

// Decoupled weight decay (Loshchilov and Hutter, "Decoupled Weight Decay Regularization"):
//   p -= lr (mhat / (sqrt(vhat) + eps) + weight_decay p), mhat = m / correction1, vhat likewise.
template <typename E>
__global__ void __launch_bounds__(kElementwiseThreads) adamw_kernel(UpdateArgs<E> a) {
  const AdamWSettings s = a.settings;
  const StepScalars now = *a.scalars;
  const float keep = 1.0f - now.lr * s.weight_decay, step = now.lr / now.correction1;
  const float inv_root = 1.0f / sqrtf(now.correction2);
  const float fresh1 = 1.0f - s.beta1, fresh2 = 1.0f - s.beta2;
  for_flat(a.shape, [&](int64_t i, auto width) {
    constexpr int W = width.value;
    float p[W], g[W], m[W], v[W];
    load_floats(a.p + i, p);
    load_floats(a.g + i, g);
    load_floats(a.m + i, m);
    load_floats(a.v + i, v);
#pragma unroll
    for (int w = 0; w < W; ++w) {
      const float grad = g[w] * now.grad_scale;
      m[w] = s.beta1 * m[w] + fresh1 * grad;
      v[w] = s.beta2 * v[w] + fresh2 * (grad * grad);
      p[w] = keep * p[w] - step * (m[w] / (sqrtf(v[w]) * inv_root + s.eps));
    }
    store_floats(m, a.m + i);
    store_floats(v, a.v + i);
    store_floats(p, a.p + i);
    if (a.w != nullptr) store_floats(p, a.w + i);
  });
}

template <typename E>
__global__ void __launch_bounds__(kElementwiseThreads) sgd_kernel(UpdateArgs<E> a) {
  const StepScalars now = *a.scalars;
  for_flat(a.shape, [&](int64_t i, auto width) {
    constexpr int W = width.value;
    float p[W], g[W];
    load_floats(a.p + i, p);
    load_floats(a.g + i, g);
#pragma unroll
    for (int w = 0; w < W; ++w) {
      p[w] -= now.lr * (now.grad_scale * g[w] + a.settings.weight_decay * p[w]);
    }
    store_floats(p, a.p + i);
    if (a.w != nullptr) store_floats(p, a.w + i);
  });
}

// A thread adds the squares of four elements in float and everything else in double.
__global__ void __launch_bounds__(kSumThreads)
    square_sum_kernel(FlatShape shape, const float* g, double* partial) {
  __shared__ double shared[kSumThreads];
  double mine = 0;
  for_flat<4>(shape, [&](int64_t i, auto width) {
    float values[width.value], squares = 0;
    load_floats(g + i, values);
#pragma unroll
    for (int w = 0; w < width.value; ++w) squares += values[w] * values[w];
    mine += squares;
  });
  const double sum = block_sum(mine, shared);
  if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

__global__ void clip_scale_kernel(const double* square_sum, float limit, float* scale) {
  const double ratio = limit / (sqrt(*square_sum) + 1e-6);
  *scale = limit == 0.0f || ratio > 1.0 ? 1.0f : static_cast<float>(ratio);
}

}  // namespace

void CudaOps::adamw(float* p, void* w, const float* g, float* m, float* v, int64_t n,
                    const AdamWSettings& settings, const StepScalars* scalars) {
  if (n == 0) return;
  with_type([&](auto element) {
    using E = decltype(element);
    auto* rounded = static_cast<E*>(w);
    launch(
        device_, stream(), adamw_kernel<E>, flat_grid(device_, n), dim3(kElementwiseThreads), 0,
        UpdateArgs<E>{flat_shape(n, p, rounded, g, m, v), p, rounded, g, m, v, settings, scalars});
  });
}

void CudaOps::sgd(float* p, void* w, const float* g, int64_t n, float weight_decay,
                  const StepScalars* scalars) {
  if (n == 0) return;
  with_type([&](auto element) {
    using E = decltype(element);
    auto* rounded = static_cast<E*>(w);
    launch(device_, stream(), sgd_kernel<E>, flat_grid(device_, n), dim3(kElementwiseThreads), 0,
           UpdateArgs<E>{flat_shape(n, p, rounded, g),
                         p,
                         rounded,
                         g,
                         nullptr,
                         nullptr,
                         {0, 0, 0, weight_decay},
                         scalars});
  });
}

void CudaOps::square_sum(const float* g, int64_t n, double* sum) {
  if (n == 0) return;
  // Eight blocks of 256 threads are what a multiprocessor holds.
  const int64_t blocks =
      std::min(ceil_div(n, int64_t{kSumThreads} * kFlatGroup), 8 * multiprocessors(device_));
  auto* partial = static_cast<double*>(scratch(blocks * static_cast<Bytes>(sizeof(double))));
  launch(device_, stream(), square_sum_kernel, dim3(static_cast<unsigned>(blocks)),
         dim3(kSumThreads), 0, flat_shape(n, g), g, partial);
  add_total(device_, stream(), partial, blocks, sum);
}

void CudaOps::clip_scale(const double* square_sum, float limit, float* scale) {
  launch(device_, stream(), clip_scale_kernel, dim3(1), dim3(1), 0, square_sum, limit, scale);
}

}  // namespace shardwright
