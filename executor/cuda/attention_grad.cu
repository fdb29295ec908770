// The gradient of attention on tensor cores, from weights recomputed out of lse tile by tile. With
// P = exp(S - lse), dO the gradient of the output and dot = sum over head_dim of dO * O:
//   dV = P^T dO,  dS = P (dO V^T - dot),  dQ = scale dS K,  dK = scale dS^T Q.
//
// Two kernels, each with its sums in registers: a block of threads takes 128 keys and passes over
// the queries of all heads that share them (dK, dV), or takes 128 queries and passes over their
// keys (dQ). S and dO V^T are computed in both, 7 products for 5, so that every sum is made in one
// place in one order: nothing is added up in memory, and results are the same bytes every time.
#include "executor/cuda/attention_tile.h"

namespace shardwright {
namespace {

constexpr int kStages = 2;

// --- dK and dV ---

// A warp has 2 x 16 keys and sees 32 queries at a time. Registers hold the sums of 64 columns; for
// heads of 128, two warps share their keys: each computes the weights of one half of 64 queries,
// and the sums of one half of the columns, with the weights of both from shared memory.
template <int kDim>
struct KeyTiles {
  static constexpr int kSplit = kDim / 64;
  static constexpr int kThreads = 128 * kSplit;
  static constexpr int kBlocksPerSm = 2 / kSplit;  // what registers allow
  static constexpr int kQueries = 32 * kSplit;
  static constexpr int kOwnBytes = kRowBlock * 2 * kDim;
  static constexpr int kTileBytes = kQueries * 2 * kDim;
  static constexpr int kWeightBytes = kSplit == 1 ? 0 : kRowBlock * 2 * kQueries;
  static constexpr int kNumbers = 2 * kQueries;  // of a stage: lse (base 2), dots
  static constexpr int kSharedBytes = 2 * kOwnBytes + kStages * 2 * kTileBytes + 2 * kWeightBytes +
                                      kStages * kNumbers * static_cast<int>(sizeof(float));

  // Parts of shared memory. Of a stage: queries, then dO.
  __device__ static unsigned char* keys() { return dynamic_shared<unsigned char>(); }
  __device__ static unsigned char* values() { return keys() + kOwnBytes; }
  __device__ static unsigned char* queries(int stage) {
    return values() + kOwnBytes + stage * 2 * kTileBytes;
  }
  __device__ static unsigned char* douts(int stage) { return queries(stage) + kTileBytes; }
  __device__ static unsigned char* weights() { return queries(kStages); }
  __device__ static unsigned char* dscores() { return weights() + kWeightBytes; }
  __device__ static float* numbers(int stage) {
    return reinterpret_cast<float*>(dscores() + kWeightBytes) + stage * kNumbers;
  }
  // Where this warp's rows of keys, its queries and its columns start.
  __device__ static int group_row() { return derive_again(threadIdx.x) / 32 % 4 * 16; }
  __device__ static int part() { return derive_again(threadIdx.x) / 128; }
};

struct GradSources {
  const bf16 *qkv, *dout;
  const float *lse, *dots;
};

// Starts to copy a stage; returns the number of it that this thread is to put beside.
template <int kDim>
__device__ inline float start_queries(const GradSources& from, const HeadSizes& sizes, int sequence,
                                      int head, int query, int stage) {
  using Tiles = KeyTiles<kDim>;
  copy_tile<Tiles::kQueries, kDim, Tiles::kThreads>(
      Tiles::queries(stage), query_rows(from.qkv, sizes, sequence, head), query);
  copy_tile<Tiles::kQueries, kDim, Tiles::kThreads>(
      Tiles::douts(stage), out_rows(from.dout, sizes, sequence, head), query);
  cp_async_commit();
  const int thread = derive_again(threadIdx.x), row = query + thread % Tiles::kQueries;
  if (thread >= Tiles::kNumbers || row >= sizes.seq) return 0;  // rows of zeros add nothing
  const int64_t at = row_number(sizes, sequence, head) + row;
  return thread < Tiles::kQueries ? from.lse[at] * kLog2E : from.dots[at];
}
template <int kDim>
__device__ inline void put_number(int stage, float number) {
  if (static_cast<int>(threadIdx.x) < KeyTiles<kDim>::kNumbers) {
    KeyTiles<kDim>::numbers(stage)[threadIdx.x] = number;
  }
}

// scores -> P and dO V^T -> dS, transposed: rows are keys, columns queries with their numbers.
template <int kEnd>
__device__ inline void differentiate_columns(float (&scores)[2][4][4], float (&dscores)[2][4][4],
                                             const float* lse, const float* dots,
                                             float scale_log2) {
#pragma unroll
  for (int n = 0; n < 4; ++n) {
#pragma unroll
    for (int m = 0; m < kEnd; ++m) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int column = n * 8 + i % 2;
        const float p = fast_exp2(fmaf(scores[m][n][i], scale_log2, -lse[column]));
        scores[m][n][i] = p;
        dscores[m][n][i] = p * (dscores[m][n][i] - dots[column]);
      }
    }
  }
}

