// bf16: the upper half of an fp32 number, as two bytes that both sides understand, and packs of 16
// bytes. Kernels are templates over the element type T, float or bf16, and compute in float.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

#ifdef __CUDACC__
#define SW_HOST_DEVICE __host__ __device__ __forceinline__
#else
#define SW_HOST_DEVICE inline
#endif

namespace shardwright {

struct bf16 {
  uint16_t bits;
};

SW_HOST_DEVICE uint32_t bits_of(float value) {
#ifdef __CUDA_ARCH__
  return __float_as_uint(value);
#else
  return std::bit_cast<uint32_t>(value);
#endif
}
SW_HOST_DEVICE float float_of(uint32_t bits) {
#ifdef __CUDA_ARCH__
  return __uint_as_float(bits);
#else
  return std::bit_cast<float>(bits);
#endif
}

SW_HOST_DEVICE float to_float(bf16 value) { return float_of(uint32_t{value.bits} << 16); }
SW_HOST_DEVICE float to_float(float value) { return value; }

// To the nearest, ties to even; NaN stays NaN.
SW_HOST_DEVICE bf16 to_bf16(float value) {
#ifdef __CUDA_ARCH__
  bf16 out;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(out.bits) : "f"(value));
  return out;
#else
  const uint32_t bits = bits_of(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return {static_cast<uint16_t>(bits >> 16 | 0x40u)};
  return {static_cast<uint16_t>((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16)};
#endif
}

// from_float<T>(x): x rounded to T.
template <typename T>
SW_HOST_DEVICE T from_float(float value);
template <>
SW_HOST_DEVICE float from_float<float>(float value) {
  return value;
}
template <>
SW_HOST_DEVICE bf16 from_float<bf16>(float value) {
  return to_bf16(value);
}

// Two rounded numbers in one register, `low` in the lower half: the form of matrix fragments.
SW_HOST_DEVICE uint32_t pack_bf16x2(float low, float high) {
#ifdef __CUDA_ARCH__
  uint32_t out;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(out) : "f"(high), "f"(low));
  return out;
#else
  return uint32_t{to_bf16(low).bits} | uint32_t{to_bf16(high).bits} << 16;
#endif
}

// 16 bytes of elements: what one thread moves best at a time.
template <typename T>
struct alignas(16) Pack {
  static constexpr int kSize = 16 / static_cast<int>(sizeof(T));
  T at[kSize];
};

}  // namespace shardwright
