// Rotary positions (Su et al., "RoFormer"), with the pairing (i, i + rotary_dim / 2).
//
// A block rotates one token: it computes the cosines and sines of its position once, in shared
// memory, and uses them for every head. There is no table in device memory, so nothing is allocated
// or prepared before a step. Angles are formed and reduced to a quarter turn in double, as in float
// position * frequency would lose digits at long positions: cosine and sine are within 1e-7.
//
// Memory traffic, in elements of the compute type per rotated element of q and k: 2 (in place).
#include "costmodel/check.h"
#include "executor/cuda/cuda_ops_impl.h"
#include "executor/cuda/vectors.h"

namespace shardwright {
namespace {

constexpr int kMaxPairs = 128, kMaxThreads = 256;

template <typename E>
struct RopeArgs {
  E* qkv;  // [tokens, width], the rotated heads first
  int64_t width, head_dim;
  int seq, heads, pairs;
  float direction;              // -1: the transpose
  double frequency[kMaxPairs];  // radians per position
};

__device__ inline void cosine_and_sine(double angle, float* cosine, float* sine) {
  constexpr double kInvQuarter = 0.63661977236758134;  // 2 / pi
  constexpr double kQuarter = 1.5707963267948966, kQuarterRest = 6.123233995736766e-17;
  const double quarters = rint(angle * kInvQuarter);
  const auto r = static_cast<float>(fma(quarters, -kQuarterRest, fma(quarters, -kQuarter, angle)));
  // Taylor's series to r^10 and r^9: their rests are below 2e-9 up to a quarter of pi.
  const float x = r * r;
  const float s =
      r + r * x * (-1.0f / 6 + x * (1.0f / 120 + x * (-1.0f / 5040 + x * (1.0f / 362880))));
  const float c =
      1.0f +
      x * (-0.5f + x * (1.0f / 24 + x * (-1.0f / 720 + x * (1.0f / 40320 - x * (1.0f / 3628800)))));
  const int quadrant = static_cast<int>(quarters) & 3;
  const float along = quadrant % 2 == 0 ? c : s, across = quadrant % 2 == 0 ? s : c;
  *cosine = quadrant == 1 || quadrant == 2 ? -along : along;
  *sine = quadrant >= 2 ? -across : across;
}

template <typename E, int W>
__global__ void __launch_bounds__(kMaxThreads) rope_kernel(RopeArgs<E> a) {
  __shared__ __align__(16) float cosine[kMaxPairs];
  __shared__ __align__(16) float sine[kMaxPairs];
  const int thread = static_cast<int>(threadIdx.x), threads = static_cast<int>(blockDim.x);
  const auto position = static_cast<double>(blockIdx.x % static_cast<unsigned>(a.seq));
  for (int i = thread; i < a.pairs; i += threads) {
    float s;
    cosine_and_sine(position * a.frequency[i], &cosine[i], &s);
    sine[i] = s * a.direction;
  }
  __syncthreads();
  // A thread keeps its pack of pairs and goes from head to head.
  const int packs = a.pairs / W, step = threads / packs;
  const int head_0 = thread / packs, column = (thread - head_0 * packs) * W;
  if (head_0 >= step) return;
  float c[W], s[W];
  load_floats(cosine + column, c);
  load_floats(sine + column, s);
  E* token = a.qkv + static_cast<int64_t>(blockIdx.x) * a.width + column;
  for (int head = head_0; head < a.heads; head += step) {
    E* low = token + head * a.head_dim;
    E* high = low + a.pairs;
    float x[W], y[W], turned[W];
    load_floats(low, x);
    load_floats(high, y);
#pragma unroll
    for (int w = 0; w < W; ++w) turned[w] = x[w] * c[w] - y[w] * s[w];
    store_floats(turned, low);
#pragma unroll
    for (int w = 0; w < W; ++w) turned[w] = y[w] * c[w] + x[w] * s[w];
    store_floats(turned, high);
  }
}

// Whole warps, so many that every thread has about the same number of packs.
int threads_of(int64_t heads, int64_t packs) {
  const int64_t items = heads * packs;
  const int64_t turns = ceil_div(items, int64_t{kMaxThreads});
  return static_cast<int>(round_up(std::max(packs, ceil_div(items, turns)), 32));
}

}  // namespace

void CudaOps::rope(void* qkv, const AttentionShape& shape, int64_t rotary_dim, float theta,
                   bool inverse) {
  SW_CHECK_EQ(rotary_dim % 2, 0, "rotated dims come in pairs");
  SW_CHECK_LE(rotary_dim, shape.head_dim, "rotated dims are part of a head");
  const int64_t tokens = shape.batch * shape.seq, pairs = rotary_dim / 2;
  SW_CHECK_LE(pairs, kMaxPairs, "heads of up to 256 dims");
  if (tokens == 0 || pairs == 0) return;
  with_type([&](auto element) {
    using E = decltype(element);
    const int64_t heads = shape.heads + shape.kv_heads;
    RopeArgs<E> args{static_cast<E*>(qkv),    shape.qkv_width(),
                     shape.head_dim,          static_cast<int>(shape.seq),
                     static_cast<int>(heads), static_cast<int>(pairs),
                     inverse ? -1.0f : 1.0f,  {}};
    for (int64_t i = 0; i < pairs; ++i) {
      const double exponent = -2.0 * static_cast<double>(i) / static_cast<double>(rotary_dim);
      args.frequency[i] = std::pow(static_cast<double>(theta), exponent);
    }
    const bool aligned = aligned_16(qkv) && shape.head_dim % kWide<E> == 0;
    with_width<E>(pairs, aligned, [&](auto width) {
      launch(device_, stream(), rope_kernel<E, width.value>, dim3(static_cast<unsigned>(tokens)),
             dim3(threads_of(heads, pairs / width.value)), 0, args);
    });
  });
}

}  // namespace shardwright
