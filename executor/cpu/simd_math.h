// Elementary functions on vectors. Errors are stated for arguments where the result is a normal
// number; a scalar library call per element would take ten times as long.
#pragma once

#include "executor/cpu/simd.h"

namespace shardwright::simd {

// Within 2 units in the last place; 0 below -87.3 (where the result would be denormal), exp(88)
// above 88.
inline Vec exp(Vec x) {
  // x = n ln2 + r, |r| <= ln2 / 2. Adding 1.5 * 2^23 rounds to an integer and leaves it in the low
  // bits of the sum; with 127 added too, these are the exponent bits of 2^n.
  constexpr float kRound = 12582912.0f + 127.0f;
  const Vec shifted = x * 1.44269504f + kRound;
  const Vec n = shifted - kRound;
  const Vec r = (x - n * 0.693359375f) + n * 2.12194440e-4f;  // ln2 in two parts
  // Chebyshev interpolation of degree 6 on |r| <= ln2 / 2, error 2e-9, in short chains: the latency
  // of one after the other is what limits a loop.
  const Vec r2 = r * r;
  const Vec high = 0.00139412131f * r2 + (0.0083752102f * r + 0.0416663516f);
  const Vec p = (high * r2 + (0.166664145f * r + 0.500000005f)) * r2 + (r + 1.0f);
  const Vec result = p * from_bits(to_bits(shifted) << 23);
  return x < -87.3f ? Vec{} : x > 88.0f ? splat(1.65163626e38f) : result;
}

// 1 / (1 + exp(-x)); tanh(x) is 2 sigmoid(2x) - 1.
inline Vec sigmoid(Vec x) { return 1.0f / (1.0f + exp(-x)); }

// The normal distribution function, (1 + erf(x / sqrt2)) / 2, to 1e-7 absolute and 1e-6 relative
// for |x| <= 6. The tail for z = |x| is exp(-z q(z)) / 2 with smooth q = -log(erfc(z / sqrt2)) / z,
// here its Chebyshev interpolation of degree 10 on [0, 6].
inline Vec normal_cdf(Vec x) {
  const Vec z = abs(x);
  const Vec t = min(z, splat(6.0f)) * (1.0f / 3.0f) - 1.0f;
  const Vec t2 = t * t, t4 = t2 * t2;
  const Vec q0 = (1.31157266f * t + 1.97152635f) + (-0.03539002f * t + 0.0825888992f) * t2;
  const Vec q4 =
      (-0.00487955779f * t + 0.0140863551f) + (-0.000209651532f * t + 0.0013166956f) * t2;
  const Vec q8 = (0.000266081206f * t - 0.000161418782f) - 0.000112789786f * t2;
  const Vec q = q0 + t4 * (q4 + t4 * q8);
  const Vec tail = 0.5f * exp(-z * q);
  return x < 0.0f ? tail : 1.0f - tail;
}

// Its derivative, exp(-x^2 / 2) / sqrt(2 pi).
inline Vec normal_pdf(Vec x) { return 0.398942280f * exp(-0.5f * x * x); }

}  // namespace shardwright::simd
