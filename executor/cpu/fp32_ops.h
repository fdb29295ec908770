// Ops whose compute type is fp32: gives every kernel of the interface its element type, in one
// place. The CPU kernels are written against these signatures; their meaning is that of ops.h.
#pragma once

#include "executor/ops.h"

namespace shardwright {

class Fp32Ops : public Ops {
 public:
  DataType type() const final { return DataType::kFp32; }

  void linear(const void* x, const void* w, const void* bias, void* y, int64_t T, int64_t in,
              int64_t out) final {
    linear(fp32(x), fp32(w), fp32(bias), fp32(y), T, in, out);
  }
  void linear_input_grad(const void* dy, const void* w, void* dx, int64_t T, int64_t in,
                         int64_t out) final {
    linear_input_grad(fp32(dy), fp32(w), fp32(dx), T, in, out);
  }
  void linear_weight_grad(const void* dy, const void* x, float* dw, float* dbias, int64_t T,
                          int64_t in, int64_t out) final {
    linear_weight_grad(fp32(dy), fp32(x), dw, dbias, T, in, out);
  }
  void norm(Norm kind, const void* x, const void* gamma, const void* beta, float eps, void* y,
            float* stats, int64_t T, int64_t cols) final {
    norm(kind, fp32(x), fp32(gamma), fp32(beta), eps, fp32(y), stats, T, cols);
  }
  void add_norm(Norm kind, const void* x, const void* y, const void* bias, const void* gamma,
                const void* beta, float eps, void* sum, void* out, float* stats, int64_t T,
                int64_t cols) final {
    add_norm(kind, fp32(x), fp32(y), fp32(bias), fp32(gamma), fp32(beta), eps, fp32(sum), fp32(out),
             stats, T, cols);
  }
  void norm_grad(Norm kind, const void* x, const void* gamma, const float* stats, const void* dy,
                 const void* residual, void* dx, float* dgamma, float* dbeta, int64_t T,
                 int64_t cols) final {
    norm_grad(kind, fp32(x), fp32(gamma), stats, fp32(dy), fp32(residual), fp32(dx), dgamma, dbeta,
              T, cols);
  }
  void add(const void* x, const void* y, const void* bias, void* out, int64_t T,
           int64_t cols) final {
    add(fp32(x), fp32(y), fp32(bias), fp32(out), T, cols);
  }
  void column_sum(const void* dy, float* dbias, int64_t T, int64_t cols) final {
    column_sum(fp32(dy), dbias, T, cols);
  }
  void rope(void* qkv, const AttentionShape& shape, int64_t rotary_dim, float theta,
            bool inverse) final {
    rope(fp32(qkv), shape, rotary_dim, theta, inverse);
  }
  void attention(const void* qkv, const AttentionShape& shape, void* out, float* lse) final {
    attention(fp32(qkv), shape, fp32(out), lse);
  }
  void attention_grad(const void* qkv, const void* out, const float* lse, const void* dout,
                      const AttentionShape& shape, void* dqkv) final {
    attention_grad(fp32(qkv), fp32(out), lse, fp32(dout), shape, fp32(dqkv));
  }
  void activation(Activation kind, const void* u, const void* bias, void* g, int64_t T,
                  int64_t f) final {
    activation(kind, fp32(u), fp32(bias), fp32(g), T, f);
  }
  void activation_grad(Activation kind, const void* u, const void* bias, const void* dg, void* du,
                       float* dbias, int64_t T, int64_t f) final {
    activation_grad(kind, fp32(u), fp32(bias), fp32(dg), fp32(du), dbias, T, f);
  }
  void gated(Activation kind, const void* u, void* g, int64_t T, int64_t f) final {
    gated(kind, fp32(u), fp32(g), T, f);
  }
  void gated_grad(Activation kind, const void* u, const void* dg, void* du, int64_t T,
                  int64_t f) final {
    gated_grad(kind, fp32(u), fp32(dg), fp32(du), T, f);
  }
  void embedding(const int32_t* tokens, const void* table, int64_t first_row, int64_t rows,
                 const void* positions, void* x, int64_t T, int64_t seq, int64_t cols) final {
    embedding(tokens, fp32(table), first_row, rows, fp32(positions), fp32(x), T, seq, cols);
  }
  void embedding_grad(const int32_t* tokens, const void* dx, float* dtable, int64_t first_row,
                      int64_t rows, float* dpositions, int64_t T, int64_t seq, int64_t cols) final {
    embedding_grad(tokens, fp32(dx), dtable, first_row, rows, dpositions, T, seq, cols);
  }
  void loss_local(const void* logits, const int32_t* targets, int64_t first_row, int64_t valid,
                  int64_t ld, float* parts, int64_t T) final {
    loss_local(fp32(logits), targets, first_row, valid, ld, parts, T);
  }
  void loss_grad(void* logits, const int32_t* targets, int64_t first_row, int64_t valid, int64_t ld,
                 const float* lse, float scale, int64_t T) final {
    loss_grad(fp32(logits), targets, first_row, valid, ld, lse, scale, T);
  }

