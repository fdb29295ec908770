// The plain operations on flat buffers.
#include "executor/cuda/cuda_ops_impl.h"
#include "executor/cuda/kernel.h"

namespace shardwright {
namespace {

constexpr int kThreads = 256;

// Enough blocks to fill the device a few times over; each thread walks on in steps of the grid.
dim3 flat_grid(const Device& device, int64_t n) {
  const int64_t blocks = ceil_div(n, kThreads);
  return dim3(static_cast<unsigned>(std::min<int64_t>(blocks, device.properties().sm_count * 8)));
}

__device__ inline int64_t first_index() { return int64_t{blockIdx.x} * blockDim.x + threadIdx.x; }
__device__ inline int64_t grid_step() { return int64_t{gridDim.x} * blockDim.x; }

__global__ void __launch_bounds__(kThreads) fill_kernel(float* p, float value, int64_t n) {
  for (int64_t i = first_index(); i < n; i += grid_step()) p[i] = value;
}

template <typename T>
__global__ void __launch_bounds__(kThreads) cast_kernel(const float* from, T* to, int64_t n) {
  for (int64_t i = first_index(); i < n; i += grid_step()) to[i] = from_float<T>(from[i]);
}

__global__ void __launch_bounds__(kThreads) add_kernel(float* sum, const float* x, int64_t n) {
  for (int64_t i = first_index(); i < n; i += grid_step()) sum[i] += x[i];
}

}  // namespace

void CudaOps::fill(float* p, float value, int64_t n) {
  if (n > 0)
    launch(device_, stream(), fill_kernel, flat_grid(device_, n), kThreads, 0, p, value, n);
}

void CudaOps::cast(const float* from, void* to, int64_t n) {
  if (n == 0) return;
  if (type_ == DataType::kFp32) return copy(to, from, n * 4);
  launch(device_, stream(), cast_kernel<bf16>, flat_grid(device_, n), kThreads, 0, from,
         static_cast<bf16*>(to), n);
}

void CudaOps::add_into(float* sum, const float* x, int64_t n) {
  if (n > 0) launch(device_, stream(), add_kernel, flat_grid(device_, n), kThreads, 0, sum, x, n);
}

}  // namespace shardwright
