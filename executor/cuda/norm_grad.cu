// Gradients of LayerNorm and RMSNorm. One pass over the rows gives dx and, per block, the sums for
// dgamma and dbeta over the block's rows; a second kernel adds the blocks' sums in their order.
//
// Blocks of 256 threads (512 for the widest rows), two (one) for each multiprocessor, walk over the
// rows with a grid's stride: as many rows at a time as the row's threads fit, each thread with the
// same columns in every row, so that its sums stay in registers. Rows that are too wide for that
// (beyond 16384 columns of bf16 for RMSNorm, 12288 for LayerNorm) take two passes.
//
// Memory traffic, in elements of the compute type per element of a row: 3 (x, dy in, dx out), 4
// with a residual; two passes: 5 and 6. The blocks' sums add 8 bytes per block and column, once
// written and once read, mostly in the second-level cache.
#include "executor/cuda/cuda_ops_impl.h"
#include "executor/cuda/sums.h"
#include "executor/cuda/vectors.h"

namespace shardwright {
namespace {

constexpr int kBlockThreads = 256, kMaxThreads = 512;

// Packs of a row in a thread's registers: its sums are 2 W floats per pack for LayerNorm.
template <bool kLayerNorm>
inline constexpr int kHeld = kLayerNorm ? 3 : 4;

template <typename E>
struct NormGradArgs {
  const E *x, *gamma, *dy, *residual;
  const float* stats;
  E* dx;
  float* partial;  // [1 or 2][blocks][cols]
  int64_t T, cols;
};

// With h = (x - mean) / std and e = dy * gamma:
//   dx = (e - mean(e) - h mean(e h)) / std, where mean(e) is left out for RMSNorm.
struct RowMeans {
  float mean, inv_std;  // of x
  float e, eh;

