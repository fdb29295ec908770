// Ops: the kernels of one device, for one rank. Model code is written once against this interface;
// executor/cpu and executor/cuda implement it in files of the same names.
//
// Tensors are row-major and dense unless a leading dimension (ld, in elements) is given; T =
// tokens. All pointers are device memory from allocate(). Element type is fp32 here. Calls may be
// asynchronous on a device; on CPU they return when done. Device failure throws ExecError
// (exec_error.h); shapes that cannot be are broken invariants.
#pragma once

#include <cstddef>
#include <cstdint>

#include "costmodel/model_spec.h"
#include "costmodel/units.h"

namespace shardwright {

struct AttentionShape {
  int64_t batch, seq, heads, kv_heads, head_dim;
  // q, k, v lie in one matrix [batch*seq, (heads + 2 kv_heads) * head_dim]: all q heads, k heads, v
  // heads.
  int64_t qkv_width() const { return (heads + 2 * kv_heads) * head_dim; }
  int64_t out_width() const { return heads * head_dim; }
};

struct AdamWSettings {
  float lr, beta1, beta2, eps, weight_decay;
  float grad_scale;                // multiplies the gradient first (clipping)
  float correction1, correction2;  // 1 - beta1^t, 1 - beta2^t
};

class Ops {
 public:
  virtual ~Ops() = default;

  // Device memory, 64-byte aligned, contents undefined. Counted: live and peak are of this Ops
  // object alone. Freed blocks are kept for reuse (not counted as live).
  virtual float* allocate(int64_t elements) = 0;
  virtual void free(float* block) = 0;
  virtual Bytes live_bytes() const = 0;
  virtual Bytes peak_bytes() const = 0;
  virtual void reset_peak() = 0;
  virtual void synchronize() = 0;

  // --- matrix products of a linear layer, weight w[out, in] ---
  // y[T,out] = x[T,in] w^T (+ bias[out] when not null)
  virtual void linear(const float* x, const float* w, const float* bias, float* y, int64_t T,
                      int64_t in, int64_t out) = 0;
  // dx[T,in] = dy[T,out] w
  virtual void linear_input_grad(const float* dy, const float* w, float* dx, int64_t T, int64_t in,
                                 int64_t out) = 0;
  // dw[out,in] += dy^T x;  dbias[out] += column sums of dy when not null
  virtual void linear_weight_grad(const float* dy, const float* x, float* dw, float* dbias,
                                  int64_t T, int64_t in, int64_t out) = 0;

  // --- norms over rows of [T, cols]. stats[T,2] = (mean, 1/std); rms norm: mean is 0 ---
  // beta is null for rms norm.
  virtual void norm(Norm kind, const float* x, const float* gamma, const float* beta, float eps,
                    float* y, float* stats, int64_t T, int64_t cols) = 0;
  // sum = x + y + bias (bias may be null), then out = norm(sum).
  virtual void add_norm(Norm kind, const float* x, const float* y, const float* bias,
                        const float* gamma, const float* beta, float eps, float* sum, float* out,
                        float* stats, int64_t T, int64_t cols) = 0;
  // dx = residual + gradient of norm at x (residual may be null, may alias dx); dgamma, dbeta +=
  // (dbeta null for rms).
  virtual void norm_grad(Norm kind, const float* x, const float* gamma, const float* stats,
                         const float* dy, const float* residual, float* dx, float* dgamma,
                         float* dbeta, int64_t T, int64_t cols) = 0;
  // out = x + y + bias (bias may be null); out may alias x or y.
  virtual void add(const float* x, const float* y, const float* bias, float* out, int64_t T,
                   int64_t cols) = 0;
  // dbias[cols] += column sums of dy
  virtual void column_sum(const float* dy, float* dbias, int64_t T, int64_t cols) = 0;

  // --- attention ---
  // Rotates the first rotary_dim of each q and k head in place, pairs (i, i + rotary_dim/2) as
  // Hugging Face does; token t of each sequence is at position t. inverse = true applies the
  // transpose (gradient).
  virtual void rope(float* qkv, const AttentionShape& shape, int64_t rotary_dim, float theta,
                    bool inverse) = 0;
  // Causal, scaled by 1/sqrt(head_dim). lse[batch, heads, seq] = log of the sum of exponentials.
  virtual void attention(const float* qkv, const AttentionShape& shape, float* out, float* lse) = 0;
  virtual void attention_grad(const float* qkv, const float* out, const float* lse,
                              const float* dout, const AttentionShape& shape, float* dqkv) = 0;

  // --- activations. u[T, f] or gated [T, 2f] = gate then up ---
  // g = act(u + bias) (bias may be null)
  virtual void activation(Activation kind, const float* u, const float* bias, float* g, int64_t T,
                          int64_t f) = 0;
  // du = dg * act'(u + bias); dbias[f] += column sums of du when not null
  virtual void activation_grad(Activation kind, const float* u, const float* bias, const float* dg,
                               float* du, float* dbias, int64_t T, int64_t f) = 0;
  // g[T,f] = act(gate) * up
  virtual void gated(Activation kind, const float* u, float* g, int64_t T, int64_t f) = 0;
  virtual void gated_grad(Activation kind, const float* u, const float* dg, float* du, int64_t T,
                          int64_t f) = 0;

  // --- embedding: this rank holds rows [first_row, first_row + rows) of the vocabulary ---
  // x[t] = table[token - first_row] (zero when foreign) + positions[t % seq] (positions may be
  // null)
  virtual void embedding(const int32_t* tokens, const float* table, int64_t first_row, int64_t rows,
                         const float* positions, float* x, int64_t T, int64_t seq,
                         int64_t cols) = 0;
  // dtable rows += dx; dpositions[t % seq] += dx (may be null). Sums in token order: deterministic.
  virtual void embedding_grad(const int32_t* tokens, const float* dx, float* dtable,
                              int64_t first_row, int64_t rows, float* dpositions, int64_t T,
                              int64_t seq, int64_t cols) = 0;

  // --- vocabulary-parallel softmax cross-entropy over logits[T, ld], of which columns [0, valid)
  // count --- parts[T,3] = local max, sum of exp(z - max), logit of the target (0 when foreign)
  virtual void loss_local(const float* logits, const int32_t* targets, int64_t first_row,
                          int64_t valid, int64_t ld, float* parts, int64_t T) = 0;
  // Combines `ranks` part arrays [ranks, T, 3] in rank order: lse[T]; returns the sum over tokens
  // of lse - target logit.
  virtual double loss_combine(const float* parts, int64_t ranks, float* lse, int64_t T) = 0;
  // In place: logits = (exp(z - lse) - [column is target]) * scale; columns >= valid become 0.
  virtual void loss_grad(float* logits, const int32_t* targets, int64_t first_row, int64_t valid,
                         int64_t ld, const float* lse, float scale, int64_t T) = 0;

  // --- flat buffers ---
  virtual void adamw(float* p, const float* g, float* m, float* v, int64_t n,
                     const AdamWSettings& s) = 0;
  // p -= lr * (grad_scale * g + weight_decay * p)
  virtual void sgd(float* p, const float* g, int64_t n, float lr, float grad_scale,
                   float weight_decay) = 0;
  virtual double square_sum(const float* g, int64_t n) = 0;  // fixed summation order
  virtual void fill(float* p, float value, int64_t n) = 0;
  virtual void copy(float* to, const float* from, int64_t n) = 0;
  virtual void add_into(float* sum, const float* x, int64_t n) = 0;  // sum += x
};

}  // namespace shardwright
