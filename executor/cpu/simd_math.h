// Elementary functions on vectors. Errors are stated for arguments where the result is a normal
// number; a scalar library call per element would take ten times as long.
#pragma once

#include <cstdint>
#include <cstring>

#include "executor/cpu/simd.h"

namespace shardwright::simd {

// Within 2 units in the last place; 0 below -87.3 (where the result would be denormal), finite
// above 88.
inline Vec exp(Vec x) {
  // x = n ln2 + r, |r| <= ln2 / 2. Adding and taking away 1.5 * 2^23 rounds to an integer.
  constexpr float kRound = 12582912.0f;
  const Vec clamped = max(min(x, splat(88.0f)), splat(-87.3f));
  const Vec n = (clamped * 1.44269504f + kRound) - kRound;
  const Vec r = (clamped - n * 0.693359375f) + n * 2.12194440e-4f;  // ln2 in two parts
  // Chebyshev interpolation of degree 6 on |r| <= ln2 / 2, error 2e-9.
  Vec p = r * 0.00139412131f + 0.0083752102f;
  p = p * r + 0.0416663516f;
  p = p * r + 0.166664145f;
  p = p * r + 0.500000005f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  const IntVec power = (__builtin_convertvector(n, IntVec) + 127) << 23;  // bits of 2^n
  Vec scale;
  std::memcpy(&scale, &power, sizeof scale);
  return x < -87.3f ? Vec{} : p * scale;
}

// 1 / (1 + exp(-x)); tanh(x) is 2 sigmoid(2x) - 1.
inline Vec sigmoid(Vec x) { return 1.0f / (1.0f + exp(-x)); }

// The normal distribution function, (1 + erf(x / sqrt2)) / 2, to 1e-7 absolute and 1e-6 relative
// for |x| <= 6. The tail for z = |x| is exp(-z q(z)) / 2 with smooth q = -log(erfc(z / sqrt2)) / z,
// here its Chebyshev interpolation of degree 10 on [0, 6].
inline Vec normal_cdf(Vec x) {
  const Vec z = abs(x);
  const Vec t = min(z, splat(6.0f)) * (1.0f / 3.0f) - 1.0f;
  Vec q = t * -0.000112789786f + 0.000266081206f;
  q = q * t - 0.000161418782f;
  q = q * t - 0.000209651532f;
  q = q * t + 0.0013166956f;
  q = q * t - 0.00487955779f;
  q = q * t + 0.0140863551f;
  q = q * t - 0.03539002f;
  q = q * t + 0.0825888992f;
  q = q * t + 1.31157266f;
  q = q * t + 1.97152635f;
  const Vec tail = 0.5f * exp(-z * q);
  return x < 0.0f ? tail : 1.0f - tail;
}

// Its derivative, exp(-x^2 / 2) / sqrt(2 pi).
inline Vec normal_pdf(Vec x) { return 0.398942280f * exp(-0.5f * x * x); }

}  // namespace shardwright::simd
