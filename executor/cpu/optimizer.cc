// Optimizer steps and the plain operations on flat buffers.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "executor/cpu/cpu_ops_impl.h"
#include "executor/cpu/simd.h"

namespace shardwright {

using simd::for_lanes;
using simd::load;
using simd::store;
using simd::Vec;

// Decoupled weight decay (Loshchilov and Hutter, "Decoupled Weight Decay Regularization"):
//   p -= lr (mhat / (sqrt(vhat) + eps) + weight_decay p), mhat = m / correction1, vhat likewise.
void CpuOps::adamw(float* p, const float* g, float* m, float* v, int64_t n,
                   const AdamWSettings& s) {
  const float keep = 1.0f - s.lr * s.weight_decay, step = s.lr / s.correction1;
  const float inv_root = 1.0f / std::sqrt(s.correction2);
  const float fresh1 = 1.0f - s.beta1, fresh2 = 1.0f - s.beta2;
  for_lanes(n, [&](int64_t i, auto lanes) {
    const Vec grad = load(g + i, lanes) * s.grad_scale;
    const Vec first = s.beta1 * load(m + i, lanes) + fresh1 * grad;
    const Vec second = s.beta2 * load(v + i, lanes) + fresh2 * (grad * grad);
    const Vec update = first / (simd::square_root(second) * inv_root + s.eps);
    store(m + i, first, lanes);
    store(v + i, second, lanes);
    store(p + i, keep * load(p + i, lanes) - step * update, lanes);
  });
}

void CpuOps::sgd(float* p, const float* g, int64_t n, float lr, float grad_scale,
                 float weight_decay) {
  for_lanes(n, [&](int64_t i, auto lanes) {
    const Vec old = load(p + i, lanes);
    store(p + i, old - lr * (grad_scale * load(g + i, lanes) + weight_decay * old), lanes);
  });
}

// Blocks are summed in float (16 additions per lane at the widest) and joined in double.
double CpuOps::square_sum(const float* g, int64_t n) {
  constexpr int64_t kBlock = 1024;
  double total = 0;
  for (int64_t at = 0; at < n; at += kBlock) {
    total += simd::sums_over<1>(std::min(kBlock, n - at), [&](int64_t i, auto lanes) {
      const Vec value = load(g + at + i, lanes);
      return std::array<Vec, 1>{value * value};
    })[0];
  }
  return total;
}

void CpuOps::fill(float* p, float value, int64_t n) { std::fill_n(p, n, value); }

void CpuOps::copy(float* to, const float* from, int64_t n) {
  if (n > 0) std::memcpy(to, from, static_cast<size_t>(n) * sizeof(float));
}

void CpuOps::add_into(float* sum, const float* x, int64_t n) {
  for_lanes(n, [&](int64_t i, auto lanes) {
    store(sum + i, load(sum + i, lanes) + load(x + i, lanes), lanes);
  });
}

}  // namespace shardwright
