// Attention for what tensor cores do not take: fp32, and heads other than 64 and 128. Plain fp32
// arithmetic, no [seq, seq] matrix either. It serves checks and rare shapes, not speed.
//
// A warp has kRows rows of its own and sees the other side in tiles of 32 rows in shared memory: a
// lane computes the products with one row of the tile, then gathers its columns of the sums.
#include <limits>

#include "executor/cuda/attention_kernels.h"
#include "executor/cuda/kernel.h"

namespace shardwright {
namespace {

constexpr int kWarps = 4, kThreads = 32 * kWarps;
constexpr int kRows = 4;  // of a warp
constexpr int kBlockRows = kWarps * kRows;
constexpr int kTile = 32;
constexpr int kColumns = 256 / 32;  // of a lane: lane, lane + 32, ..
constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();
constexpr unsigned kAll = 0xffffffffu;

__device__ inline int warp_index() { return static_cast<int>(threadIdx.x) / 32; }
__device__ inline int lane_index() { return static_cast<int>(threadIdx.x) % 32; }

// Rows in shared memory lie an odd number of elements apart: lanes that read one column of
// different rows meet different banks.
__host__ __device__ inline int row_stride(int head_dim) { return head_dim | 1; }

// to[count, row_stride] = rows first .. of a head; rows behind the last one become zero.
template <typename T>
__device__ inline void read_rows(float* to, const HeadRows<const T>& head, int first, int count,
                                 int head_dim) {
  for (int i = static_cast<int>(threadIdx.x); i < count * head_dim; i += kThreads) {
    const int row = i / head_dim, column = i % head_dim;
    to[row * row_stride(head_dim) + column] =
        first + row < head.rows ? to_float(head.row(first + row)[column]) : 0.0f;
  }
}

// products[r] = the warp's row r times the lane's row of the tile.
__device__ inline void multiply_rows(float (&products)[kRows], const float* own, const float* tile,
                                     int head_dim) {
  const int stride = row_stride(head_dim);
  own += warp_index() * kRows * stride;
  tile += lane_index() * stride;
  for (float& product : products) product = 0;
  for (int i = 0; i < head_dim; ++i) {
    for (int r = 0; r < kRows; ++r) products[r] = fmaf(own[r * stride + i], tile[i], products[r]);
  }
}

// sums[r] += weights of row r, one in each lane, times the tile's rows; sums[r][c] is column
// lane + 32 c.
__device__ inline void add_tile_rows(float (&sums)[kRows][kColumns], const float (&weights)[kRows],
                                     const float* tile, int head_dim) {
  for (int row = 0; row < kTile; ++row) {
    float weight[kRows];
    for (int r = 0; r < kRows; ++r) weight[r] = __shfl_sync(kAll, weights[r], row);
#pragma unroll
    for (int c = 0; c < kColumns; ++c) {
      const int column = lane_index() + 32 * c;
      if (column >= head_dim) continue;
      const float value = tile[row * row_stride(head_dim) + column];
      for (int r = 0; r < kRows; ++r) sums[r][c] = fmaf(weight[r], value, sums[r][c]);
    }
  }
}

template <typename T>
__device__ inline void write_row(const HeadRows<T>& head, int row, const float (&values)[kColumns],
                                 float factor, int head_dim) {
  if (row >= head.rows) return;
#pragma unroll
  for (int c = 0; c < kColumns; ++c) {
    const int column = lane_index() + 32 * c;
    if (column < head_dim) head.row(row)[column] = from_float<T>(values[c] * factor);
  }
}

__device__ inline float warp_max(float x) {
  for (int bits = 16; bits > 0; bits /= 2) x = fmaxf(x, __shfl_xor_sync(kAll, x, bits));
  return x;
}
__device__ inline float warp_sum(float x) {
  for (int bits = 16; bits > 0; bits /= 2) x += __shfl_xor_sync(kAll, x, bits);
  return x;
}

// Running maximum, sum of exponentials (of the lane's keys) and weighted values of a warp's rows.
struct RunningRows {
  float max[kRows], sum[kRows], out[kRows][kColumns];
};

// Scores become exponentials; every row sees key 0, so that its maximum is finite from then on.
__device__ inline void exponentials(float (&scores)[kRows], RunningRows* rows) {
  for (int r = 0; r < kRows; ++r) {
    const float max = fmaxf(rows->max[r], warp_max(scores[r]));
    const float shrink = expf(rows->max[r] - max);
    scores[r] = expf(scores[r] - max);
    rows->max[r] = max;
    rows->sum[r] = rows->sum[r] * shrink + scores[r];
#pragma unroll
    for (int c = 0; c < kColumns; ++c) rows->out[r][c] *= shrink;
  }
}

template <typename T>
__global__ void __launch_bounds__(kThreads, 4)
    plain_attention_kernel(const T* qkv, T* out, float* lse, HeadSizes sizes) {
  const int head = static_cast<int>(blockIdx.x) % sizes.heads;
  const int sequence = static_cast<int>(blockIdx.x) / sizes.heads;
  const int first = static_cast<int>(gridDim.y - 1 - blockIdx.y) * kBlockRows;
  const int first_row = first + warp_index() * kRows, dim = sizes.head_dim;
  const auto keys = key_rows(qkv, sizes, sequence, head / (sizes.heads / sizes.kv_heads));
  float* queries = dynamic_shared<float>();
  float* key_tile = queries + kBlockRows * row_stride(dim);
  float* value_tile = key_tile + kTile * row_stride(dim);
  read_rows(queries, query_rows(qkv, sizes, sequence, head), first, kBlockRows, dim);

  RunningRows rows = {};
  for (float& max : rows.max) max = kMinusInfinity;
  for (int first_key = 0; first_key < min(first + kBlockRows, sizes.seq); first_key += kTile) {
    __syncthreads();  // the last tile has been read
    read_rows(key_tile, keys, first_key, kTile, dim);
    read_rows(value_tile, value_rows(keys, sizes), first_key, kTile, dim);
    __syncthreads();
    float scores[kRows];
    multiply_rows(scores, queries, key_tile, dim);
    for (int r = 0; r < kRows; ++r) {
      const bool visible = first_key + lane_index() <= first_row + r;
      scores[r] = visible ? scores[r] * sizes.scale : kMinusInfinity;
    }
    exponentials(scores, &rows);
    add_tile_rows(rows.out, scores, value_tile, dim);
  }
  for (int r = 0; r < kRows; ++r) {
    const float sum = warp_sum(rows.sum[r]);
    write_row(out_rows(out, sizes, sequence, head), first_row + r, rows.out[r],
              __fdividef(1.0f, sum), dim);
    if (lane_index() == 0 && first_row + r < sizes.seq) {
      lse[row_number(sizes, sequence, head) + first_row + r] = rows.max[r] + logf(sum);
    }
  }
}

// What the gradient needs of a query's row; zero behind the last one.
struct RowSums {
  float lse, dot;
  __device__ RowSums(const float* all_lse, const float* dots, int64_t first, int row, int rows)
      : lse(row < rows ? all_lse[first + row] : 0), dot(row < rows ? dots[first + row] : 0) {}
};

// With S the scores, P = exp(S - lse) and dS = P (dO V^T - dot): dQ = scale dS K for a block of
// queries, or dK = scale dS^T Q and dV = P^T dO for a block of keys.
template <typename T, bool kOfKeys>
__global__ void __launch_bounds__(kThreads, 4)
    plain_attention_grad_kernel(const T* qkv, const float* lse, const T* dout, const float* dots,
                                T* dqkv, HeadSizes sizes) {
  const int heads = kOfKeys ? sizes.kv_heads : sizes.heads;
  const int own_head = static_cast<int>(blockIdx.x) % heads;
  const int sequence = static_cast<int>(blockIdx.x) / heads;
  const int group = sizes.heads / sizes.kv_heads, dim = sizes.head_dim;
  const int first = static_cast<int>(blockIdx.y) * kBlockRows;
  const int first_row = first + warp_index() * kRows;
  float* scored = dynamic_shared<float>();  // of keys: k and v; of queries: q and dout
  float* weighed = scored + kBlockRows * row_stride(dim);
  float* scored_tile = weighed + kBlockRows * row_stride(dim);  // the other two
  float* weighed_tile = scored_tile + kTile * row_stride(dim);
  const auto keys = key_rows(qkv, sizes, sequence, kOfKeys ? own_head : own_head / group);
  const auto values = value_rows(keys, sizes);
  if (kOfKeys) {
    read_rows(scored, keys, first, kBlockRows, dim);
    read_rows(weighed, values, first, kBlockRows, dim);
  }
  float scored_sums[kRows][kColumns] = {}, weighed_sums[kRows][kColumns] = {};
  const int first_head = kOfKeys ? own_head * group : own_head;
  const int first_tile = kOfKeys ? first : 0;
  const int end_tile = kOfKeys ? sizes.seq : min(first + kBlockRows, sizes.seq);
  for (int head = first_head; head < first_head + (kOfKeys ? group : 1); ++head) {
    const auto queries = query_rows(qkv, sizes, sequence, head);
    const auto douts = out_rows(dout, sizes, sequence, head);
    const int64_t number = row_number(sizes, sequence, head);
    if (!kOfKeys) {
      read_rows(scored, queries, first, kBlockRows, dim);
      read_rows(weighed, douts, first, kBlockRows, dim);
    }
    for (int tile = first_tile; tile < end_tile; tile += kTile) {
      __syncthreads();  // the last tile has been read
      read_rows(scored_tile, kOfKeys ? queries : keys, tile, kTile, dim);
      read_rows(weighed_tile, kOfKeys ? douts : values, tile, kTile, dim);
      __syncthreads();
      float p[kRows], ds[kRows];
      multiply_rows(p, scored, scored_tile, dim);
      multiply_rows(ds, weighed, weighed_tile, dim);
      for (int r = 0; r < kRows; ++r) {
        const int own = first_row + r, other = tile + lane_index();
        const int query = kOfKeys ? other : own, key = kOfKeys ? own : other;
        const RowSums sums(lse, dots, number, query, sizes.seq);
        const bool visible = key <= query && query < sizes.seq;
        p[r] = visible ? expf(p[r] * sizes.scale - sums.lse) : 0.0f;
        ds[r] = p[r] * (ds[r] - sums.dot);
      }
      add_tile_rows(scored_sums, ds, scored_tile, dim);
      if (kOfKeys) add_tile_rows(weighed_sums, p, weighed_tile, dim);
    }
  }
  const auto gradient = kOfKeys ? key_rows(dqkv, sizes, sequence, own_head)
                                : query_rows(dqkv, sizes, sequence, own_head);
  for (int r = 0; r < kRows; ++r) {
    write_row(gradient, first_row + r, scored_sums[r], sizes.scale, dim);
    if (kOfKeys) {
      write_row(value_rows(gradient, sizes), first_row + r, weighed_sums[r], 1.0f, dim);
    }
  }
}

// Sum over head_dim of dout * out, eight lanes per row of a head; 16 bytes at a time where rows are
// multiples of that.
constexpr int kDotLanes = 8, kDotRows = kThreads / kDotLanes;

template <typename T, bool kPacks>
__global__ void __launch_bounds__(kThreads, 4)
    dots_kernel(const T* out, const T* dout, float* dots, HeadSizes sizes, int64_t rows) {
  const int lane = static_cast<int>(threadIdx.x) % kDotLanes;
  const int64_t row = int64_t{blockIdx.x} * kDotRows + static_cast<int>(threadIdx.x) / kDotLanes;
  const int64_t first = row * sizes.head_dim;  // rows are [batch, seq, heads]
  constexpr int kStep = kPacks ? Pack<T>::kSize : 1;
  float sum = 0;
  for (int i = lane * kStep; row < rows && i < sizes.head_dim; i += kDotLanes * kStep) {
    if constexpr (kPacks) {
      const Pack<T> a = load_pack(out + first + i), b = load_pack(dout + first + i);
      for (int k = 0; k < kStep; ++k) sum = fmaf(to_float(a.at[k]), to_float(b.at[k]), sum);
    } else {
      sum = fmaf(to_float(out[first + i]), to_float(dout[first + i]), sum);
    }
  }
  for (int bits = kDotLanes / 2; bits > 0; bits /= 2) sum += __shfl_xor_sync(kAll, sum, bits);
  if (lane != 0 || row >= rows) return;
  const int64_t token = row / sizes.heads, sequence = token / sizes.seq;
  const int head = static_cast<int>(row - token * sizes.heads);
  dots[row_number(sizes, static_cast<int>(sequence), head) + token - sequence * sizes.seq] = sum;
}

dim3 grid_of(int64_t heads, const AttentionShape& shape) {
  return dim3(static_cast<unsigned>(shape.batch * heads),
              static_cast<unsigned>(ceil_div(shape.seq, kBlockRows)));
}
size_t shared_bytes(const AttentionShape& shape, int rows) {
  const int stride = row_stride(static_cast<int>(shape.head_dim));
  return static_cast<size_t>(rows) * static_cast<size_t>(stride) * sizeof(float);
}

template <typename T>
void forward(const AttentionCall& call, const void* qkv, void* out, float* lse) {
  launch(call.device, call.stream, plain_attention_kernel<T>, grid_of(call.shape.heads, call.shape),
         dim3(kThreads), shared_bytes(call.shape, kBlockRows + 2 * kTile),
         static_cast<const T*>(qkv), static_cast<T*>(out), lse, head_sizes(call.shape));
}

template <typename T>
void grad(const AttentionCall& call, const void* qkv, const float* lse, const void* dout,
          const float* dots, void* dqkv) {
  const size_t bytes = shared_bytes(call.shape, 2 * kBlockRows + 2 * kTile);
  const auto give = [&](auto kernel, int64_t heads) {
    launch(call.device, call.stream, kernel, grid_of(heads, call.shape), dim3(kThreads), bytes,
           static_cast<const T*>(qkv), lse, static_cast<const T*>(dout), dots,
           static_cast<T*>(dqkv), head_sizes(call.shape));
  };
  give(plain_attention_grad_kernel<T, false>, call.shape.heads);
  give(plain_attention_grad_kernel<T, true>, call.shape.kv_heads);
}

template <typename T>
void give_dots(const AttentionCall& call, const void* out, const void* dout, float* dots) {
  const AttentionShape& shape = call.shape;
  const int64_t rows = shape.batch * shape.seq * shape.heads;
  const bool packs = shape.head_dim % Pack<T>::kSize == 0;
  launch(call.device, call.stream, packs ? dots_kernel<T, true> : dots_kernel<T, false>,
         dim3(static_cast<unsigned>(ceil_div(rows, kDotRows))), dim3(kThreads), 0,
         static_cast<const T*>(out), static_cast<const T*>(dout), dots, head_sizes(shape), rows);
}

}  // namespace

void plain_attention(const AttentionCall& call, const void* qkv, void* out, float* lse) {
  if (call.type == DataType::kFp32) return forward<float>(call, qkv, out, lse);
  forward<bf16>(call, qkv, out, lse);
}

void plain_attention_grad(const AttentionCall& call, const void* qkv, const float* lse,
                          const void* dout, const float* dots, void* dqkv) {
  if (call.type == DataType::kFp32) return grad<float>(call, qkv, lse, dout, dots, dqkv);
  grad<bf16>(call, qkv, lse, dout, dots, dqkv);
}

void attention_dots(const AttentionCall& call, const void* out, const void* dout, float* dots) {
  if (call.type == DataType::kFp32) return give_dots<float>(call, out, dout, dots);
  give_dots<bf16>(call, out, dout, dots);
}

}  // namespace shardwright
