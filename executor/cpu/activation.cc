// Activations and their gradients, elementwise in one pass. With s a distribution function (sigmoid
// or normal), every smooth activation here is x s(v(x)), so value and slope share their work.
#include "costmodel/check.h"
#include "executor/cpu/cpu_ops_impl.h"
#include "executor/cpu/simd.h"
#include "executor/cpu/simd_math.h"

namespace shardwright {
namespace {

using simd::for_lanes;
using simd::load;
using simd::store;
using simd::Vec;

struct Relu {
  static Vec value(Vec x) { return simd::max(x, Vec{}); }
  static Vec slope(Vec x) { return x > 0.0f ? simd::splat(1.0f) : Vec{}; }
};

struct Silu {
  static Vec value(Vec x) { return x * simd::sigmoid(x); }
  static Vec slope(Vec x) {
    const Vec s = simd::sigmoid(x);
    return s + x * s * (1.0f - s);
  }
};

// x (1 + tanh(a)) / 2 = x sigmoid(2a), 2a = sqrt(8 / pi) (x + 0.044715 x^3): no cancellation for
// negative x, unlike the tanh form.
struct GeluTanh {
  static constexpr float kScale = 1.59576912f, kCubic = 0.044715f * kScale;
  static Vec value(Vec x) { return x * simd::sigmoid(x * (kScale + kCubic * x * x)); }
  static Vec slope(Vec x) {
    const Vec s = simd::sigmoid(x * (kScale + kCubic * x * x));
    return s + x * s * (1.0f - s) * (kScale + 3.0f * kCubic * x * x);
  }
};

struct GeluErf {
  static Vec value(Vec x) { return x * simd::normal_cdf(x); }
  static Vec slope(Vec x) { return simd::normal_cdf(x) + x * simd::normal_pdf(x); }
};

// Calls body(function) with the type that computes `kind`.
template <typename Body>
void with_function(Activation kind, Body&& body) {
  switch (kind) {
    case Activation::kGeluTanh:
      return body(GeluTanh{});
    case Activation::kGeluErf:
      return body(GeluErf{});
    case Activation::kSilu:
      return body(Silu{});
    case Activation::kRelu:
      return body(Relu{});
  }
  SW_CHECK(false, "unknown activation " << static_cast<int>(kind));
}

// dgate = dg up act'(gate) and dup = dg act(gate); the compiler joins what value and slope share.
template <typename F>
void gated_grad_row(const float* gate, const float* up, const float* dg, float* dgate, float* dup,
                    int64_t f) {
  for_lanes(f, [&](int64_t i, auto lanes) {
    const Vec x = load(gate + i, lanes), y = load(up + i, lanes), d = load(dg + i, lanes);
    store(dgate + i, d * y * F::slope(x), lanes);
    store(dup + i, d * F::value(x), lanes);
  });
}

}  // namespace

void CpuOps::activation(Activation kind, const float* u, const float* bias, float* g, int64_t T,
                        int64_t f) {
  with_function(kind, [&](auto function) {
    for (int64_t t = 0; t < T; ++t) {
      for_lanes(f, [&](int64_t i, auto lanes) {
        Vec x = load(u + t * f + i, lanes);
        if (bias != nullptr) x += load(bias + i, lanes);
        store(g + t * f + i, function.value(x), lanes);
      });
    }
  });
}

void CpuOps::activation_grad(Activation kind, const float* u, const float* bias, const float* dg,
                             float* du, float* dbias, int64_t T, int64_t f) {
  with_function(kind, [&](auto function) {
    for (int64_t t = 0; t < T; ++t) {
      for_lanes(f, [&](int64_t i, auto lanes) {
        Vec x = load(u + t * f + i, lanes);
        if (bias != nullptr) x += load(bias + i, lanes);
        const Vec d = load(dg + t * f + i, lanes) * function.slope(x);
        store(du + t * f + i, d, lanes);
        if (dbias != nullptr) store(dbias + i, load(dbias + i, lanes) + d, lanes);
      });
    }
  });
}

void CpuOps::gated(Activation kind, const float* u, float* g, int64_t T, int64_t f) {
  with_function(kind, [&](auto function) {
    for (int64_t t = 0; t < T; ++t) {
      const float* gate = u + 2 * t * f;
      for_lanes(f, [&](int64_t i, auto lanes) {
        const Vec value = function.value(load(gate + i, lanes));
        store(g + t * f + i, value * load(gate + f + i, lanes), lanes);
      });
    }
  });
}

void CpuOps::gated_grad(Activation kind, const float* u, const float* dg, float* du, int64_t T,
                        int64_t f) {
  with_function(kind, [&](auto function) {
    for (int64_t t = 0; t < T; ++t) {
      const float* gate = u + 2 * t * f;
      float* dgate = du + 2 * t * f;
      gated_grad_row<decltype(function)>(gate, gate + f, dg + t * f, dgate, dgate + f, f);
    }
  });
}

}  // namespace shardwright
