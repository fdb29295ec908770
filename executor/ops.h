// Ops: the kernels of one device, for one rank. Model code is written once against this interface;
// executor/cpu and executor/cuda implement it in files of the same names.
//
// Tensors are row-major and dense unless a leading dimension (ld, in elements) is given; T =
// tokens. All pointers are device memory from allocate(), except where the name says host.
// Element types: `void*` is a tensor of the compute type (type(): fp32, or bf16 on GPUs):
// activations, their gradients, and the weights that products read. `float*` is fp32 and `double*`
// fp64 whatever the compute type: statistics, gradients of weights, master weights, optimizer
// state, sums. Products and sums of any type accumulate in fp32 or wider.
//
// Calls belong to the instruction under way on lanes() and may return before the device is done; on
// CPU they return when done. Device failure throws ExecError (exec_error.h), perhaps only at the
// end of the step; shapes that cannot be are broken invariants.
#pragma once

#include <cstddef>
#include <cstdint>

#include "costmodel/model_spec.h"
#include "costmodel/units.h"
#include "executor/lanes.h"

namespace shardwright {

struct AttentionShape {
  int64_t batch, seq, heads, kv_heads, head_dim;
  // q, k, v lie in one matrix [batch*seq, (heads + 2 kv_heads) * head_dim]: all q heads, k heads, v
  // heads.
  int64_t qkv_width() const { return (heads + 2 * kv_heads) * head_dim; }
  int64_t out_width() const { return heads * head_dim; }
};

// What stays the same for all steps of a run.
struct AdamWSettings {
  float beta1, beta2, eps, weight_decay;
};
// What changes with every step. Optimizer kernels read it from device memory, so that a step whose
// calls were recorded can be repeated with other values.
struct StepScalars {
  float lr;
  float correction1, correction2;  // 1 - beta1^t, 1 - beta2^t
  float grad_scale;                // multiplies the gradient first (clipping)
};

class Ops {
 public:
  virtual ~Ops() = default;
  virtual DataType type() const = 0;  // the compute type
  virtual Lanes& lanes() = 0;

  // Device memory, 64-byte aligned, contents undefined; null for 0 bytes is allowed on devices.
  // Counted: live and peak are of this Ops object alone. Freed blocks are kept for reuse (not
  // counted as live); what is given to a lane with a reused block starts when the instruction that
  // freed it has finished.
  virtual void* allocate(Bytes bytes) = 0;
  virtual void free(void* block) = 0;
  virtual Bytes live_bytes() const = 0;
  virtual Bytes peak_bytes() const = 0;
  virtual void reset_peak() = 0;
  // From here on, memory that this step's sends freed is given out only where the send is known to
  // be over: those up to these instructions (1 + index). Until the end of the step; for devices,
  // whose sends are over when they are received (planner/program/finished_sends.h).
  virtual void keep_sent_after(int activation, int gradient) {
    static_cast<void>(activation), static_cast<void>(gradient);
  }
  float* allocate_floats(int64_t elements) {
    return static_cast<float*>(allocate(elements * static_cast<Bytes>(sizeof(float))));
  }

  // Host memory that the device copies from and to without waiting (pinned). Lives until this Ops
  // object goes.
  virtual void* host_block(Bytes bytes) = 0;
  // `host` must be from host_block() inside a step, and stay as it is until the step is over.
  // Outside of steps any host memory will do, and the copy is done on return.
  virtual void upload(void* to, const void* host, Bytes bytes) = 0;
  virtual void download(void* host, const void* from, Bytes bytes) = 0;
  virtual void synchronize() = 0;

  // --- matrix products of a linear layer, weight w[out, in] ---
  // y[T,out] = x[T,in] w^T (+ bias[out] when not null)
  virtual void linear(const void* x, const void* w, const void* bias, void* y, int64_t T,
                      int64_t in, int64_t out) = 0;
  // dx[T,in] = dy[T,out] w
  virtual void linear_input_grad(const void* dy, const void* w, void* dx, int64_t T, int64_t in,
                                 int64_t out) = 0;
  // dw[out,in] += dy^T x;  dbias[out] += column sums of dy when not null
  virtual void linear_weight_grad(const void* dy, const void* x, float* dw, float* dbias, int64_t T,
                                  int64_t in, int64_t out) = 0;

  // --- a product and an activation (not gated) next to each other ---
  // Whether this device does both in one pass. Model code calls the next two then; else the product
  // and the activation by themselves, so that each is timed.
  virtual bool fuses_activation(Activation) const { return false; }
  // u[T,out] = x[T,in] w^T + bias, g[T,out] = act(u)
  virtual void linear_activation(Activation kind, const void* x, const void* w, const void* bias,
                                 void* u, void* g, int64_t T, int64_t in, int64_t out) {
    linear(x, w, bias, u, T, in, out);
    activation(kind, u, nullptr, g, T, out);
  }
  // du[T,in] = (dy[T,out] w) act'(u). May leave dy w in `dg`[T,in], or anything.
  virtual void linear_activation_grad(Activation kind, const void* dy, const void* w, const void* u,
                                      void* dg, void* du, int64_t T, int64_t in, int64_t out) {
    linear_input_grad(dy, w, dg, T, in, out);
    activation_grad(kind, u, nullptr, dg, du, nullptr, T, in);
  }

