// LayerNorm and RMSNorm, residual additions and column sums: one pass over memory each.
//
// A row belongs to one warp, or to one block when it is wider, and stays in registers between its
// statistics and its output: up to 4 packs of 16 bytes per thread (16384 columns of bf16, 8192 of
// fp32). What is wider is read again from the second-level cache.
//
// Memory traffic, in elements of the compute type per element of the row: norm 2 (x in, y out),
// add_norm 4 (x, y in, sum, out out), add 3, column_sum 1. Statistics are 8 bytes per row; gamma,
// beta and bias come from the caches.
#include "executor/cuda/cuda_ops_impl.h"
#include "executor/cuda/sums.h"
#include "executor/cuda/vectors.h"

namespace shardwright {
namespace {

constexpr int kHeld = 4;          // packs of a row in a thread's registers
constexpr int kWarpRows = 4;      // rows of a block when a row is one warp
constexpr int kMaxThreads = 512;  // of one row

template <typename E>
struct NormArgs {
  const E *x, *y, *bias;  // y null: norm of x; else of x + y + bias, which goes to sum
  const E *gamma, *beta;
  E *sum, *out;
  float* stats;
  float eps;
  int64_t T, cols;
  bool layer_norm;
};

// One row over the blockDim.x threads: thread i has packs i, i + blockDim.x, ...
template <typename E, int W>
struct Row {
  Elements<E, W> held[kHeld];
  const E* memory;  // where packs beyond the held ones are read again
  int packs;

  // body(first column, values)
  template <typename Body>
  __device__ inline void for_packs(Body body) const {
    const int threads = static_cast<int>(blockDim.x);
    int pack = static_cast<int>(threadIdx.x);
#pragma unroll
    for (int k = 0; k < kHeld; ++k, pack += threads) {
      if (pack < packs) body(int64_t{pack} * W, floats(held[k]));
    }
    for (; pack < packs; pack += threads) {
      body(int64_t{pack} * W, floats(load_elements<W>(memory + int64_t{pack} * W)));
    }
  }

  struct Floats {
    float v[W];
  };
  static __device__ inline Floats floats(const Elements<E, W>& pack) {
    Floats out;
#pragma unroll
    for (int w = 0; w < W; ++w) out.v[w] = to_float(pack.e[w]);
    return out;
  }

