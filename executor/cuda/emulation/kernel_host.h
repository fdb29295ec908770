// The device's words for the host compiler: what kernel.h gives kernel sources when nvcc is not the
// one that reads them. Meanings are those of the CUDA C++ Programming Guide, with every rule that
// the emulation can check checked (execution.h).
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <string>

#include "executor/cuda/bf16.h"
#include "executor/cuda/emulation/execution.h"

#define __global__
#define __device__
#define __host__
#define __constant__ static
#define __forceinline__ inline
#define __shared__ static
#define __launch_bounds__(...)
#define __align__(bytes) __attribute__((aligned(bytes)))

struct uint3 {
  unsigned x = 0, y = 0, z = 0;
};
struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}  // NOLINT
};
struct float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct uint2 {
  uint32_t x, y;
};
struct alignas(16) uint4 {
  uint32_t x, y, z, w;
};
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline uint2 make_uint2(uint32_t x, uint32_t y) { return {x, y}; }
inline uint4 make_uint4(uint32_t x, uint32_t y, uint32_t z, uint32_t w) { return {x, y, z, w}; }

// Of the thread that is running.
extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;
constexpr int warpSize = 32;

inline void __syncthreads(shardwright::emulation::Site site = {}) {
  shardwright::emulation::block_barrier(site);
}

namespace shardwright::emulation {

struct Shuffled {
  uint64_t value, result;
  int from;  // lane, -1: its own
};
void run_shuffle(const WarpCall& call);

template <typename T>
T shuffle(const char* name, uint32_t mask, T value, int from, Site site) {
  static_assert(sizeof(T) == 4 || sizeof(T) == 8);
  Shuffled lane{0, 0, from};
  std::memcpy(&lane.value, &value, sizeof(T));
  warp_collective(name, mask, site, &lane, run_shuffle);
  std::memcpy(&value, &lane.result, sizeof(T));
  return value;
}
uint32_t ballot(const char* name, uint32_t mask, bool vote, Site site);

// The lane `offset` away within groups of `width` lanes, -1 when there is none.
inline int lane_in_group(int target, int width) {
  const int lane = static_cast<int>(lane_id());
  return target / width == lane / width && target >= 0 ? target : -1;
}

}  // namespace shardwright::emulation

template <typename T>
T __shfl_sync(uint32_t mask, T value, int lane, int width = 32,
              shardwright::emulation::Site site = {}) {
  const int self = static_cast<int>(shardwright::emulation::lane_id());
  return shardwright::emulation::shuffle("__shfl_sync", mask, value,
                                         self / width * width + (lane & (width - 1)), site);
}
template <typename T>
T __shfl_xor_sync(uint32_t mask, T value, int bits, int width = 32,
                  shardwright::emulation::Site site = {}) {
  const int self = static_cast<int>(shardwright::emulation::lane_id());
  return shardwright::emulation::shuffle("__shfl_xor_sync", mask, value,
                                         shardwright::emulation::lane_in_group(self ^ bits, width),
                                         site);
}
template <typename T>
T __shfl_down_sync(uint32_t mask, T value, unsigned delta, int width = 32,
                   shardwright::emulation::Site site = {}) {
  const int target = static_cast<int>(shardwright::emulation::lane_id() + delta);
  return shardwright::emulation::shuffle(
      "__shfl_down_sync", mask, value, shardwright::emulation::lane_in_group(target, width), site);
}
template <typename T>
T __shfl_up_sync(uint32_t mask, T value, unsigned delta, int width = 32,
                 shardwright::emulation::Site site = {}) {
  const int target = static_cast<int>(shardwright::emulation::lane_id()) - static_cast<int>(delta);
  return shardwright::emulation::shuffle(
      "__shfl_up_sync", mask, value, shardwright::emulation::lane_in_group(target, width), site);
}
inline uint32_t __ballot_sync(uint32_t mask, bool vote, shardwright::emulation::Site site = {}) {
  return shardwright::emulation::ballot("__ballot_sync", mask, vote, site);
}
inline int __any_sync(uint32_t mask, bool vote, shardwright::emulation::Site site = {}) {
  return shardwright::emulation::ballot("__any_sync", mask, vote, site) != 0;
}
inline int __all_sync(uint32_t mask, bool vote, shardwright::emulation::Site site = {}) {
  return shardwright::emulation::ballot("__all_sync", mask, vote, site) == mask;
}
void __syncwarp(uint32_t mask = 0xffffffffu, shardwright::emulation::Site site = {});

inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }
inline float __fdividef(float a, float b) { return a / b; }
inline uint32_t __float_as_uint(float x) { return std::bit_cast<uint32_t>(x); }
inline float __uint_as_float(uint32_t x) { return std::bit_cast<float>(x); }
inline int __float_as_int(float x) { return std::bit_cast<int>(x); }
inline float __int_as_float(int x) { return std::bit_cast<float>(x); }
inline int __popc(uint32_t x) { return std::popcount(x); }
inline int __clz(uint32_t x) { return std::countl_zero(x); }
template <typename T>
T __ldg(const T* from) {
  return *from;
}

namespace shardwright {

using std::max;
using std::min;

template <typename T>
T* dynamic_shared() {
  return reinterpret_cast<T*>(emulation::dynamic_shared_memory());
}

template <typename T>
Pack<T> load_pack(const T* from, emulation::Site site = {}) {
  emulation::check(reinterpret_cast<uintptr_t>(from) % 16 == 0, site, "load_pack: not 16-aligned");
  Pack<T> out;
  std::memcpy(&out, from, sizeof(out));
  return out;
}
template <typename T>
void store_pack(T* to, const Pack<T>& pack, emulation::Site site = {}) {
  emulation::check(reinterpret_cast<uintptr_t>(to) % 16 == 0, site, "store_pack: not 16-aligned");
  std::memcpy(to, &pack, sizeof(pack));
}

inline float fast_exp2(float x) { return std::exp2(x); }
inline float fast_exp(float x) { return std::exp2(x * 1.4426950408889634f); }
inline float fast_rsqrt(float x) { return 1.0f / std::sqrt(x); }
inline float fast_tanh(float x) { return std::tanh(x); }

}  // namespace shardwright
