// LayerNorm and RMSNorm, residual additions and column sums: one pass over memory each; a row stays
// in the first-level cache between its statistics and its output.
#include <cmath>

#include "executor/cpu/cpu_ops_impl.h"
#include "executor/cpu/simd.h"

namespace shardwright {
namespace {

using simd::for_lanes;
using simd::load;
using simd::store;
using simd::sums_over;
using simd::Vec;

struct Moments {
  float mean, inv_std;
};

// The variance is summed from differences to the mean: E[x^2] - E[x]^2 would cancel.
Moments moments_of(Norm kind, const float* x, float eps, int64_t cols) {
  const auto n = static_cast<float>(cols);
  float mean = 0;
  if (kind == Norm::kLayerNorm) {
    mean = sums_over<1>(
               cols,
               [&](int64_t i, auto lanes) { return std::array<Vec, 1>{load(x + i, lanes)}; })[0] /
           n;
  }
  const float squares = sums_over<1>(cols, [&](int64_t i, auto lanes) {
    const Vec centred = load(x + i, lanes) - mean;
    return std::array<Vec, 1>{centred * centred};
  })[0];
  return {mean, 1.0f / std::sqrt(squares / n + eps)};
}

void normalize_row(const float* x, const Moments& m, const float* gamma, const float* beta,
                   float* y, int64_t cols) {
  for_lanes(cols, [&](int64_t i, auto lanes) {
    const Vec scaled = (load(x + i, lanes) - m.mean) * m.inv_std * load(gamma + i, lanes);
    store(y + i, beta == nullptr ? scaled : scaled + load(beta + i, lanes), lanes);
  });
}

void add_row(const float* x, const float* y, const float* bias, float* out, int64_t cols) {
  for_lanes(cols, [&](int64_t i, auto lanes) {
    const Vec sum = load(x + i, lanes) + load(y + i, lanes);
    store(out + i, bias == nullptr ? sum : sum + load(bias + i, lanes), lanes);
  });
}

struct NormGradRow {
  const float *x, *gamma, *dy, *residual;
  float *dx, *dgamma, *dbeta;
};

// With h = (x - mean) / std and e = dy * gamma:
//   dx = (e - mean(e) - h mean(e h)) / std, where mean(e) is left out for RMSNorm.
void grad_row(Norm kind, const NormGradRow& r, const Moments& m, int64_t cols) {
  const auto [sum_e, sum_eh] = sums_over<2>(cols, [&](int64_t i, auto lanes) {
    const Vec h = (load(r.x + i, lanes) - m.mean) * m.inv_std;
    const Vec e = load(r.dy + i, lanes) * load(r.gamma + i, lanes);
    return std::array<Vec, 2>{e, e * h};
  });
  const auto n = static_cast<float>(cols);
  const float mean_e = kind == Norm::kLayerNorm ? sum_e / n : 0.0f, mean_eh = sum_eh / n;
  for_lanes(cols, [&](int64_t i, auto lanes) {
    const Vec dy = load(r.dy + i, lanes);
    const Vec h = (load(r.x + i, lanes) - m.mean) * m.inv_std;
    Vec dx = (dy * load(r.gamma + i, lanes) - mean_e - h * mean_eh) * m.inv_std;
    if (r.residual != nullptr) dx += load(r.residual + i, lanes);
    store(r.dx + i, dx, lanes);
    store(r.dgamma + i, load(r.dgamma + i, lanes) + dy * h, lanes);
    if (r.dbeta != nullptr) store(r.dbeta + i, load(r.dbeta + i, lanes) + dy, lanes);
  });
}

const float* row_of(const float* matrix, int64_t row, int64_t cols) {
  return matrix == nullptr ? nullptr : matrix + row * cols;
}

}  // namespace

void CpuOps::norm(Norm kind, const float* x, const float* gamma, const float* beta, float eps,
                  float* y, float* stats, int64_t T, int64_t cols) {
  for (int64_t t = 0; t < T; ++t) {
    const float* row = x + t * cols;
    const Moments m = moments_of(kind, row, eps, cols);
    stats[2 * t] = m.mean;
    stats[2 * t + 1] = m.inv_std;
    normalize_row(row, m, gamma, beta, y + t * cols, cols);
  }
}

void CpuOps::add_norm(Norm kind, const float* x, const float* y, const float* bias,
                      const float* gamma, const float* beta, float eps, float* sum, float* out,
                      float* stats, int64_t T, int64_t cols) {
  for (int64_t t = 0; t < T; ++t) {
    const int64_t at = t * cols;
    add_row(x + at, y + at, bias, sum + at, cols);
    norm(kind, sum + at, gamma, beta, eps, out + at, stats + 2 * t, 1, cols);
  }
}

void CpuOps::norm_grad(Norm kind, const float* x, const float* gamma, const float* stats,
                       const float* dy, const float* residual, float* dx, float* dgamma,
                       float* dbeta, int64_t T, int64_t cols) {
  for (int64_t t = 0; t < T; ++t) {
    const int64_t at = t * cols;
    const NormGradRow row{x + at,  gamma,  dy + at, row_of(residual, t, cols),
                          dx + at, dgamma, dbeta};
    grad_row(kind, row, {stats[2 * t], stats[2 * t + 1]}, cols);
  }
}

void CpuOps::add(const float* x, const float* y, const float* bias, float* out, int64_t T,
                 int64_t cols) {
  for (int64_t t = 0; t < T; ++t) {
    add_row(x + t * cols, y + t * cols, bias, out + t * cols, cols);
  }
}

// Eight rows at a time, so that dbias is read and written once per eight rows.
void CpuOps::column_sum(const float* dy, float* dbias, int64_t T, int64_t cols) {
  constexpr int64_t kRows = 8;
  int64_t t = 0;
  for (; t + kRows <= T; t += kRows) {
    for_lanes(cols, [&](int64_t i, auto lanes) {
      const auto row = [&](int64_t k) { return load(dy + (t + k) * cols + i, lanes); };
      const Vec low = (row(0) + row(1)) + (row(2) + row(3));
      const Vec high = (row(4) + row(5)) + (row(6) + row(7));
      store(dbias + i, load(dbias + i, lanes) + (low + high), lanes);
    });
  }
  for (; t < T; ++t) add_into(dbias, dy + t * cols, cols);
}

}  // namespace shardwright
