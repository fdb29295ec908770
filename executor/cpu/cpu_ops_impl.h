// The class behind make_cpu_ops(), for the files of this folder only. Its methods are spread over
// them by kind: gemm.cc, norm.cc, attention.cc, activation.cc, embedding.cc, loss.cc, optimizer.cc.
#pragma once

#include <memory>
#include <vector>

#include "executor/cpu/allocator.h"
#include "executor/cpu/fp32_ops.h"
#include "executor/host_lanes.h"

namespace shardwright {

class MatmulCache;  // gemm.cc: the matrix library's headers are seen there only

// Cosine and sine of position * frequency, [seq, rotary_dim / 2] each; kept because every layer of
// every microbatch uses the same.
struct RopeTable {
  int64_t seq = 0, rotary_dim = 0;
  float theta = 0;
  std::vector<float> cosine, sine;
};

class CpuOps final : public Fp32Ops {
 public:
  explicit CpuOps(int rank);
  ~CpuOps() override;

  Lanes& lanes() override { return lanes_; }
  void* allocate(Bytes bytes) override { return allocator_.allocate(bytes); }
  void free(void* block) override { allocator_.free(block); }
  Bytes live_bytes() const override { return allocator_.live_bytes(); }
  Bytes peak_bytes() const override { return allocator_.peak_bytes(); }
  void reset_peak() override { allocator_.reset_peak(); }
  void* host_block(Bytes bytes) override { return host_blocks_.allocate(bytes); }
  void upload(void* to, const void* host, Bytes bytes) override { copy(to, host, bytes); }
  void download(void* host, const void* from, Bytes bytes) override { copy(host, from, bytes); }
  void synchronize() override {}

  void linear(const float* x, const float* w, const float* bias, float* y, int64_t T, int64_t in,
              int64_t out) override;
  void linear_input_grad(const float* dy, const float* w, float* dx, int64_t T, int64_t in,
                         int64_t out) override;
  void linear_weight_grad(const float* dy, const float* x, float* dw, float* dbias, int64_t T,
                          int64_t in, int64_t out) override;

  void norm(Norm kind, const float* x, const float* gamma, const float* beta, float eps, float* y,
            float* stats, int64_t T, int64_t cols) override;
  void add_norm(Norm kind, const float* x, const float* y, const float* bias, const float* gamma,
                const float* beta, float eps, float* sum, float* out, float* stats, int64_t T,
                int64_t cols) override;
  void norm_grad(Norm kind, const float* x, const float* gamma, const float* stats, const float* dy,
                 const float* residual, float* dx, float* dgamma, float* dbeta, int64_t T,
                 int64_t cols) override;
  void add(const float* x, const float* y, const float* bias, float* out, int64_t T,
           int64_t cols) override;
  void column_sum(const float* dy, float* dbias, int64_t T, int64_t cols) override;

  void rope(float* qkv, const AttentionShape& shape, int64_t rotary_dim, float theta,
            bool inverse) override;
  void attention(const float* qkv, const AttentionShape& shape, float* out, float* lse) override;
  void attention_grad(const float* qkv, const float* out, const float* lse, const float* dout,
                      const AttentionShape& shape, float* dqkv) override;

  void activation(Activation kind, const float* u, const float* bias, float* g, int64_t T,
                  int64_t f) override;
  void activation_grad(Activation kind, const float* u, const float* bias, const float* dg,
                       float* du, float* dbias, int64_t T, int64_t f) override;
  void gated(Activation kind, const float* u, float* g, int64_t T, int64_t f) override;
  void gated_grad(Activation kind, const float* u, const float* dg, float* du, int64_t T,
                  int64_t f) override;

  void embedding(const int32_t* tokens, const float* table, int64_t first_row, int64_t rows,
                 const float* positions, float* x, int64_t T, int64_t seq, int64_t cols) override;
  void embedding_grad(const int32_t* tokens, const float* dx, float* dtable, int64_t first_row,
                      int64_t rows, float* dpositions, int64_t T, int64_t seq,
                      int64_t cols) override;

  void loss_local(const float* logits, const int32_t* targets, int64_t first_row, int64_t valid,
                  int64_t ld, float* parts, int64_t T) override;
  void loss_combine(const float* parts, int64_t ranks, float* lse, int64_t T,
                    double* loss_sum) override;
  void loss_grad(float* logits, const int32_t* targets, int64_t first_row, int64_t valid,
                 int64_t ld, const float* lse, float scale, int64_t T) override;

  void adamw(float* p, void* w, const float* g, float* m, float* v, int64_t n,
             const AdamWSettings& settings, const StepScalars* scalars) override;
  void sgd(float* p, void* w, const float* g, int64_t n, float weight_decay,
           const StepScalars* scalars) override;
  void square_sum(const float* g, int64_t n, double* sum) override;
  void clip_scale(const double* square_sum, float limit, float* scale) override;
  void cast(const float* from, void* to, int64_t n) override;
  void fill(float* p, float value, int64_t n) override;
  void zero(void* p, Bytes bytes) override;
  void copy(void* to, const void* from, Bytes bytes) override;
  void add_into(float* sum, const float* x, int64_t n) override;

 private:
  // Working memory of one call, contents undefined, 64-byte aligned; grows and stays. Not counted
  // as live: it is the kernels' own.
  float* scratch(int64_t elements);
  const RopeTable& rope_table(int64_t seq, int64_t rotary_dim, float theta);

  int rank_;
  HostLanes lanes_;
  CachingAllocator allocator_;
  CachingAllocator host_blocks_;  // apart: not counted as live
  CachingAllocator scratch_allocator_;
  float* scratch_ = nullptr;
  int64_t scratch_elements_ = 0;
  RopeTable rope_table_;
  std::unique_ptr<MatmulCache> matmuls_;
};

}  // namespace shardwright
