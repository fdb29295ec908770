// Optimizer steps and the plain operations on flat buffers.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "costmodel/check.h"
#include "executor/cpu/cpu_ops_impl.h"
#include "executor/cpu/simd.h"

namespace shardwright {

using simd::for_lanes;
using simd::load;
using simd::store;
using simd::Vec;

// Decoupled weight decay (Loshchilov and Hutter, "Decoupled Weight Decay Regularization"):
//   p -= lr (mhat / (sqrt(vhat) + eps) + weight_decay p), mhat = m / correction1, vhat likewise.
void CpuOps::adamw(float* p, void* w, const float* g, float* m, float* v, int64_t n,
                   const AdamWSettings& s, const StepScalars* scalars) {
  SW_CHECK(w == nullptr, "a copy of weights whose compute type is fp32");
  const float lr = scalars->lr, scale = scalars->grad_scale;
  const float keep = 1.0f - lr * s.weight_decay, step = lr / scalars->correction1;
  const float inv_root = 1.0f / std::sqrt(scalars->correction2);
  const float fresh1 = 1.0f - s.beta1, fresh2 = 1.0f - s.beta2;
  for_lanes(n, [&](int64_t i, auto lanes) {
    const Vec grad = load(g + i, lanes) * scale;
    const Vec first = s.beta1 * load(m + i, lanes) + fresh1 * grad;
    const Vec second = s.beta2 * load(v + i, lanes) + fresh2 * (grad * grad);
    const Vec update = first / (simd::square_root(second) * inv_root + s.eps);
    store(m + i, first, lanes);
    store(v + i, second, lanes);
    store(p + i, keep * load(p + i, lanes) - step * update, lanes);
  });
}

void CpuOps::sgd(float* p, void* w, const float* g, int64_t n, float weight_decay,
                 const StepScalars* scalars) {
  SW_CHECK(w == nullptr, "a copy of weights whose compute type is fp32");
  const float lr = scalars->lr, grad_scale = scalars->grad_scale;
  for_lanes(n, [&](int64_t i, auto lanes) {
    const Vec old = load(p + i, lanes);
    store(p + i, old - lr * (grad_scale * load(g + i, lanes) + weight_decay * old), lanes);
  });
}

// Blocks are summed in float (16 additions per lane at the widest) and joined in double.
void CpuOps::square_sum(const float* g, int64_t n, double* sum) {
  constexpr int64_t kBlock = 1024;
  double total = 0;
  for (int64_t at = 0; at < n; at += kBlock) {
    total += simd::sums_over<1>(std::min(kBlock, n - at), [&](int64_t i, auto lanes) {
      const Vec value = load(g + at + i, lanes);
      return std::array<Vec, 1>{value * value};
    })[0];
  }
  *sum += total;
}

void CpuOps::clip_scale(const double* square_sum, float limit, float* scale) {
  *scale =
      limit > 0 ? static_cast<float>(std::min(1.0, limit / (std::sqrt(*square_sum) + 1e-6))) : 1.0f;
}

void CpuOps::cast(const float* from, void* to, int64_t n) {
  copy(to, from, n * static_cast<Bytes>(sizeof(float)));
}

void CpuOps::fill(float* p, float value, int64_t n) { std::fill_n(p, n, value); }

void CpuOps::zero(void* p, Bytes bytes) {
  if (bytes > 0) std::memset(p, 0, static_cast<size_t>(bytes));
}

void CpuOps::copy(void* to, const void* from, Bytes bytes) {
  if (bytes > 0) std::memcpy(to, from, static_cast<size_t>(bytes));
}

void CpuOps::add_into(float* sum, const float* x, int64_t n) {
  for_lanes(n, [&](int64_t i, auto lanes) {
    store(sum + i, load(sum + i, lanes) + load(x + i, lanes), lanes);
  });
}

}  // namespace shardwright