// Of a tile with one row per key and one column per query: as A's fragments, all columns.
template <int kEnd, int kK>
__device__ inline void read_weights(const unsigned char* tile, int first_row,
                                    uint32_t (&weights)[2][kK][4]) {
  const int offset = fragment_offset<16 * kK>(first_row);
#pragma unroll
  for (int k = 0; k < kK; ++k) {
#pragma unroll
    for (int m = 0; m < kEnd; ++m) {
      ldmatrix_x4(weights[m][k], tile + (offset ^ (k << 5)) + m * kBlockStep * 32 * kK);
    }
  }
}

template <int kDim>
struct KeySums {
  float dkeys[2][8][4], dvalues[2][8][4];
};

// One stage, which has arrived, for blocks 0 .. kEnd - 1 of keys. `behind`: by how much its first
// query is behind the first key. On the diagonal, the last of the blocks is not seen by all.
template <int kDim, int kEnd, bool kDiagonal>
__device__ inline void grad_of_keys(int stage, int behind, float scale_log2, KeySums<kDim>* sums) {
  using Tiles = KeyTiles<kDim>;
  const int part = Tiles::part(), group_row = Tiles::group_row();
  const int first_query = Tiles::kSplit == 1 ? 0 : part * 32;
  const int own = fragment_offset<kDim>(group_row), other = column_offset<kDim>(first_query);
  float scores[2][4][4] = {}, dscores[2][4][4] = {};
  add_row_products<kDim, 0, kEnd>(scores, Tiles::keys(), own, Tiles::queries(stage), other);
  add_row_products<kDim, 0, kEnd>(dscores, Tiles::values(), own, Tiles::douts(stage), other);
  if (kDiagonal) {
    const int key = group_row + lane_group() + (kEnd - 1) * kBlockStep;
    const int query = behind + first_query + lane_quad() * 2;
#pragma unroll
    for (int n = 0; n < 4; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        if (n * 8 + i % 2 < key + i / 2 * 8 - query) scores[kEnd - 1][n][i] = kMinusInfinity;
      }
    }
  }
  const float* numbers = Tiles::numbers(stage) + first_query + lane_quad() * 2;
  differentiate_columns<kEnd>(scores, dscores, numbers, numbers + Tiles::kQueries, scale_log2);

  constexpr int kDepth = Tiles::kQueries / 16;
  uint32_t weights[2][kDepth][4];
  const int columns = fragment_offset<kDim>(0) + part * 128;
  if constexpr (Tiles::kSplit == 1) {
#pragma unroll
    for (int m = 0; m < kEnd; ++m) to_weights<kDepth>(scores[m], weights[m]);
    add_weighted_rows<kDim, 0, kEnd>(sums->dvalues, weights, Tiles::douts(stage), columns);
#pragma unroll
    for (int m = 0; m < kEnd; ++m) to_weights<kDepth>(dscores[m], weights[m]);
    add_weighted_rows<kDim, 0, kEnd>(sums->dkeys, weights, Tiles::queries(stage), columns);
  } else {
#pragma unroll
    for (int m = 0; m < kEnd; ++m) {
      const int row = group_row + m * kBlockStep;
      put_rows<Tiles::kQueries>(Tiles::weights(), row, part * 4, scores[m], 1, 1);
      put_rows<Tiles::kQueries>(Tiles::dscores(), row, part * 4, dscores[m], 1, 1);
    }
    __syncthreads();  // the other half of the weights is there
    read_weights<kEnd>(Tiles::weights(), group_row, weights);
    add_weighted_rows<kDim, 0, kEnd>(sums->dvalues, weights, Tiles::douts(stage), columns);
    read_weights<kEnd>(Tiles::dscores(), group_row, weights);
    add_weighted_rows<kDim, 0, kEnd>(sums->dkeys, weights, Tiles::queries(stage), columns);
  }
}