  __device__ inline float h(float x) const { return (x - mean) * inv_std; }
  __device__ inline float dx(float dy, float gamma, float x) const {
    return (dy * gamma - e - h(x) * eh) * inv_std;
  }
};

template <typename E, int W>
__device__ inline void add_row_terms(const Elements<E, W>& x, const Elements<E, W>& dy,
                                     const E* gamma, const RowMeans& m, float (&sums)[2]) {
  float g[W];
  load_floats(gamma, g);
#pragma unroll
  for (int w = 0; w < W; ++w) {
    const float e = to_float(dy.e[w]) * g[w];
    sums[0] += e;
    sums[1] += e * m.h(to_float(x.e[w]));
  }
}

template <typename E, int W>
__device__ inline void store_dx(const Elements<E, W>& x, const Elements<E, W>& dy, const E* gamma,
                                const E* residual, const RowMeans& m, E* dx) {
  float g[W], r[W] = {};
  load_floats(gamma, g);
  if (residual != nullptr) load_floats(residual, r);
#pragma unroll
  for (int w = 0; w < W; ++w) r[w] += m.dx(to_float(dy.e[w]), g[w], to_float(x.e[w]));
  store_floats(r, dx);
}

// Adds `mine` of the block's rows of threads in their order, and writes the total to `out`.
// `shared` holds the packs' columns; a block of one row of threads does not touch it.
template <int K, int W>
__device__ inline void write_block_sums(const float (&mine)[K][W], int packs, float* shared,
                                        float* out) {
  const int last = static_cast<int>(blockDim.y) - 1;
  for (int y = 0; y <= last; ++y) {
    if (static_cast<int>(threadIdx.y) == y) {
#pragma unroll
      for (int k = 0; k < K; ++k) {
        const int pack = static_cast<int>(threadIdx.x + k * blockDim.x);
        if (pack >= packs) continue;
#pragma unroll
        for (int w = 0; w < W; ++w) {
          const int column = pack * W + w;
          const float sum = (y > 0 ? shared[column] : 0.0f) + mine[k][w];
          (y == last ? out : shared)[column] = sum;
        }
      }
    }
    if (last > 0) __syncthreads();
  }
}

template <typename E, int W, bool kLayerNorm>
__global__ void __launch_bounds__(kMaxThreads) norm_grad_kernel(NormGradArgs<E> a) {
  constexpr int K = kHeld<kLayerNorm>;
  __shared__ float shared[2][2 * kMaxThreads / kWarp];  // taken in turns: one barrier per row
  const int packs = static_cast<int>(a.cols / W);
  const auto n = static_cast<float>(a.cols);
  float dgamma[K][W] = {}, dbeta[K][W] = {};
  int turn = 0;
  const int64_t stride = static_cast<int64_t>(gridDim.x) * blockDim.y;
  for (int64_t base = static_cast<int64_t>(blockIdx.x) * blockDim.y; base < a.T; base += stride) {
    const int64_t row = base + threadIdx.y, at = row * a.cols;
    const bool live = row < a.T;  // all threads meet at the barriers
    Elements<E, W> x[K], dy[K];
#pragma unroll
    for (int k = 0; k < K; ++k) {
      const int pack = static_cast<int>(threadIdx.x + k * blockDim.x);
      if (!live || pack >= packs) continue;
      x[k] = load_elements<W>(a.x + at + int64_t{pack} * W);
      dy[k] = load_elements<W>(a.dy + at + int64_t{pack} * W);
    }
    RowMeans m{live ? a.stats[2 * row] : 0.0f, live ? a.stats[2 * row + 1] : 0.0f, 0, 0};
    float sums[2] = {0, 0};
#pragma unroll
    for (int k = 0; k < K; ++k) {
      const int pack = static_cast<int>(threadIdx.x + k * blockDim.x);
      if (live && pack < packs) add_row_terms<E, W>(x[k], dy[k], a.gamma + pack * W, m, sums);
    }
    row_sums(sums, shared[turn]);
    turn ^= 1;
    if (!live) continue;
    if (kLayerNorm) m.e = sums[0] / n;
    m.eh = sums[1] / n;
#pragma unroll
    for (int k = 0; k < K; ++k) {
      const int pack = static_cast<int>(threadIdx.x + k * blockDim.x);
      if (pack >= packs) continue;
      const int64_t i = at + int64_t{pack} * W;
      store_dx<E, W>(x[k], dy[k], a.gamma + pack * W,
                     a.residual == nullptr ? nullptr : a.residual + i, m, a.dx + i);
#pragma unroll
      for (int w = 0; w < W; ++w) {
        dgamma[k][w] += to_float(dy[k].e[w]) * m.h(to_float(x[k].e[w]));
        if (kLayerNorm) dbeta[k][w] += to_float(dy[k].e[w]);
      }
    }
  }
  auto* block = dynamic_shared<float>();
  write_block_sums(dgamma, packs, block, a.partial + blockIdx.x * a.cols);
  if (kLayerNorm) {
    write_block_sums(dbeta, packs, block,
                     a.partial + (static_cast<int64_t>(gridDim.x) + blockIdx.x) * a.cols);
  }
}

// --- two passes, for rows of any width ---

template <typename E, int W>
__global__ void __launch_bounds__(kWarp* kColumnRows)
    norm_weight_grad_kernel(NormGradArgs<E> a, ColumnShape shape) {
  column_pass<W, 2>(shape, [&](int64_t row, int64_t column, float(&sums)[2][W]) {
    const RowMeans m{a.stats[2 * row], a.stats[2 * row + 1], 0, 0};
    float x[W], dy[W];
    load_floats(a.x + row * a.cols + column, x);
    load_floats(a.dy + row * a.cols + column, dy);
#pragma unroll
    for (int w = 0; w < W; ++w) {
      sums[0][w] += dy[w] * m.h(x[w]);
      sums[1][w] += dy[w];
    }
  });
}

template <typename E, int W, bool kLayerNorm>
__global__ void __launch_bounds__(kMaxThreads) norm_input_grad_kernel(NormGradArgs<E> a) {
  __shared__ float shared[2 * kMaxThreads / kWarp];
  const int64_t row = blockIdx.x, at = row * a.cols, packs = a.cols / W;
  const auto n = static_cast<float>(a.cols);
  RowMeans m{a.stats[2 * row], a.stats[2 * row + 1], 0, 0};
  float sums[2] = {0, 0};
  for (int64_t pack = threadIdx.x; pack < packs; pack += blockDim.x) {
    const int64_t i = at + pack * W;
    add_row_terms<E, W>(load_elements<W>(a.x + i), load_elements<W>(a.dy + i), a.gamma + pack * W,
                        m, sums);
  }
  row_sums(sums, shared);
  if (kLayerNorm) m.e = sums[0] / n;
  m.eh = sums[1] / n;
  for (int64_t pack = threadIdx.x; pack < packs; pack += blockDim.x) {
    const int64_t i = at + pack * W;
    store_dx<E, W>(load_elements<W>(a.x + i), load_elements<W>(a.dy + i), a.gamma + pack * W,
                   a.residual == nullptr ? nullptr : a.residual + i, m, a.dx + i);
  }
}

// --- on the host ---

struct Launcher {
  Device& device;
  Stream stream;
  float *dgamma, *dbeta;  // dbeta null: RMSNorm
  int64_t sums() const { return dbeta == nullptr ? 1 : 2; }
};

// Threads of a row when its sums stay in registers; 0 when they cannot.
int row_threads(int64_t packs, int held) {
  int threads = kWarp;
  while (threads < kMaxThreads && threads * held < packs) threads *= 2;
  return threads * held < packs ? 0 : threads;
}

template <bool kLayerNorm, int W, typename E, typename Scratch>
void launch_one_pass(const Launcher& to, NormGradArgs<E> a, int threads, const Scratch& scratch) {
  const int rows = std::max(1, kBlockThreads / threads);
  const int64_t resident = (threads > kBlockThreads ? 1 : 2) * multiprocessors(to.device);
  const int64_t most = kPartialBytes / partial_bytes(1, a.cols, to.sums());
  const int64_t blocks = std::min({resident, most, ceil_div(a.T, rows)});
  a.partial = static_cast<float*>(scratch(partial_bytes(blocks, a.cols, to.sums())));
  const size_t shared = rows == 1 ? 0 : static_cast<size_t>(a.cols) * sizeof(float);
  launch(to.device, to.stream, norm_grad_kernel<E, W, kLayerNorm>,
         dim3(static_cast<unsigned>(blocks)), dim3(threads, rows), shared, a);
  add_column_sums(to.device, to.stream, a.partial, blocks, a.cols, to.dgamma, to.dbeta);
}

template <bool kLayerNorm, int W, typename E, typename Scratch>
void launch_two_passes(const Launcher& to, NormGradArgs<E> a, const Scratch& scratch) {
  const dim3 grid = column_grid(to.device, a.T, a.cols, W);
  a.partial = static_cast<float*>(scratch(partial_bytes(grid.y, a.cols, 2)));
  launch(to.device, to.stream, norm_weight_grad_kernel<E, W>, grid, dim3(kWarp, kColumnRows), 0, a,
         ColumnShape{a.T, a.cols, ceil_div(a.T, grid.y), a.partial});
  add_column_sums(to.device, to.stream, a.partial, grid.y, a.cols, to.dgamma, to.dbeta);
  launch(to.device, to.stream, norm_input_grad_kernel<E, W, kLayerNorm>,
         dim3(static_cast<unsigned>(a.T)), dim3(kMaxThreads), 0, a);
}

template <bool kLayerNorm, typename E, typename Scratch>
void launch_norm_grad(const Launcher& to, const NormGradArgs<E>& a, const Scratch& scratch) {
  const bool aligned = aligned_16(a.x, a.gamma, a.dy, a.residual, a.dx);
  with_width<E>(a.cols, aligned, [&](auto width) {
    const int threads = row_threads(a.cols / width.value, kHeld<kLayerNorm>);
    if (threads > 0) {
      launch_one_pass<kLayerNorm, width.value>(to, a, threads, scratch);
    } else {
      launch_two_passes<kLayerNorm, width.value>(to, a, scratch);
    }
  });
}

}  // namespace

void CudaOps::norm_grad(Norm kind, const void* x, const void* gamma, const float* stats,
                        const void* dy, const void* residual, void* dx, float* dgamma, float* dbeta,
                        int64_t T, int64_t cols) {
  if (T == 0 || cols == 0) return;
  const auto scratch_of = [&](Bytes bytes) { return scratch(bytes); };
  with_type([&](auto element) {
    using E = decltype(element);
    const NormGradArgs<E> args{static_cast<const E*>(x),
                               static_cast<const E*>(gamma),
                               static_cast<const E*>(dy),
                               static_cast<const E*>(residual),
                               stats,
                               static_cast<E*>(dx),
                               nullptr,
                               T,
                               cols};
    if (kind == Norm::kLayerNorm) {
      launch_norm_grad<true>(Launcher{device_, stream(), dgamma, dbeta}, args, scratch_of);
    } else {
      launch_norm_grad<false>(Launcher{device_, stream(), dgamma, nullptr}, args, scratch_of);
    }
  });
}

}  // namespace shardwright
