// Causal attention without a [seq, seq] matrix, on tensor cores: a block of threads takes 128
// queries of one head and passes over tiles of keys with a running maximum and sum (Dao,
// "FlashAttention-2", algorithm 1).
//
// What is taken from scores before exp is a reference that need not be the maximum: it is raised,
// and earlier sums shrink, only when a score exceeds it by more than kSlack. That is exact but for
// rounding, since the reference cancels, and after the first tiles it happens seldom (the idea is
// FlashAttention-4's).
//
// While one tile of keys and values is worked on, the next one travels. Scores stay in registers,
// in base 2: exp(scale s - m) = exp2(scale log2(e) s - m').
#include <cmath>

#include "costmodel/check.h"
#include "executor/cuda/attention_tile.h"
#include "executor/cuda/cuda_ops_impl.h"

namespace shardwright {
namespace {

constexpr int kThreads = 128;
// Sums of 128 columns leave registers for the scores of 32 keys.
template <int kDim>
constexpr int kKeys = kDim == 64 ? 64 : 32;
constexpr int kStages = 2;
template <int kDim>
constexpr int kSharedBytes = (kRowBlock + kStages * 2 * kKeys<kDim>)*2 * kDim;
constexpr int kBlocksPerSm = 2;  // what registers allow
// Exponentials stay below 2^8: bf16 keeps its relative precision there, and fp32 sums are far from
// their limit.
constexpr float kSlack = 8;
constexpr float kLn2 = 0.6931471805599453f;

// Of one group of rows, all in one lane: rows group and group + 8 of blocks 0 and 1.
template <int kDim>
struct RunningRows {
  float out[2][kDim / 8][4];
  float reference[2][2];  // taken from scores in base 2; the same in all lanes of a quad
  float sum[2][2];        // of exp2(score - reference), this lane's columns only
};

// Makes sure that no score of a block of rows exceeds its row's reference by more than kSlack.
// Every row sees key 0, so that its reference is finite from the first tile on.
template <int kDim, int kN>
__device__ inline void raise_references(const float (&scores)[kN][4], float scale_log2,
                                        float (&out)[kDim / 8][4], float (&reference)[2],
                                        float (&sum)[2]) {
  float top[2];
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    top[half] = fmaxf(scores[0][2 * half], scores[0][2 * half + 1]);
#pragma unroll
    for (int n = 1; n < kN; ++n) {
      top[half] = fmaxf(top[half], fmaxf(scores[n][2 * half], scores[n][2 * half + 1]));
    }
    top[half] *= scale_log2;
  }
  const bool exceeds = top[0] > reference[0] + kSlack || top[1] > reference[1] + kSlack;
  if (!__any_sync(0xffffffffu, exceeds)) return;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const float raised = fmaxf(reference[half], quad_max(top[half]));
    const float shrink = fast_exp2(reference[half] - raised);
    reference[half] = raised;
    sum[half] *= shrink;
#pragma unroll
    for (int n = 0; n < kDim / 8; ++n) {
      out[n][2 * half] *= shrink;
      out[n][2 * half + 1] *= shrink;
    }
  }
}

// Scores become exp2(scale_log2 score - reference), and their sums grow by them.
template <int kN>
__device__ inline void exponentials(float (&scores)[kN][4], float scale_log2,
                                    const float (&reference)[2], float (&sum)[2]) {
#pragma unroll
  for (int n = 0; n < kN; ++n) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      scores[n][i] = fast_exp2(fmaf(scores[n][i], scale_log2, -reference[i / 2]));
      sum[i / 2] += scores[n][i];
    }
  }
}

// The kernel's shared memory and where this lane stands in it.
template <int kDim>
struct ForwardTiles {
  unsigned char *queries, *stages;  // a stage: a tile of keys, a tile of values
  int query_fragment, key_column, value_fragment;

  static constexpr int kTileBytes = kKeys<kDim> * 2 * kDim;

  __device__ explicit ForwardTiles(int first_row) {
    queries = dynamic_shared<unsigned char>();
    stages = queries + kRowBlock * 2 * kDim;
    query_fragment = fragment_offset<kDim>(first_row);
    key_column = column_offset<kDim>(0);
    value_fragment = fragment_offset<kDim>(0);
  }
  __device__ unsigned char* keys(int first_key) const {
    return stages + first_key / kKeys<kDim> % kStages * 2 * kTileBytes;
  }
  __device__ void start_copy(const HeadRows<const bf16>& head, int first_key,
                             const HeadSizes& sizes) const {
    HeadRows<const bf16> values = head;
    values.first += derive_again(key_to_value(sizes));
    copy_tile<kKeys<kDim>, kDim, kThreads>(keys(first_key), head, first_key);
    copy_tile<kKeys<kDim>, kDim, kThreads>(keys(first_key) + kTileBytes, values, first_key);
    cp_async_commit();
  }
};