// The first keys, which most queries see, come first.
template <int kDim>
__global__ void __launch_bounds__(KeyTiles<kDim>::kThreads, KeyTiles<kDim>::kBlocksPerSm)
    attention_grad_of_keys_kernel(GradSources from, bf16* dqkv, HeadSizes sizes) {
  using Tiles = KeyTiles<kDim>;
  constexpr int kQueries = Tiles::kQueries;
  const int kv_head = static_cast<int>(blockIdx.x) % sizes.kv_heads;
  const int sequence = static_cast<int>(blockIdx.x) / sizes.kv_heads;
  const int first = static_cast<int>(blockIdx.y) * kRowBlock;
  const int group = sizes.heads / sizes.kv_heads;
  const auto keys = key_rows(from.qkv, sizes, sequence, kv_head);
  copy_tile<kRowBlock, kDim, Tiles::kThreads>(Tiles::keys(), keys, first);
  copy_tile<kRowBlock, kDim, Tiles::kThreads>(Tiles::values(), value_rows(keys, sizes), first);

  int head = kv_head * group, query = first, stage = 0;
  const int end_head = head + group;
  put_number<kDim>(0, start_queries<kDim>(from, sizes, sequence, head, query, 0));
  KeySums<kDim> sums = {};
  while (head < end_head) {
    cp_async_wait<0>();
    __syncthreads();  // the stage is there, and the one before has been read
    const int behind = query - first;
    query += kQueries;
    if (query >= sizes.seq) {
      query = first;
      ++head;
    }
    float number = 0;
    if (head < end_head) {
      number = start_queries<kDim>(from, sizes, sequence, head, query, stage ^ 1);
    }
    if (behind >= kRowBlock) {
      grad_of_keys<kDim, 2, false>(stage, behind, sizes.scale_log2, &sums);
    } else if (behind >= kBlockStep) {
      grad_of_keys<kDim, 2, true>(stage, behind, sizes.scale_log2, &sums);
    } else {  // only blocks 0 are seen
      grad_of_keys<kDim, 1, true>(stage, behind, sizes.scale_log2, &sums);
    }
    stage ^= 1;
    put_number<kDim>(stage, number);
  }

  __syncthreads();  // keys and values have been read: their tiles take the results
  const int group_row = Tiles::group_row(), chunk = Tiles::part() * 8;
#pragma unroll
  for (int m = 0; m < 2; ++m) {
    const int row = group_row + m * kBlockStep;
    put_rows<kDim>(Tiles::keys(), row, chunk, sums.dkeys[m], sizes.scale, sizes.scale);
    put_rows<kDim>(Tiles::values(), row, chunk, sums.dvalues[m], 1, 1);
  }
  __syncthreads();
  const auto dkeys = key_rows(dqkv, sizes, sequence, kv_head);
  store_tile<kDim, Tiles::kThreads>(Tiles::keys(), dkeys, first);
  store_tile<kDim, Tiles::kThreads>(Tiles::values(), value_rows(dkeys, sizes), first);
}

// --- dQ ---

// A warp has 2 x 16 queries and sees 32 keys at a time.
template <int kDim>
struct QueryTiles {
  static constexpr int kThreads = 128;
  static constexpr int kBlocksPerSm = 2;  // what registers allow
  static constexpr int kKeys = 32;
  static constexpr int kOwnBytes = kRowBlock * 2 * kDim;
  static constexpr int kTileBytes = kKeys * 2 * kDim;
  static constexpr int kNumbers = 2 * kRowBlock;  // lse (base 2), dots
  static constexpr int kSharedBytes =
      2 * kOwnBytes + kStages * 2 * kTileBytes + kNumbers * static_cast<int>(sizeof(float));