 protected:
  virtual void linear(const float* x, const float* w, const float* bias, float* y, int64_t T,
                      int64_t in, int64_t out) = 0;
  virtual void linear_input_grad(const float* dy, const float* w, float* dx, int64_t T, int64_t in,
                                 int64_t out) = 0;
  virtual void linear_weight_grad(const float* dy, const float* x, float* dw, float* dbias,
                                  int64_t T, int64_t in, int64_t out) = 0;
  virtual void norm(Norm kind, const float* x, const float* gamma, const float* beta, float eps,
                    float* y, float* stats, int64_t T, int64_t cols) = 0;
  virtual void add_norm(Norm kind, const float* x, const float* y, const float* bias,
                        const float* gamma, const float* beta, float eps, float* sum, float* out,
                        float* stats, int64_t T, int64_t cols) = 0;
  virtual void norm_grad(Norm kind, const float* x, const float* gamma, const float* stats,
                         const float* dy, const float* residual, float* dx, float* dgamma,
                         float* dbeta, int64_t T, int64_t cols) = 0;
  virtual void add(const float* x, const float* y, const float* bias, float* out, int64_t T,
                   int64_t cols) = 0;
  virtual void column_sum(const float* dy, float* dbias, int64_t T, int64_t cols) = 0;
  virtual void rope(float* qkv, const AttentionShape& shape, int64_t rotary_dim, float theta,
                    bool inverse) = 0;
  virtual void attention(const float* qkv, const AttentionShape& shape, float* out, float* lse) = 0;
  virtual void attention_grad(const float* qkv, const float* out, const float* lse,
                              const float* dout, const AttentionShape& shape, float* dqkv) = 0;
  virtual void activation(Activation kind, const float* u, const float* bias, float* g, int64_t T,
                          int64_t f) = 0;
  virtual void activation_grad(Activation kind, const float* u, const float* bias, const float* dg,
                               float* du, float* dbias, int64_t T, int64_t f) = 0;
  virtual void gated(Activation kind, const float* u, float* g, int64_t T, int64_t f) = 0;
  virtual void gated_grad(Activation kind, const float* u, const float* dg, float* du, int64_t T,
                          int64_t f) = 0;
  virtual void embedding(const int32_t* tokens, const float* table, int64_t first_row, int64_t rows,
                         const float* positions, float* x, int64_t T, int64_t seq,
                         int64_t cols) = 0;
  virtual void embedding_grad(const int32_t* tokens, const float* dx, float* dtable,
                              int64_t first_row, int64_t rows, float* dpositions, int64_t T,
                              int64_t seq, int64_t cols) = 0;
  virtual void loss_local(const float* logits, const int32_t* targets, int64_t first_row,
                          int64_t valid, int64_t ld, float* parts, int64_t T) = 0;
  virtual void loss_grad(float* logits, const int32_t* targets, int64_t first_row, int64_t valid,
                         int64_t ld, const float* lse, float scale, int64_t T) = 0;

 private:
  static float* fp32(void* data) { return static_cast<float*>(data); }
  static const float* fp32(const void* data) { return static_cast<const float*>(data); }
};

}  // namespace shardwright
