// Activations and their gradients, elementwise in one pass. With s a distribution function (sigmoid
// or normal), every smooth activation here is x s(v(x)), so value and slope share their work.
//
// Memory traffic, in elements of the compute type per element of g: activation 2 (u in, g out), its
// gradient 3 (u, dg in, du out) whether or not it sums the bias, gated 3, its gradient 5.
#include "costmodel/check.h"
#include "executor/cuda/cuda_ops_impl.h"
#include "executor/cuda/sums.h"
#include "executor/cuda/vectors.h"

namespace shardwright {
namespace {

// 1 / (1 + exp(-x)). For bf16 by approximations that are good to a few units of the last place of
// fp32, 1 / y being rsqrt(y)^2; no form with tanh: it cancels for negative x.
template <typename E>
__device__ inline float sigmoid(float x) {
  if constexpr (std::is_same_v<E, float>) {
    return 1.0f / (1.0f + expf(-x));
  } else {
    const float root = fast_rsqrt(1.0f + fast_exp(-x));
    return root * root;
  }
}

struct Relu {
  template <typename E>
  static __device__ inline void both(float x, float* value, float* slope) {
    *value = x > 0.0f || x != x ? x : 0.0f;  // NaN stays
    *slope = x > 0.0f ? 1.0f : 0.0f;
  }
};

struct Silu {
  template <typename E>
  static __device__ inline void both(float x, float* value, float* slope) {
    const float s = sigmoid<E>(x);
    *value = x * s;
    *slope = s + x * s * (1.0f - s);
  }
};

// x (1 + tanh(a)) / 2 = x sigmoid(2a), 2a = sqrt(8 / pi) (x + 0.044715 x^3).
struct GeluTanh {
  template <typename E>
  static __device__ inline void both(float x, float* value, float* slope) {
    constexpr float kScale = 1.59576912f, kCubic = 0.044715f * kScale;
    const float s = sigmoid<E>(x * (kScale + kCubic * x * x));
    *value = x * s;
    *slope = s + x * s * (1.0f - s) * (kScale + 3.0f * kCubic * x * x);
  }
};

struct GeluErf {
  template <typename E>
  static __device__ inline void both(float x, float* value, float* slope) {
    constexpr float kInvSqrt2 = 0.707106781f, kInvSqrt2Pi = 0.398942280f;
    const float cdf = 0.5f * erfcf(-x * kInvSqrt2);
    const float square = -0.5f * x * x;
    float density;
    if constexpr (std::is_same_v<E, float>) {
      density = expf(square);
    } else {
      density = fast_exp(square);
    }
    *value = x * cdf;
    *slope = cdf + x * kInvSqrt2Pi * density;
  }
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

template <typename E>
struct ActivationArgs {
  const E *u, *bias;
  E* g;
  int64_t T, f;
};

template <typename F, typename E, int W>
__global__ void __launch_bounds__(kElementwiseThreads) activation_kernel(ActivationArgs<E> a) {
  for (PackWalk at(a.f / W); at.row() < a.T; at.next()) {
    const int64_t column = at.pack() * W, i = at.row() * a.f + column;
    float x[W], bias[W] = {};
    load_floats(a.u + i, x);
    if (a.bias != nullptr) load_floats(a.bias + column, bias);
#pragma unroll
    for (int w = 0; w < W; ++w) {
      float slope;
      F::template both<E>(x[w] + bias[w], &x[w], &slope);
    }
    store_floats(x, a.g + i);
  }
}

template <typename E>
struct ActivationGradArgs {
  const E *u, *bias, *dg;
  E* du;
  ColumnShape shape;
};

// The bias gradient sums du before it is rounded.
template <typename F, typename E, int W>
__global__ void __launch_bounds__(kWarp* kColumnRows)
    activation_grad_kernel(ActivationGradArgs<E> a) {
  column_pass<W, 1>(a.shape, [&](int64_t row, int64_t column, float(&sums)[1][W]) {
    const int64_t i = row * a.shape.cols + column;
    float x[W], d[W], bias[W] = {};
    load_floats(a.u + i, x);
    load_floats(a.dg + i, d);
    if (a.bias != nullptr) load_floats(a.bias + column, bias);
#pragma unroll
    for (int w = 0; w < W; ++w) {
      float value, slope;
      F::template both<E>(x[w] + bias[w], &value, &slope);
      d[w] *= slope;
      sums[0][w] += d[w];
    }
    store_floats(d, a.du + i);
  });
}

template <typename E>
struct GatedArgs {
  const E *u, *dg;  // dg: of the gradient
  E* out;           // g, or du
  int64_t T, f;
};

template <typename F, typename E, int W>
__global__ void __launch_bounds__(kElementwiseThreads) gated_kernel(GatedArgs<E> a) {
  for (PackWalk at(a.f / W); at.row() < a.T; at.next()) {
    const int64_t i = at.row() * a.f + at.pack() * W, gate = i + at.row() * a.f;
    float x[W], up[W];
    load_floats(a.u + gate, x);
    load_floats(a.u + gate + a.f, up);
#pragma unroll
    for (int w = 0; w < W; ++w) {
      float value, slope;
      F::template both<E>(x[w], &value, &slope);
      x[w] = value * up[w];
    }
    store_floats(x, a.out + i);
  }
}

template <typename F, typename E, int W>
__global__ void __launch_bounds__(kElementwiseThreads) gated_grad_kernel(GatedArgs<E> a) {
  for (PackWalk at(a.f / W); at.row() < a.T; at.next()) {
    const int64_t i = at.row() * a.f + at.pack() * W, gate = i + at.row() * a.f;
    float x[W], up[W], d[W];
    load_floats(a.u + gate, x);
    load_floats(a.u + gate + a.f, up);
    load_floats(a.dg + i, d);
#pragma unroll
    for (int w = 0; w < W; ++w) {
      float value, slope;
      F::template both<E>(x[w], &value, &slope);
      x[w] = d[w] * up[w] * slope;
      up[w] = d[w] * value;
    }
    store_floats(x, a.out + gate);
    store_floats(up, a.out + gate + a.f);
  }
}

}  // namespace

void CudaOps::activation(Activation kind, const void* u, const void* bias, void* g, int64_t T,
                         int64_t f) {
  if (T == 0 || f == 0) return;
  with_type([&](auto element) {
    using E = decltype(element);
    const ActivationArgs<E> args{static_cast<const E*>(u), static_cast<const E*>(bias),
                                 static_cast<E*>(g), T, f};
    with_width<E>(f, aligned_16(u, bias, g), [&](auto width) {
      with_function(kind, [&](auto function) {
        launch(device_, stream(), activation_kernel<decltype(function), E, width.value>,
               pack_grid(device_, T, f / width.value), dim3(kElementwiseThreads), 0, args);
      });
    });
  });
}

void CudaOps::activation_grad(Activation kind, const void* u, const void* bias, const void* dg,
                              void* du, float* dbias, int64_t T, int64_t f) {
  if (T == 0 || f == 0) return;
  with_type([&](auto element) {
    using E = decltype(element);
    with_width<E>(f, aligned_16(u, bias, dg, du), [&](auto width) {
      const dim3 grid = column_grid(device_, T, f, width.value);
      auto* partial =
          dbias == nullptr ? nullptr : static_cast<float*>(scratch(partial_bytes(grid.y, f, 1)));
      const ActivationGradArgs<E> args{static_cast<const E*>(u),
                                       static_cast<const E*>(bias),
                                       static_cast<const E*>(dg),
                                       static_cast<E*>(du),
                                       {T, f, ceil_div(T, grid.y), partial}};
      with_function(kind, [&](auto function) {
        launch(device_, stream(), activation_grad_kernel<decltype(function), E, width.value>, grid,
               dim3(kWarp, kColumnRows), 0, args);
      });
      if (dbias != nullptr) add_column_sums(device_, stream(), partial, grid.y, f, dbias, nullptr);
    });
  });
}

void CudaOps::gated(Activation kind, const void* u, void* g, int64_t T, int64_t f) {
  if (T == 0 || f == 0) return;
  with_type([&](auto element) {
    using E = decltype(element);
    const GatedArgs<E> args{static_cast<const E*>(u), nullptr, static_cast<E*>(g), T, f};
    with_width<E>(f, aligned_16(u, g), [&](auto width) {
      with_function(kind, [&](auto function) {
        launch(device_, stream(), gated_kernel<decltype(function), E, width.value>,
               pack_grid(device_, T, f / width.value), dim3(kElementwiseThreads), 0, args);
      });
    });
  });
}

void CudaOps::gated_grad(Activation kind, const void* u, const void* dg, void* du, int64_t T,
                         int64_t f) {
  if (T == 0 || f == 0) return;
  with_type([&](auto element) {
    using E = decltype(element);
    const GatedArgs<E> args{static_cast<const E*>(u), static_cast<const E*>(dg),
                            static_cast<E*>(du), T, f};
    with_width<E>(f, aligned_16(u, dg, du), [&](auto width) {
      with_function(kind, [&](auto function) {
        launch(device_, stream(), gated_grad_kernel<decltype(function), E, width.value>,
               pack_grid(device_, T, f / width.value), dim3(kElementwiseThreads), 0, args);
      });
    });
  });
}

}  // namespace shardwright
