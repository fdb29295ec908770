// Attention on a GPU: which implementations there are, and how they see the heads of a matrix.
//
// CudaOps asks attention_kernels() for a table of functions; a library's attention would be another
// table, chosen there. Within our own, bf16 heads of 64 and 128 go to tensor cores (attention.cu,
// attention_grad.cu), everything else to a plain kernel (attention_plain.cu).
#pragma once

#include "executor/cuda/bf16.h"
#include "executor/cuda/device.h"
#include "executor/ops.h"

namespace shardwright {

struct AttentionCall {
  Device& device;
  Stream stream;
  DataType type;  // of qkv, out, dout and dqkv
  AttentionShape shape;
};

// Arguments as in Ops (ops.h). Results are the same bytes every time.
struct AttentionKernels {
  const char* name;
  void (*forward)(const AttentionCall& call, const void* qkv, void* out, float* lse);
  void (*grad)(const AttentionCall& call, const void* qkv, const void* out, const float* lse,
               const void* dout, void* scratch, void* dqkv);
  Bytes (*grad_scratch)(const AttentionShape& shape);  // what grad() needs
};
const AttentionKernels& attention_kernels();

// What kernels are told of a shape. Tokens and heads are counted in 32 bits, elements in 64.
struct HeadSizes {
  int seq, heads, kv_heads, head_dim;
  int qkv_ld, out_ld;
  float scale;       // 1 / sqrt(head_dim)
  float scale_log2;  // scale log2(e): exp(scale x) = exp2(scale_log2 x)
};
HeadSizes head_sizes(const AttentionShape& shape);

// One head of one sequence: `rows` tokens of head_dim elements, ld elements apart.
template <typename T>
struct HeadRows {
  T* first;
  int ld, rows;
  SW_HOST_DEVICE T* row(int index) const { return first + int64_t{index} * ld; }
};

template <typename T>
SW_HOST_DEVICE HeadRows<T> query_rows(T* qkv, const HeadSizes& sizes, int sequence, int head) {
  return {qkv + int64_t{sequence} * sizes.seq * sizes.qkv_ld + head * sizes.head_dim, sizes.qkv_ld,
          sizes.seq};
}
// Keys follow the queries of all heads, and values the keys.
template <typename T>
SW_HOST_DEVICE HeadRows<T> key_rows(T* qkv, const HeadSizes& sizes, int sequence, int kv_head) {
  return query_rows(qkv, sizes, sequence, sizes.heads + kv_head);
}
SW_HOST_DEVICE int key_to_value(const HeadSizes& sizes) { return sizes.kv_heads * sizes.head_dim; }
template <typename T>
SW_HOST_DEVICE HeadRows<T> value_rows(const HeadRows<T>& keys, const HeadSizes& sizes) {
  return {keys.first + key_to_value(sizes), keys.ld, keys.rows};
}
template <typename T>
SW_HOST_DEVICE HeadRows<T> out_rows(T* out, const HeadSizes& sizes, int sequence, int head) {
  return {out + int64_t{sequence} * sizes.seq * sizes.out_ld + head * sizes.head_dim, sizes.out_ld,
          sizes.seq};
}
// Index of a row's first number in lse and in the dots, [batch, heads, seq].
SW_HOST_DEVICE int64_t row_number(const HeadSizes& sizes, int sequence, int head) {
  return (int64_t{sequence} * sizes.heads + head) * sizes.seq;
}

// attention_plain.cu: any head_dim up to 256, both types. dots[batch, heads, seq] = sum over
// head_dim of dout * out.
void plain_attention(const AttentionCall& call, const void* qkv, void* out, float* lse);
void plain_attention_grad(const AttentionCall& call, const void* qkv, const float* lse,
                          const void* dout, const float* dots, void* dqkv);

// attention.cu, attention_grad.cu: whether the tensor-core kernels take the call.
bool tensor_core_forward_takes(const AttentionCall& call);
bool tensor_core_grad_takes(const AttentionCall& call);
void tensor_core_attention(const AttentionCall& call, const void* qkv, void* out, float* lse);
void tensor_core_attention_grad(const AttentionCall& call, const void* qkv, const float* lse,
                                const void* dout, const float* dots, void* dqkv);
void attention_dots(const AttentionCall& call, const void* out, const void* dout, float* dots);

}  // namespace shardwright