  // --- norms over rows of [T, cols]. stats[T,2] = (mean, 1/std); rms norm: mean is 0 ---
  // beta is null for rms norm.
  virtual void norm(Norm kind, const void* x, const void* gamma, const void* beta, float eps,
                    void* y, float* stats, int64_t T, int64_t cols) = 0;
  // sum = x + y + bias (bias may be null), then out = norm(sum).
  virtual void add_norm(Norm kind, const void* x, const void* y, const void* bias,
                        const void* gamma, const void* beta, float eps, void* sum, void* out,
                        float* stats, int64_t T, int64_t cols) = 0;
  // dx = residual + gradient of norm at x (residual may be null, may alias dx); dgamma, dbeta +=
  // (dbeta null for rms).
  virtual void norm_grad(Norm kind, const void* x, const void* gamma, const float* stats,
                         const void* dy, const void* residual, void* dx, float* dgamma,
                         float* dbeta, int64_t T, int64_t cols) = 0;
  // out = x + y + bias (bias may be null); out may alias x or y.
  virtual void add(const void* x, const void* y, const void* bias, void* out, int64_t T,
                   int64_t cols) = 0;
  // dbias[cols] += column sums of dy
  virtual void column_sum(const void* dy, float* dbias, int64_t T, int64_t cols) = 0;

  // --- attention ---
  // Rotates the first rotary_dim of each q and k head in place, pairs (i, i + rotary_dim/2) as
  // Hugging Face does; token t of each sequence is at position t. inverse = true applies the
  // transpose (gradient).
  virtual void rope(void* qkv, const AttentionShape& shape, int64_t rotary_dim, float theta,
                    bool inverse) = 0;
  // Causal, scaled by 1/sqrt(head_dim). lse[batch, heads, seq] = log of the sum of exponentials.
  virtual void attention(const void* qkv, const AttentionShape& shape, void* out, float* lse) = 0;
  virtual void attention_grad(const void* qkv, const void* out, const float* lse, const void* dout,
                              const AttentionShape& shape, void* dqkv) = 0;

  // --- activations. u[T, f] or gated [T, 2f] = gate then up ---
  // g = act(u + bias) (bias may be null)
  virtual void activation(Activation kind, const void* u, const void* bias, void* g, int64_t T,
                          int64_t f) = 0;
  // du = dg * act'(u + bias); dbias[f] += column sums of du when not null
  virtual void activation_grad(Activation kind, const void* u, const void* bias, const void* dg,
                               void* du, float* dbias, int64_t T, int64_t f) = 0;
  // g[T,f] = act(gate) * up
  virtual void gated(Activation kind, const void* u, void* g, int64_t T, int64_t f) = 0;
  virtual void gated_grad(Activation kind, const void* u, const void* dg, void* du, int64_t T,
                          int64_t f) = 0;

  // --- embedding: this rank holds rows [first_row, first_row + rows) of the vocabulary ---
  // x[t] = table[token - first_row] (zero when foreign) + positions[t % seq] (positions may be
  // null)
  virtual void embedding(const int32_t* tokens, const void* table, int64_t first_row, int64_t rows,
                         const void* positions, void* x, int64_t T, int64_t seq, int64_t cols) = 0;
  // dtable rows += dx; dpositions[t % seq] += dx (may be null). Sums in token order: deterministic.
  virtual void embedding_grad(const int32_t* tokens, const void* dx, float* dtable,
                              int64_t first_row, int64_t rows, float* dpositions, int64_t T,
                              int64_t seq, int64_t cols) = 0;

  // --- vocabulary-parallel softmax cross-entropy over logits[T, ld], of which columns [0, valid)
  // count --- parts[T,3] = local max, sum of exp(z - max), logit of the target (0 when foreign)
  virtual void loss_local(const void* logits, const int32_t* targets, int64_t first_row,
                          int64_t valid, int64_t ld, float* parts, int64_t T) = 0;
  // Combines `ranks` part arrays [ranks, T, 3] in rank order: lse[T]; adds to *loss_sum the sum
  // over tokens of lse - target logit.
  virtual void loss_combine(const float* parts, int64_t ranks, float* lse, int64_t T,
                            double* loss_sum) = 0;
  // In place: logits = (exp(z - lse) - [column is target]) * scale; columns >= valid become 0.
  virtual void loss_grad(void* logits, const int32_t* targets, int64_t first_row, int64_t valid,
                         int64_t ld, const float* lse, float scale, int64_t T) = 0;

  // --- flat buffers ---
  // Updates the master weights p and writes them rounded to the compute type into w; w is null when
  // that is fp32 and products read p itself.
  virtual void adamw(float* p, void* w, const float* g, float* m, float* v, int64_t n,
                     const AdamWSettings& settings, const StepScalars* scalars) = 0;
  // p -= lr * (grad_scale * g + weight_decay * p); w as above.
  virtual void sgd(float* p, void* w, const float* g, int64_t n, float weight_decay,
                   const StepScalars* scalars) = 0;
  // *sum += squares of g, in a fixed order.
  virtual void square_sum(const float* g, int64_t n, double* sum) = 0;
  // *scale = min(1, limit / (sqrt(*square_sum) + 1e-6)); 1 when limit is 0.
  virtual void clip_scale(const double* square_sum, float limit, float* scale) = 0;
  // to = from, rounded to the compute type.
  virtual void cast(const float* from, void* to, int64_t n) = 0;
  virtual void fill(float* p, float value, int64_t n) = 0;
  virtual void zero(void* p, Bytes bytes) = 0;
  virtual void copy(void* to, const void* from, Bytes bytes) = 0;    // on the device
  virtual void add_into(float* sum, const float* x, int64_t n) = 0;  // sum += x
};

}  // namespace shardwright