// One tile of keys, on its way already, for row blocks kFirst .. 1: scores, their exponentials and
// the weighted sum of values. `behind`: by how much its first key is behind the first query. On
// the diagonal, block kFirst does not see all of its keys.
template <int kDim, int kFirst, bool kDiagonal>
__device__ inline void attend_tile(const ForwardTiles<kDim>& tiles,
                                   const HeadRows<const bf16>& head, int first_key, int behind,
                                   const HeadSizes& sizes, RunningRows<kDim>* rows) {
  constexpr int kTile = kKeys<kDim>;
  cp_async_wait<0>();
  __syncthreads();  // the tile is there, and the one before has been read
  tiles.start_copy(head, first_key + kTile, sizes);
  const unsigned char* keys = tiles.keys(first_key);
  float scores[2][kTile / 8][4] = {};
  add_row_products<kDim, kFirst, 2>(scores, tiles.queries, tiles.query_fragment, keys,
                                    tiles.key_column);
  if (kDiagonal) {
    const int thread = derive_again(threadIdx.x);
    const int row = thread / 32 * 16 + thread % 32 / 4, key = thread % 4 * 2;
    hide_later_keys(scores[kFirst], row + kFirst * kBlockStep - key - behind);
  }
  uint32_t weights[2][kTile / 16][4];
#pragma unroll
  for (int m = kFirst; m < 2; ++m) {
    raise_references<kDim>(scores[m], sizes.scale_log2, rows->out[m], rows->reference[m],
                           rows->sum[m]);
    exponentials(scores[m], sizes.scale_log2, rows->reference[m], rows->sum[m]);
    to_weights<kTile / 16>(scores[m], weights[m]);
  }
  add_weighted_rows<kDim, kFirst, 2>(rows->out, weights, keys + tiles.kTileBytes,
                                     tiles.value_fragment);
}

// The tile of queries takes the results: a group of rows is read and written by its own warp only.
template <int kDim>
__device__ inline void store_results(const RunningRows<kDim>& rows, unsigned char* tile, bf16* out,
                                     float* lse, const HeadSizes& sizes) {
  const QueryPlace place(sizes);
  const int group_row = derive_again(threadIdx.x) / 32 * 16;
#pragma unroll
  for (int m = 0; m < 2; ++m) {
    float sums[2];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      sums[half] = quad_sum(rows.sum[m][half]);
      const int query = place.first + group_row + lane_group() + m * kBlockStep + half * 8;
      if (lane_quad() == 0 && query < sizes.seq) {
        lse[row_number(sizes, place.sequence, place.head) + query] =
            rows.reference[m][half] * kLn2 + logf(sums[half]);
      }
    }
    put_rows<kDim>(tile, group_row + m * kBlockStep, 0, rows.out[m], __fdividef(1.0f, sums[0]),
                   __fdividef(1.0f, sums[1]));
  }
  __syncthreads();
  store_tile<kDim, kThreads>(tile, out_rows(out, sizes, place.sequence, place.head), place.first);
}

template <int kDim>
__global__ void __launch_bounds__(kThreads, kBlocksPerSm)
    attention_kernel(const bf16* qkv, bf16* out, float* lse, HeadSizes sizes) {
  const QueryPlace place(sizes);
  const int kv_head = place.head / (sizes.heads / sizes.kv_heads);
  const auto keys = key_rows(qkv, sizes, place.sequence, kv_head);
  const ForwardTiles<kDim> tiles(static_cast<int>(threadIdx.x) / 32 * 16);

  copy_tile<kRowBlock, kDim, kThreads>(
      tiles.queries, query_rows(qkv, sizes, place.sequence, place.head), place.first);
  tiles.start_copy(keys, 0, sizes);
  RunningRows<kDim> rows = {};
#pragma unroll
  for (int i = 0; i < 4; ++i) rows.reference[i / 2][i % 2] = kMinusInfinity;

  constexpr int kTile = kKeys<kDim>;
  int key = 0;
  for (; key < place.first; key += kTile) {
    attend_tile<kDim, 0, false>(tiles, keys, key, 0, sizes, &rows);
  }
  for (; key < min(place.first + kBlockStep, sizes.seq); key += kTile) {
    attend_tile<kDim, 0, true>(tiles, keys, key, key - place.first, sizes, &rows);
  }
  for (; key < min(place.first + kRowBlock, sizes.seq); key += kTile) {  // seen by blocks 1 only
    attend_tile<kDim, 1, true>(tiles, keys, key, key - place.first, sizes, &rows);
  }
  cp_async_wait<0>();
  store_results<kDim>(rows, tiles.queries, out, lse, sizes);
}