  // Parts of shared memory. Of a stage: keys, then values.
  __device__ static unsigned char* queries() { return dynamic_shared<unsigned char>(); }
  __device__ static unsigned char* douts() { return queries() + kOwnBytes; }
  __device__ static unsigned char* keys(int first_key) {
    return douts() + kOwnBytes + first_key / kKeys % kStages * 2 * kTileBytes;
  }
  __device__ static unsigned char* values(int first_key) { return keys(first_key) + kTileBytes; }
  __device__ static float* numbers() {
    return reinterpret_cast<float*>(keys(0) + kStages * 2 * kTileBytes);
  }
};

template <int kDim>
__device__ inline void start_keys(const HeadRows<const bf16>& head, int first_key,
                                  const HeadSizes& sizes) {
  using Tiles = QueryTiles<kDim>;
  HeadRows<const bf16> values = head;
  values.first += derive_again(key_to_value(sizes));
  copy_tile<Tiles::kKeys, kDim, Tiles::kThreads>(Tiles::keys(first_key), head, first_key);
  copy_tile<Tiles::kKeys, kDim, Tiles::kThreads>(Tiles::values(first_key), values, first_key);
  cp_async_commit();
}

// lse and dots of the block's rows, a row to each thread; rows of zeros add nothing.
template <int kDim>
__device__ inline void put_query_numbers(const GradSources& from, const HeadSizes& sizes,
                                         const QueryPlace& place) {
  const int thread = static_cast<int>(threadIdx.x);
  const bool there = place.first + thread < sizes.seq;
  const int64_t at = row_number(sizes, place.sequence, place.head) + place.first + thread;
  float* numbers = QueryTiles<kDim>::numbers();
  numbers[thread] = there ? from.lse[at] * kLog2E : 0.0f;
  numbers[kRowBlock + thread] = there ? from.dots[at] : 0.0f;
}

template <int kDim>
using QuerySums = float[2][kDim / 8][4];

// One tile of keys, on its way already, for row blocks kFirst .. 1; see attend_tile (attention.cu).
template <int kDim, int kFirst, bool kDiagonal>
__device__ inline void grad_of_queries(const HeadRows<const bf16>& head, int first_key, int behind,
                                       const HeadSizes& sizes, QuerySums<kDim>& dqueries) {
  using Tiles = QueryTiles<kDim>;
  cp_async_wait<0>();
  __syncthreads();  // the tile is there, and the one before has been read
  start_keys<kDim>(head, first_key + Tiles::kKeys, sizes);
  const int thread = derive_again(threadIdx.x), group_row = thread / 32 * 16;
  const int own = fragment_offset<kDim>(group_row), other = column_offset<kDim>(0);
  float scores[2][4][4] = {}, dscores[2][4][4] = {};
  add_row_products<kDim, kFirst, 2>(scores, Tiles::queries(), own, Tiles::keys(first_key), other);
  add_row_products<kDim, kFirst, 2>(dscores, Tiles::douts(), own, Tiles::values(first_key), other);
  if (kDiagonal) {
    const int query = group_row + thread % 32 / 4 + kFirst * kBlockStep;
    const int key = behind + thread % 4 * 2;
    hide_later_keys(scores[kFirst], query - key);
  }
  uint32_t weights[2][2][4];
#pragma unroll
  for (int m = kFirst; m < 2; ++m) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float* numbers =
          Tiles::numbers() + group_row + thread % 32 / 4 + m * kBlockStep + half * 8;
      const float lse = numbers[0], dot = numbers[kRowBlock];
#pragma unroll
      for (int n = 0; n < 4; ++n) {
#pragma unroll
        for (int i = 2 * half; i < 2 * half + 2; ++i) {
          const float p = fast_exp2(fmaf(scores[m][n][i], sizes.scale_log2, -lse));
          dscores[m][n][i] = p * (dscores[m][n][i] - dot);
        }
      }
    }
    to_weights<2>(dscores[m], weights[m]);
  }
  add_weighted_rows<kDim, kFirst, 2>(dqueries, weights, Tiles::keys(first_key),
                                     fragment_offset<kDim>(0));
}

