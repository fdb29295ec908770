// What a kernel source includes. The same source is compiled twice: by nvcc for the device, and as
// plain C++20 for the host, where emulation/kernel_host.h stands in for the device so that tests
// can run it anywhere.
//
// The dialect that both understand: __global__ __device__ __launch_bounds__ __restrict__
// __shared__ T x[n], threadIdx blockIdx blockDim gridDim, __syncthreads __syncwarp __shfl_*sync
// __any_sync __all_sync __ballot_sync, min max and the float functions of <cmath>. Kernels and
// every function that declares __shared__ variables are in an anonymous namespace (the emulation
// finds the variables by that). Dynamic shared memory is dynamic_shared<T>(). Launches are calls of
// launch(), never <<<>>>. No atomics on floats: results must not depend on an order.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <tuple>
#include <type_traits>
#include <utility>

#include "executor/cuda/bf16.h"
#include "executor/cuda/device.h"

#ifndef __CUDACC__
#include "executor/cuda/emulation/kernel_host.h"
#else

namespace shardwright {

// The block's dynamic shared memory, seen as T; 128-byte aligned.
template <typename T>
__device__ __forceinline__ T* dynamic_shared() {
  extern __shared__ __align__(128) unsigned char shardwright_dynamic_shared[];
  return reinterpret_cast<T*>(shardwright_dynamic_shared);
}

// 16 bytes at once; `from` and `to` must be 16-byte aligned.
template <typename T>
__device__ __forceinline__ Pack<T> load_pack(const T* from) {
  const uint4 raw = *reinterpret_cast<const uint4*>(from);
  Pack<T> out;
  memcpy(&out, &raw, sizeof(raw));
  return out;
}
template <typename T>
__device__ __forceinline__ void store_pack(T* to, const Pack<T>& pack) {
  uint4 raw;
  memcpy(&raw, &pack, sizeof(raw));
  *reinterpret_cast<uint4*>(to) = raw;
}

// The device's own approximations: about 2 units in the last place of fp32 for exp2 and rsqrt,
// fast_exp in addition |x| * 2^-24 relative, fast_tanh 2^-11 relative (PTX ISA, ex2.approx,
// rsqrt.approx, tanh.approx).
__device__ __forceinline__ float fast_exp2(float x) {
  float out;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(out) : "f"(x));
  return out;
}
__device__ __forceinline__ float fast_exp(float x) { return fast_exp2(x * 1.4426950408889634f); }
__device__ __forceinline__ float fast_rsqrt(float x) { return rsqrtf(x); }
__device__ __forceinline__ float fast_tanh(float x) {
  float out;
  asm("tanh.approx.f32 %0, %1;" : "=f"(out) : "f"(x));
  return out;
}

}  // namespace shardwright
#endif

namespace shardwright {

// Gives `kernel` to the stream. Arguments are converted to the kernel's own types and copied.
template <typename... P, typename... A>
void launch(LaunchSite site, Stream stream, void (*kernel)(P...), dim3 grid, dim3 block,
            size_t shared_bytes, A&&... args) {
  static_assert(sizeof...(P) == sizeof...(A), "the kernel takes another number of arguments");
  std::tuple<std::remove_cv_t<P>...> values(static_cast<P>(args)...);
  Launch call;
  call.place = site.place;
  call.kernel = reinterpret_cast<const void*>(kernel);
  call.grid = {grid.x, grid.y, grid.z};
  call.block = {block.x, block.y, block.z};
  call.shared_bytes = static_cast<Bytes>(shared_bytes);
#ifndef __CUDACC__
  call.body = [kernel, values] { std::apply(kernel, values); };
#endif
  std::apply(
      [&](auto&... value) {
        void* pointers[sizeof...(P) + 1] = {const_cast<void*>(static_cast<const void*>(&value))...,
                                            nullptr};
        call.arguments = pointers;
        site.device.launch(stream, call);
      },
      values);
}

}  // namespace shardwright
