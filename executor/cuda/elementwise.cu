// The plain operations on flat buffers, each in one pass.
//
// Memory traffic in bytes per element: fill 4, cast 4 and the size of the compute type,
// add_into 12.
#include "executor/cuda/cuda_ops_impl.h"
#include "executor/cuda/flat.h"

namespace shardwright {
namespace {

template <typename E>
__global__ void __launch_bounds__(kElementwiseThreads)
    cast_kernel(FlatShape shape, const float* from, E* to) {
  for_flat(shape, [&](int64_t i, auto width) {
    float values[width.value];
    load_floats(from + i, values);
    store_floats(values, to + i);
  });
}

__global__ void __launch_bounds__(kElementwiseThreads)
    fill_kernel(FlatShape shape, float* p, float value) {
  for_flat(shape, [&](int64_t i, auto width) {
    float values[width.value];
#pragma unroll
    for (int w = 0; w < width.value; ++w) values[w] = value;
    store_floats(values, p + i);
  });
}

__global__ void __launch_bounds__(kElementwiseThreads)
    add_into_kernel(FlatShape shape, float* sum, const float* x) {
  for_flat(shape, [&](int64_t i, auto width) {
    float total[width.value], values[width.value];
    load_floats(sum + i, total);
    load_floats(x + i, values);
#pragma unroll
    for (int w = 0; w < width.value; ++w) total[w] += values[w];
    store_floats(total, sum + i);
  });
}

}  // namespace

void CudaOps::cast(const float* from, void* to, int64_t n) {
  if (n == 0) return;
  with_type([&](auto element) {
    using E = decltype(element);
    auto* rounded = static_cast<E*>(to);
    launch(device_, stream(), cast_kernel<E>, flat_grid(device_, n), dim3(kElementwiseThreads), 0,
           flat_shape(n, from, rounded), from, rounded);
  });
}

void CudaOps::fill(float* p, float value, int64_t n) {
  if (n == 0) return;
  launch(device_, stream(), fill_kernel, flat_grid(device_, n), dim3(kElementwiseThreads), 0,
         flat_shape(n, p), p, value);
}

void CudaOps::add_into(float* sum, const float* x, int64_t n) {
  if (n == 0) return;
  launch(device_, stream(), add_into_kernel, flat_grid(device_, n), dim3(kElementwiseThreads), 0,
         flat_shape(n, sum, x), sum, x);
}

}  // namespace shardwright