// Blocks of threads in attention_kernel's order (attention.cu), for its reasons.
template <int kDim>
__global__ void __launch_bounds__(QueryTiles<kDim>::kThreads, QueryTiles<kDim>::kBlocksPerSm)
    attention_grad_of_queries_kernel(GradSources from, bf16* dqkv, HeadSizes sizes) {
  using Tiles = QueryTiles<kDim>;
  const QueryPlace place(sizes);
  const auto keys =
      key_rows(from.qkv, sizes, place.sequence, place.head / (sizes.heads / sizes.kv_heads));
  copy_tile<kRowBlock, kDim, Tiles::kThreads>(
      Tiles::queries(), query_rows(from.qkv, sizes, place.sequence, place.head), place.first);
  copy_tile<kRowBlock, kDim, Tiles::kThreads>(
      Tiles::douts(), out_rows(from.dout, sizes, place.sequence, place.head), place.first);
  start_keys<kDim>(keys, 0, sizes);
  put_query_numbers<kDim>(from, sizes, place);
  QuerySums<kDim> dqueries = {};

  int key = 0;
  for (; key < place.first; key += Tiles::kKeys) {
    grad_of_queries<kDim, 0, false>(keys, key, 0, sizes, dqueries);
  }
  for (; key < min(place.first + kBlockStep, sizes.seq); key += Tiles::kKeys) {
    grad_of_queries<kDim, 0, true>(keys, key, key - place.first, sizes, dqueries);
  }
  for (; key < min(place.first + kRowBlock, sizes.seq); key += Tiles::kKeys) {
    grad_of_queries<kDim, 1, true>(keys, key, key - place.first, sizes, dqueries);
  }
  cp_async_wait<0>();

  const QueryPlace again(sizes);
#pragma unroll
  for (int m = 0; m < 2; ++m) {
    put_rows<kDim>(Tiles::queries(), derive_again(threadIdx.x) / 32 * 16 + m * kBlockStep, 0,
                   dqueries[m], sizes.scale, sizes.scale);
  }
  __syncthreads();
  store_tile<kDim, Tiles::kThreads>(
      Tiles::queries(), query_rows(dqkv, sizes, again.sequence, again.head), again.first);
}

template <int kDim>
void launch_grad(const AttentionCall& call, const GradSources& from, bf16* dqkv) {
  const AttentionShape& shape = call.shape;
  const auto tiles = static_cast<unsigned>(ceil_div(shape.seq, kRowBlock));
  const HeadSizes sizes = head_sizes(shape);
  launch(call.device, call.stream, attention_grad_of_keys_kernel<kDim>,
         dim3(static_cast<unsigned>(shape.batch * shape.kv_heads), tiles),
         dim3(KeyTiles<kDim>::kThreads), KeyTiles<kDim>::kSharedBytes, from, dqkv, sizes);
  launch(call.device, call.stream, attention_grad_of_queries_kernel<kDim>,
         dim3(static_cast<unsigned>(shape.batch * shape.heads), tiles),
         dim3(QueryTiles<kDim>::kThreads), QueryTiles<kDim>::kSharedBytes, from, dqkv, sizes);
}

}  // namespace

bool tensor_core_grad_takes(const AttentionCall& call) {
  const int64_t dim = call.shape.head_dim;
  if (call.type != DataType::kBf16 || (dim != 64 && dim != 128)) return false;
  const Bytes needed = dim == 64 ? KeyTiles<64>::kSharedBytes : KeyTiles<128>::kSharedBytes;
  return call.device.properties().shared_block_bytes >= needed;
}

void tensor_core_attention_grad(const AttentionCall& call, const void* qkv, const float* lse,
                                const void* dout, const float* dots, void* dqkv) {
  const GradSources from{static_cast<const bf16*>(qkv), static_cast<const bf16*>(dout), lse, dots};
  if (call.shape.head_dim == 64) return launch_grad<64>(call, from, static_cast<bf16*>(dqkv));
  launch_grad<128>(call, from, static_cast<bf16*>(dqkv));
}

}  // namespace shardwright
