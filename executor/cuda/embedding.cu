// Token and position embeddings of one vocabulary shard.
//
// The gradient sums the rows of dx that belong to one table row in the order of their places, so
// the tokens are sorted first (token_order.h). The sorted list is cut into ranges of equal length,
// whatever the tokens are, so that a very frequent token (padding) is as quick as any other: a
// range adds what begins in it to the table and leaves what it continues from the range before in
// scratch; a second kernel adds these sums, range after range.
//
// Memory traffic, in elements of the compute type per element of x: forward 2 (3 with positions).
// Gradient: 1 (dx), once more with positions, and 8 bytes per element of every table row met and of
// every position (fp32 in and out); 16 bytes per token for each of the two sort passes.
#include "executor/cuda/cuda_ops_impl.h"
#include "executor/cuda/sums.h"
#include "executor/cuda/token_order.h"
#include "executor/cuda/vectors.h"

namespace shardwright {
namespace {

template <typename E>
struct EmbeddingArgs {
  const int32_t* tokens;
  const E *table, *positions;
  E* x;
  int64_t first_row, rows, T, cols;
  uint32_t seq;
};

template <typename E, int W>
__global__ void __launch_bounds__(kElementwiseThreads) embedding_kernel(EmbeddingArgs<E> a) {
  for (PackWalk at(a.cols / W); at.row() < a.T; at.next()) {
    const int64_t row = a.tokens[at.row()] - a.first_row, column = at.pack() * W;
    float x[W] = {}, position[W] = {};
    if (row >= 0 && row < a.rows) load_floats(a.table + row * a.cols + column, x);
    if (a.positions != nullptr) {
      const int64_t place = static_cast<uint32_t>(at.row()) % a.seq;
      load_floats(a.positions + place * a.cols + column, position);
    }
#pragma unroll
    for (int w = 0; w < W; ++w) x[w] += position[w];
    store_floats(x, a.x + at.row() * a.cols + column);
  }
}

// --- gradient ---

constexpr int kRangeWarps = 8;  // ranges of a block, one warp each
constexpr int64_t kMaxRanges = 1024;
constexpr int kAhead = 4;  // rows of dx that a thread has under way

template <typename E>
struct TableGradArgs {
  TokenOrder order;
  const E* dx;
  float* dtable;
  float* carried;  // [ranges, cols]: sums that continue the range before
  int64_t T, cols, per_range, ranges;
  int32_t rows;
};

// Whether range `range` (not the first) begins in the middle of a table row's tokens.
template <typename E>
__device__ inline bool continues(const TableGradArgs<E>& a, int64_t range) {
  const int64_t at = range * a.per_range;
  return at > 0 && at < a.T && a.order.rows[at] == a.order.rows[at - 1];
}

template <int W>
__device__ inline void add_floats(const float (&values)[W], float* to) {
  float sum[W];
  load_floats(to, sum);
#pragma unroll
  for (int w = 0; w < W; ++w) sum[w] += values[w];
  store_floats(sum, to);
}

// Each warp: one range of the sorted tokens, 32 packs of columns.
template <typename E, int W>
__global__ void __launch_bounds__(kWarp* kRangeWarps) range_sums_kernel(TableGradArgs<E> a) {
  const int64_t range = static_cast<int64_t>(blockIdx.y) * kRangeWarps + threadIdx.y;
  const int64_t column = (static_cast<int64_t>(blockIdx.x) * kWarp + threadIdx.x) * W;
  const int64_t first = range * a.per_range;
  if (first >= a.T || column >= a.cols) return;
  const int64_t last = first + a.per_range < a.T ? first + a.per_range : a.T;
  float* carried = continues(a, range) ? a.carried + range * a.cols + column : nullptr;
  int32_t current = a.order.rows[first];
  float sum[W] = {};
  const auto write = [&] {
    if (carried != nullptr) {
      store_floats(sum, carried);
    } else {
      add_floats(sum, a.dtable + current * a.cols + column);
    }
    carried = nullptr;
  };
  for (int64_t i = first; i < last; i += kAhead) {
    Elements<E, W> ahead[kAhead];
    int32_t rows[kAhead];
#pragma unroll
    for (int k = 0; k < kAhead; ++k) {
      rows[k] = i + k < last ? a.order.rows[i + k] : a.rows;
      if (rows[k] < a.rows) {
        ahead[k] = load_elements<W>(a.dx + a.order.places[i + k] * a.cols + column);
      }
    }
#pragma unroll
    for (int k = 0; k < kAhead; ++k) {
      if (rows[k] != current) {
        write();
        current = rows[k];
#pragma unroll
        for (int w = 0; w < W; ++w) sum[w] = 0;
      }
      if (current == a.rows) return;  // the rest is other ranks' tokens, or past the end
#pragma unroll
      for (int w = 0; w < W; ++w) sum[w] += to_float(ahead[k].e[w]);
    }
  }
  write();
}

// The first range after `range` that does not begin with table row `row`.
template <typename E>
__device__ inline int64_t end_of_row(const TableGradArgs<E>& a, int64_t range, int32_t row) {
  int64_t low = range, high = a.ranges;  // low begins with it, high does not
  while (high - low > 1) {
    const int64_t middle = (low + high) / 2;
    (a.order.rows[middle * a.per_range] == row ? low : high) = middle;
  }
  return high;
}

// blockIdx.y is a range. Where it is the first that continues a table row, the block adds the
// carried sums of all ranges that do: each warp an eighth of them, then these in order.
template <typename E, int W>
__global__ void __launch_bounds__(kWarp* kRangeWarps) carried_sums_kernel(TableGradArgs<E> a) {
  __shared__ float shared[kRangeWarps][W][kWarp];
  const int64_t range = blockIdx.y;
  if (!continues(a, range)) return;
  const int32_t row = a.order.rows[range * a.per_range];
  const bool earlier = continues(a, range - 1) && a.order.rows[(range - 1) * a.per_range] == row;
  if (row == a.rows || earlier) return;
  const int lane = static_cast<int>(threadIdx.x), y = static_cast<int>(threadIdx.y);
  const int64_t column = (static_cast<int64_t>(blockIdx.x) * kWarp + lane) * W;
  const int64_t end = end_of_row(a, range, row);
  const int64_t share = (end - range + kRangeWarps - 1) / kRangeWarps;
  const int64_t from = range + y * share, to = from + share < end ? from + share : end;
  float sum[W] = {};
  if (column < a.cols) {
#pragma unroll 4
    for (int64_t k = from; k < to; ++k) {
      float values[W];
      load_floats(a.carried + k * a.cols + column, values);
#pragma unroll
      for (int w = 0; w < W; ++w) sum[w] += values[w];
    }
  }
#pragma unroll
  for (int w = 0; w < W; ++w) shared[y][w][lane] = sum[w];
  __syncthreads();
  for (int w = y; w < W && column < a.cols; w += kRangeWarps) {
    float total = 0;
    for (int k = 0; k < kRangeWarps; ++k) total += shared[k][w][lane];
    a.dtable[row * a.cols + column + w] += total;
  }
}

template <typename E>
struct PositionGradArgs {
  const E* dx;
  float* dpositions;
  int64_t T, seq, cols;
};

template <typename E, int W>
__global__ void __launch_bounds__(kElementwiseThreads) position_grad_kernel(PositionGradArgs<E> a) {
  for (PackWalk at(a.cols / W); at.row() < a.seq && at.row() < a.T; at.next()) {
    const int64_t column = at.pack() * W;
    float sum[W] = {};
#pragma unroll 4
    for (int64_t t = at.row(); t < a.T; t += a.seq) {
      float values[W];
      load_floats(a.dx + t * a.cols + column, values);
#pragma unroll
      for (int w = 0; w < W; ++w) sum[w] += values[w];
    }
    add_floats(sum, a.dpositions + at.row() * a.cols + column);
  }
}

}  // namespace

void CudaOps::embedding(const int32_t* tokens, const void* table, int64_t first_row, int64_t rows,
                        const void* positions, void* x, int64_t T, int64_t seq, int64_t cols) {
  if (T == 0 || cols == 0) return;
  SW_CHECK_LE(T, INT32_MAX, "tokens are counted in 32 bits");
  with_type([&](auto element) {
    using E = decltype(element);
    const EmbeddingArgs<E> args{tokens,
                                static_cast<const E*>(table),
                                static_cast<const E*>(positions),
                                static_cast<E*>(x),
                                first_row,
                                rows,
                                T,
                                cols,
                                static_cast<uint32_t>(seq)};
    with_width<E>(cols, aligned_16(table, positions, x), [&](auto width) {
      launch(device_, stream(), embedding_kernel<E, width.value>,
             pack_grid(device_, T, cols / width.value), dim3(kElementwiseThreads), 0, args);
    });
  });
}

void CudaOps::embedding_grad(const int32_t* tokens, const void* dx, float* dtable,
                             int64_t first_row, int64_t rows, float* dpositions, int64_t T,
                             int64_t seq, int64_t cols) {
  if (T == 0 || cols == 0) return;
  // At least 8 tokens, so that sums of rare tokens stay within a range.
  const int64_t most =
      std::clamp<int64_t>(kPartialBytes / partial_bytes(1, cols, 1), 1, kMaxRanges);
  const int64_t per_range = std::max<int64_t>(8, ceil_div(T, most));
  const int64_t ranges = ceil_div(T, per_range);
  const Bytes order_bytes = round_up(token_order_bytes(T), 256);
  auto* memory = static_cast<char*>(scratch(order_bytes + partial_bytes(ranges, cols, 1)));
  const TokenOrder order = order_tokens(device_, stream(), tokens, T, first_row, rows, memory);
  with_type([&](auto element) {
    using E = decltype(element);
    const auto* from = static_cast<const E*>(dx);
    const TableGradArgs<E> args{order,
                                from,
                                dtable,
                                reinterpret_cast<float*>(memory + order_bytes),
                                T,
                                cols,
                                per_range,
                                ranges,
                                static_cast<int32_t>(rows)};
    with_width<E>(cols, aligned_16(dx, dtable, dpositions), [&](auto width) {
      constexpr int W = width.value;
      const auto tiles = static_cast<unsigned>(ceil_div(cols, int64_t{kWarp} * W));
      const dim3 block(kWarp, kRangeWarps);
      launch(device_, stream(), range_sums_kernel<E, W>,
             dim3(tiles, static_cast<unsigned>(ceil_div(ranges, kRangeWarps))), block, 0, args);
      launch(device_, stream(), carried_sums_kernel<E, W>,
             dim3(tiles, static_cast<unsigned>(ranges)), block, 0, args);
      if (dpositions == nullptr) return;
      launch(device_, stream(), position_grad_kernel<E, W>,
             pack_grid(device_, std::min(T, seq), cols / W), dim3(kElementwiseThreads), 0,
             PositionGradArgs<E>{from, dpositions, T, seq, cols});
    });
  });
}

}  // namespace shardwright