  // All loads before their first use.
  __device__ inline void load(const E* from, int count) {
    memory = from;
    packs = count;
#pragma unroll
    for (int k = 0; k < kHeld; ++k) {
      const int pack = static_cast<int>(threadIdx.x + k * blockDim.x);
      if (pack < packs) held[k] = load_elements<W>(from + int64_t{pack} * W);
    }
  }
};

// x + y + bias, rounded to the element type as the sum is stored.
template <typename E, int W>
__device__ inline Elements<E, W> add_packs(const Elements<E, W>& x, const Elements<E, W>& y,
                                           const E* bias) {
  Elements<E, W> out;
  float b[W] = {};
  if (bias != nullptr) load_floats(bias, b);
#pragma unroll
  for (int w = 0; w < W; ++w) {
    out.e[w] = from_float<E>(to_float(x.e[w]) + to_float(y.e[w]) + b[w]);
  }
  return out;
}

// Replaces the row by its sum with y and bias, and stores that.
template <typename E, int W>
__device__ inline void add_to_row(Row<E, W>* row, const E* y, const E* bias, E* sum) {
  Row<E, W> other;
  other.load(y, row->packs);
  const int threads = static_cast<int>(blockDim.x);
  int pack = static_cast<int>(threadIdx.x);
  const auto bias_at = [&](int64_t i) { return bias == nullptr ? nullptr : bias + i; };
  const auto store = [&](int64_t i, const Elements<E, W>& value) {
    store_elements(value, sum + i);
  };
#pragma unroll
  for (int k = 0; k < kHeld; ++k, pack += threads) {
    if (pack >= row->packs) continue;
    const int64_t i = int64_t{pack} * W;
    row->held[k] = add_packs<E, W>(row->held[k], other.held[k], bias_at(i));
    store(i, row->held[k]);
  }
  for (; pack < row->packs; pack += threads) {
    const int64_t i = int64_t{pack} * W;
    store(i,
          add_packs<E, W>(load_elements<W>(row->memory + i), load_elements<W>(y + i), bias_at(i)));
  }
  row->memory = sum;  // a thread reads again what it has written itself
}

// The variance is summed from differences to the mean: E[x^2] - E[x]^2 would cancel.
template <typename E, int W>
__device__ inline void row_moments(const Row<E, W>& row, const NormArgs<E>& a, float* mean,
                                   float* inv_std) {
  __shared__ float shared[2][kMaxThreads / kWarp];
  const auto n = static_cast<float>(a.cols);
  float sum[1] = {0};
  if (a.layer_norm) {
    row.for_packs([&](int64_t, const auto& x) {
#pragma unroll
      for (int w = 0; w < W; ++w) sum[0] += x.v[w];
    });
    row_sums(sum, shared[0]);
  }
  *mean = sum[0] / n;
  float squares[1] = {0};
  row.for_packs([&](int64_t, const auto& x) {
#pragma unroll
    for (int w = 0; w < W; ++w) squares[0] += (x.v[w] - *mean) * (x.v[w] - *mean);
  });
  row_sums(squares, shared[1]);
  *inv_std = 1.0f / sqrtf(squares[0] / n + a.eps);
}

template <typename E, int W>
__global__ void __launch_bounds__(kMaxThreads, 1) norm_kernel(NormArgs<E> a) {
  const int64_t t = static_cast<int64_t>(blockIdx.x) * blockDim.y + threadIdx.y;
  if (t >= a.T) return;  // a whole warp; there are no barriers when a block has several rows
  Row<E, W> row;
  row.load(a.x + t * a.cols, static_cast<int>(a.cols / W));
  if (a.y != nullptr) add_to_row(&row, a.y + t * a.cols, a.bias, a.sum + t * a.cols);
  float mean, inv_std;
  row_moments(row, a, &mean, &inv_std);
  if (threadIdx.x == 0) {
    a.stats[2 * t] = mean;
    a.stats[2 * t + 1] = inv_std;
  }
  E* out = a.out + t * a.cols;
  row.for_packs([&](int64_t column, const auto& x) {
    float gamma[W], beta[W] = {}, y[W];
    load_floats(a.gamma + column, gamma);
    if (a.beta != nullptr) load_floats(a.beta + column, beta);
#pragma unroll
    for (int w = 0; w < W; ++w) y[w] = (x.v[w] - mean) * inv_std * gamma[w] + beta[w];
    store_floats(y, out + column);
  });
}

// Threads of a row of `packs`: a power of two of at least one warp.
int row_threads(int64_t packs) {
  int threads = kWarp;
  while (threads < kMaxThreads && threads * kHeld < packs) threads *= 2;
  return threads;
}

template <typename E>
void launch_norm(Device& device, Stream stream, const NormArgs<E>& a) {
  const bool aligned = aligned_16(a.x, a.y, a.bias, a.gamma, a.beta, a.sum, a.out);
  with_width<E>(a.cols, aligned, [&](auto width) {
    const int threads = row_threads(a.cols / width.value);
    const int rows = threads == kWarp ? kWarpRows : 1;
    launch(device, stream, norm_kernel<E, width.value>,
           dim3(static_cast<unsigned>(ceil_div(a.T, rows))), dim3(threads, rows), 0, a);
  });
}

template <typename E>
struct AddArgs {
  const E *x, *y, *bias;
  E* out;
  int64_t T, cols;
};

template <typename E, int W>
__global__ void __launch_bounds__(kElementwiseThreads) add_kernel(AddArgs<E> a) {
  for (PackWalk at(a.cols / W); at.row() < a.T; at.next()) {
    const int64_t column = at.pack() * W, i = at.row() * a.cols + column;
    const Elements<E, W> sum = add_packs<E, W>(load_elements<W>(a.x + i), load_elements<W>(a.y + i),
                                               a.bias == nullptr ? nullptr : a.bias + column);
    store_elements(sum, a.out + i);
  }
}

template <typename E, int W>
__global__ void __launch_bounds__(kWarp* kColumnRows)
    column_sum_kernel(const E* dy, ColumnShape shape) {
  column_pass<W, 1>(shape, [&](int64_t row, int64_t column, float(&sums)[1][W]) {
    float values[W];
    load_floats(dy + row * shape.cols + column, values);
#pragma unroll
    for (int w = 0; w < W; ++w) sums[0][w] += values[w];
  });
}

}  // namespace

void CudaOps::norm(Norm kind, const void* x, const void* gamma, const void* beta, float eps,
                   void* y, float* stats, int64_t T, int64_t cols) {
  add_norm(kind, x, nullptr, nullptr, gamma, beta, eps, nullptr, y, stats, T, cols);
}

void CudaOps::add_norm(Norm kind, const void* x, const void* y, const void* bias, const void* gamma,
                       const void* beta, float eps, void* sum, void* out, float* stats, int64_t T,
                       int64_t cols) {
  if (T == 0 || cols == 0) return;
  with_type([&](auto element) {
    using E = decltype(element);
    launch_norm<E>(device_, stream(),
                   {static_cast<const E*>(x), static_cast<const E*>(y), static_cast<const E*>(bias),
                    static_cast<const E*>(gamma), static_cast<const E*>(beta), static_cast<E*>(sum),
                    static_cast<E*>(out), stats, eps, T, cols, kind == Norm::kLayerNorm});
  });
}

void CudaOps::add(const void* x, const void* y, const void* bias, void* out, int64_t T,
                  int64_t cols) {
  if (T == 0 || cols == 0) return;
  with_type([&](auto element) {
    using E = decltype(element);
    const AddArgs<E> args{static_cast<const E*>(x),
                          static_cast<const E*>(y),
                          static_cast<const E*>(bias),
                          static_cast<E*>(out),
                          T,
                          cols};
    with_width<E>(cols, aligned_16(x, y, bias, out), [&](auto width) {
      launch(device_, stream(), add_kernel<E, width.value>,
             pack_grid(device_, T, cols / width.value), dim3(kElementwiseThreads), 0, args);
    });
  });
}

void CudaOps::column_sum(const void* dy, float* dbias, int64_t T, int64_t cols) {
  if (T == 0 || cols == 0) return;
  with_type([&](auto element) {
    using E = decltype(element);
    with_width<E>(cols, aligned_16(dy), [&](auto width) {
      const dim3 grid = column_grid(device_, T, cols, width.value);
      auto* partial = static_cast<float*>(scratch(partial_bytes(grid.y, cols, 1)));
      launch(device_, stream(), column_sum_kernel<E, width.value>, grid, dim3(kWarp, kColumnRows),
             0, static_cast<const E*>(dy), ColumnShape{T, cols, ceil_div(T, grid.y), partial});
      add_column_sums(device_, stream(), partial, grid.y, cols, dbias, nullptr);
    });
  });
}

}  // namespace shardwright