template <int kDim>
void launch_forward(const AttentionCall& call, const void* qkv, void* out, float* lse) {
  const AttentionShape& shape = call.shape;
  const dim3 grid(static_cast<unsigned>(shape.batch * shape.heads),
                  static_cast<unsigned>(ceil_div(shape.seq, kRowBlock)));
  launch(call.device, call.stream, attention_kernel<kDim>, grid, dim3(kThreads), kSharedBytes<kDim>,
         static_cast<const bf16*>(qkv), static_cast<bf16*>(out), lse, head_sizes(shape));
}

void own_forward(const AttentionCall& call, const void* qkv, void* out, float* lse) {
  if (tensor_core_forward_takes(call)) {
    tensor_core_attention(call, qkv, out, lse);
  } else {
    plain_attention(call, qkv, out, lse);
  }
}

Bytes own_grad_scratch(const AttentionShape& shape) {
  return shape.batch * shape.heads * shape.seq * static_cast<Bytes>(sizeof(float));
}

void own_grad(const AttentionCall& call, const void* qkv, const void* out, const float* lse,
              const void* dout, void* scratch, void* dqkv) {
  auto* dots = static_cast<float*>(scratch);
  attention_dots(call, out, dout, dots);
  if (tensor_core_grad_takes(call)) {
    tensor_core_attention_grad(call, qkv, lse, dout, dots, dqkv);
  } else {
    plain_attention_grad(call, qkv, lse, dout, dots, dqkv);
  }
}

}  // namespace

HeadSizes head_sizes(const AttentionShape& shape) {
  constexpr int64_t kMostTiles = 65535;  // second index of a grid
  SW_CHECK_EQ(shape.heads % shape.kv_heads, 0, "heads are shared evenly by key heads");
  SW_CHECK(shape.head_dim >= 1 && shape.head_dim <= 256, "head_dim " << shape.head_dim);
  SW_CHECK(shape.seq <= kMostTiles * 16, "seq " << shape.seq);
  SW_CHECK(shape.batch * shape.heads < int64_t{1} << 31, "heads in one launch");
  const float scale = 1.0f / std::sqrt(static_cast<float>(shape.head_dim));
  return {static_cast<int>(shape.seq),
          static_cast<int>(shape.heads),
          static_cast<int>(shape.kv_heads),
          static_cast<int>(shape.head_dim),
          static_cast<int>(shape.qkv_width()),
          static_cast<int>(shape.out_width()),
          scale,
          scale * kLog2E};
}

bool tensor_core_forward_takes(const AttentionCall& call) {
  const int64_t dim = call.shape.head_dim;
  return call.type == DataType::kBf16 && (dim == 64 || dim == 128) &&
         call.device.properties().shared_block_bytes >= kSharedBytes<128>;
}

void tensor_core_attention(const AttentionCall& call, const void* qkv, void* out, float* lse) {
  if (call.shape.head_dim == 64) return launch_forward<64>(call, qkv, out, lse);
  launch_forward<128>(call, qkv, out, lse);
}

const AttentionKernels& attention_kernels() {
  static constexpr AttentionKernels kOwn{"own", own_forward, own_grad, own_grad_scratch};
  return kOwn;
}

void CudaOps::attention(const void* qkv, const AttentionShape& shape, void* out, float* lse) {
  if (shape.batch * shape.seq == 0) return;
  attention_kernels().forward({device_, stream(), type_, shape}, qkv, out, lse);
}

void CudaOps::attention_grad(const void* qkv, const void* out, const float* lse, const void* dout,
                             const AttentionShape& shape, void* dqkv) {
  if (shape.batch * shape.seq == 0) return;
  const AttentionKernels& kernels = attention_kernels();
  kernels.grad({device_, stream(), type_, shape}, qkv, out, lse, dout,
               scratch(kernels.grad_scratch(shape)), dqkv);
}

}  // namespace shardwright
