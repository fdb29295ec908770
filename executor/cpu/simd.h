// Vectors as wide as the target's registers, through the compiler's vector extension: kernels are
// written once and their bits do not depend on alignment or on how the compiler splits a loop.
//
// A loop over n elements is for_lanes(n, body): body(i, lanes) with lanes = All for whole vectors
// and First{count} for the rest; load and store take the same argument.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>

namespace shardwright::simd {

#if defined(__AVX512F__)
constexpr int kLanes = 16;
#elif defined(__AVX__)
constexpr int kLanes = 8;
#else
constexpr int kLanes = 4;
#endif

typedef float Vec __attribute__((vector_size(kLanes * sizeof(float))));
typedef int32_t IntVec __attribute__((vector_size(kLanes * sizeof(int32_t))));

struct All {};
struct First {
  int count;  // 1 .. kLanes - 1
};

inline Vec load(const float* p, All = {}) {
  Vec v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
inline Vec load(const float* p, First lanes) {
  Vec v = {};
  std::memcpy(&v, p, static_cast<size_t>(lanes.count) * sizeof(float));
  return v;
}
inline void store(float* p, Vec v, All = {}) { std::memcpy(p, &v, sizeof v); }
inline void store(float* p, Vec v, First lanes) {
  std::memcpy(p, &v, static_cast<size_t>(lanes.count) * sizeof(float));
}

// Subtracting zero is nothing, also for -0; adding it would be an instruction.
inline Vec splat(float value) { return value - Vec{}; }
// A NaN in the first argument comes through, so a diverged run shows.
inline Vec max(Vec a, Vec b) { return a < b ? b : a; }
inline Vec min(Vec a, Vec b) { return a > b ? b : a; }
inline IntVec to_bits(Vec a) { return reinterpret_cast<IntVec>(a); }
inline Vec from_bits(IntVec bits) { return reinterpret_cast<Vec>(bits); }
inline Vec abs(Vec a) { return from_bits(to_bits(a) & 0x7fffffff); }
inline Vec square_root(Vec a) {
  Vec root;
  for (int lane = 0; lane < kLanes; ++lane) root[lane] = __builtin_sqrtf(a[lane]);
  return root;
}

inline IntVec lane_index() {
  IntVec index;
  for (int lane = 0; lane < kLanes; ++lane) index[lane] = lane;
  return index;
}
// v in the first lanes, `rest` in the others.
inline Vec select(Vec v, Vec, All) { return v; }
inline Vec select(Vec v, Vec rest, First lanes) { return lane_index() < lanes.count ? v : rest; }

// Lane i is lane i + width of v, cyclically.
inline Vec rotated(Vec v, int width) {
  return __builtin_shuffle(v, (lane_index() + width) & (kLanes - 1));
}
// Pairwise over halves: always the same order.
inline float sum(Vec v) {
#pragma GCC unroll 4
  for (int width = kLanes / 2; width > 0; width /= 2) v += rotated(v, width);
  return v[0];
}
inline float largest(Vec v) {
#pragma GCC unroll 4
  for (int width = kLanes / 2; width > 0; width /= 2) v = max(v, rotated(v, width));
  return v[0];
}

template <typename Body>
inline void for_lanes(int64_t n, Body&& body) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) body(i, All{});
  if (i < n) body(i, First{static_cast<int>(n - i)});
}

// Sums over i < n of the `Count` vectors that terms(i, lanes) returns in an array. Four partial
// sums hide the latency of addition; their order is fixed by n alone.
template <size_t Count, typename Terms>
inline std::array<float, Count> sums_over(int64_t n, Terms&& terms) {
  constexpr int kParts = 4;
  Vec part[kParts][Count] = {};
  const auto add = [&](Vec * to, int64_t i, auto lanes) __attribute__((always_inline)) {
    const std::array<Vec, Count> term = terms(i, lanes);
    for (size_t c = 0; c < Count; ++c) to[c] += select(term[c], Vec{}, lanes);
  };
  int64_t i = 0;
  for (; i + kParts * kLanes <= n; i += kParts * kLanes) {
    for (int k = 0; k < kParts; ++k) add(part[k], i + k * kLanes, All{});
  }
  for (; i + kLanes <= n; i += kLanes) add(part[0], i, All{});
  if (i < n) add(part[1], i, First{static_cast<int>(n - i)});
  std::array<float, Count> total;
  for (size_t c = 0; c < Count; ++c) {
    total[c] = sum((part[0][c] + part[1][c]) + (part[2][c] + part[3][c]));
  }
  return total;
}

}  // namespace shardwright::simd
