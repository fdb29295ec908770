// Softmax cross-entropy over a vocabulary that may be split between ranks: each rank reduces its
// columns to three numbers per token, and their combination gives every rank the same lse.
#include <cmath>
#include <limits>

#include "executor/cpu/cpu_ops_impl.h"
#include "executor/cpu/simd.h"
#include "executor/cpu/simd_math.h"

namespace shardwright {
namespace {

using simd::for_lanes;
using simd::load;
using simd::store;
using simd::Vec;

constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();
constexpr int64_t kParts = 3;  // local max, sum of exponentials, target logit

float row_max(const float* z, int64_t n) {
  const Vec lowest = simd::splat(kMinusInfinity);
  Vec even = lowest, odd = lowest;
  int64_t i = 0;
  for (; i + 2 * simd::kLanes <= n; i += 2 * simd::kLanes) {
    even = simd::max(even, load(z + i));
    odd = simd::max(odd, load(z + i + simd::kLanes));
  }
  for_lanes(n - i, [&](int64_t k, auto lanes) {
    even = simd::max(even, simd::select(load(z + i + k, lanes), lowest, lanes));
  });
  return simd::largest(simd::max(even, odd));
}

// lse of one token, in double: `ranks` is small.
double combine_token(const float* parts, int64_t ranks, int64_t stride) {
  float top = kMinusInfinity;
  for (int64_t r = 0; r < ranks; ++r) top = std::fmax(top, parts[r * stride]);
  double sum = 0;
  for (int64_t r = 0; r < ranks; ++r) {
    const float* part = parts + r * stride;
    // A rank that holds only padding has maximum -infinity and adds exp(-infinity) = 0.
    sum += part[1] * std::exp(static_cast<double>(part[0]) - top);
  }
  return top + std::log(sum);
}

}  // namespace

void CpuOps::loss_local(const float* logits, const int32_t* targets, int64_t first_row,
                        int64_t valid, int64_t ld, float* parts, int64_t T) {
  for (int64_t t = 0; t < T; ++t) {
    const float* z = logits + t * ld;
    const float top = row_max(z, valid);
    const int64_t target = targets[t] - first_row;
    parts[kParts * t] = top;
    parts[kParts * t + 1] = simd::sums_over<1>(valid, [&](int64_t i, auto lanes) {
      return std::array<Vec, 1>{simd::exp(load(z + i, lanes) - top)};
    })[0];
    parts[kParts * t + 2] = target >= 0 && target < valid ? z[target] : 0.0f;
  }
}

void CpuOps::loss_combine(const float* parts, int64_t ranks, float* lse, int64_t T,
                          double* loss_sum) {
  double total = 0;
  for (int64_t t = 0; t < T; ++t) {
    const float* token = parts + kParts * t;
    const double token_lse = combine_token(token, ranks, kParts * T);
    double target = 0;
    for (int64_t r = 0; r < ranks; ++r) target += token[r * kParts * T + 2];
    lse[t] = static_cast<float>(token_lse);
    total += token_lse - target;
  }
  *loss_sum += total;
}

void CpuOps::loss_grad(float* logits, const int32_t* targets, int64_t first_row, int64_t valid,
                       int64_t ld, const float* lse, float scale, int64_t T) {
  for (int64_t t = 0; t < T; ++t) {
    float* z = logits + t * ld;
    for_lanes(valid, [&](int64_t i, auto lanes) {
      store(z + i, simd::exp(load(z + i, lanes) - lse[t]) * scale, lanes);
    });
    fill(z + valid, 0.0f, ld - valid);
    const int64_t target = targets[t] - first_row;
    if (target >= 0 && target < valid) z[target] -= scale;
  }
}

}  // namespace shardwright
