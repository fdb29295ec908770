// The class behind make_cuda_ops(), for the files of this folder only. Its methods are spread over
// them by kind, under the names that executor/cpu has: gemm.cc, norm.cu, attention.cu,
// activation.cu, embedding.cu, loss.cu, optimizer.cu, rope.cu, elementwise.cu.
#pragma once

#include <memory>
#include <vector>

#include "executor/cuda/arena.h"
#include "executor/cuda/bf16.h"
#include "executor/cuda/cuda_lanes.h"
#include "executor/cuda/cuda_ops.h"
#include "executor/cuda/matmul.h"
#include "executor/cuda/pinned_blocks.h"

namespace shardwright {

class CudaOps final : public Ops {
 public:
  CudaOps(Device& device, int rank, DataType type, const CudaOptions& options);
  ~CudaOps() override;

  DataType type() const override { return type_; }
  Lanes& lanes() override { return lanes_; }

  void* allocate(Bytes bytes) override;
  void free(void* block) override;
  void keep_sent_after(int activation, int gradient) override;
  Bytes live_bytes() const override { return arena_.live_bytes(); }
  Bytes peak_bytes() const override { return arena_.peak_bytes(); }
  void reset_peak() override { arena_.reset_peak(); }
  void* host_block(Bytes bytes) override;
  void upload(void* to, const void* host, Bytes bytes) override;
  void download(void* host, const void* from, Bytes bytes) override;
  void synchronize() override;

  // gemm.cc
  void linear(const void* x, const void* w, const void* bias, void* y, int64_t T, int64_t in,
              int64_t out) override;
  void linear_input_grad(const void* dy, const void* w, void* dx, int64_t T, int64_t in,
                         int64_t out) override;
  void linear_weight_grad(const void* dy, const void* x, float* dw, float* dbias, int64_t T,
                          int64_t in, int64_t out) override;
  bool fuses_activation(Activation kind) const override;
  void linear_activation(Activation kind, const void* x, const void* w, const void* bias, void* u,
                         void* g, int64_t T, int64_t in, int64_t out) override;
  void linear_activation_grad(Activation kind, const void* dy, const void* w, const void* u,
                              void* dg, void* du, int64_t T, int64_t in, int64_t out) override;

  // norm.cu
  void norm(Norm kind, const void* x, const void* gamma, const void* beta, float eps, void* y,
            float* stats, int64_t T, int64_t cols) override;
  void add_norm(Norm kind, const void* x, const void* y, const void* bias, const void* gamma,
                const void* beta, float eps, void* sum, void* out, float* stats, int64_t T,
                int64_t cols) override;
  void norm_grad(Norm kind, const void* x, const void* gamma, const float* stats, const void* dy,
                 const void* residual, void* dx, float* dgamma, float* dbeta, int64_t T,
                 int64_t cols) override;
  void add(const void* x, const void* y, const void* bias, void* out, int64_t T,
           int64_t cols) override;
  void column_sum(const void* dy, float* dbias, int64_t T, int64_t cols) override;

  // rope.cu, attention.cu, attention_grad.cu
  void rope(void* qkv, const AttentionShape& shape, int64_t rotary_dim, float theta,
            bool inverse) override;
  void attention(const void* qkv, const AttentionShape& shape, void* out, float* lse) override;
  void attention_grad(const void* qkv, const void* out, const float* lse, const void* dout,
                      const AttentionShape& shape, void* dqkv) override;

  // activation.cu
  void activation(Activation kind, const void* u, const void* bias, void* g, int64_t T,
                  int64_t f) override;
  void activation_grad(Activation kind, const void* u, const void* bias, const void* dg, void* du,
                       float* dbias, int64_t T, int64_t f) override;
  void gated(Activation kind, const void* u, void* g, int64_t T, int64_t f) override;
  void gated_grad(Activation kind, const void* u, const void* dg, void* du, int64_t T,
                  int64_t f) override;

  // embedding.cu
  void embedding(const int32_t* tokens, const void* table, int64_t first_row, int64_t rows,
                 const void* positions, void* x, int64_t T, int64_t seq, int64_t cols) override;
  void embedding_grad(const int32_t* tokens, const void* dx, float* dtable, int64_t first_row,
                      int64_t rows, float* dpositions, int64_t T, int64_t seq,
                      int64_t cols) override;

  // loss.cu
  void loss_local(const void* logits, const int32_t* targets, int64_t first_row, int64_t valid,
                  int64_t ld, float* parts, int64_t T) override;
  void loss_combine(const float* parts, int64_t ranks, float* lse, int64_t T,
                    double* loss_sum) override;
  void loss_grad(void* logits, const int32_t* targets, int64_t first_row, int64_t valid, int64_t ld,
                 const float* lse, float scale, int64_t T) override;

  // optimizer.cu
  void adamw(float* p, void* w, const float* g, float* m, float* v, int64_t n,
             const AdamWSettings& settings, const StepScalars* scalars) override;
  void sgd(float* p, void* w, const float* g, int64_t n, float weight_decay,
           const StepScalars* scalars) override;
  void square_sum(const float* g, int64_t n, double* sum) override;
  void clip_scale(const double* square_sum, float limit, float* scale) override;

  // elementwise.cu
  void cast(const float* from, void* to, int64_t n) override;
  void fill(float* p, float value, int64_t n) override;
  void add_into(float* sum, const float* x, int64_t n) override;
  // cuda_ops.cc
  void zero(void* p, Bytes bytes) override;
  void copy(void* to, const void* from, Bytes bytes) override;

 private:
  // Of the lane under way.
  Stream stream() const { return lanes_.stream(); }
  // Working memory of one call on the lane under way, contents undefined, 256-byte aligned. It is
  // the kernels' own (not counted as live), and the same memory at every call on the lane. There
  // are CudaOptions::scratch_bytes on the compute lane and kOtherScratchBytes on each of the
  // others; more is an ExecError.
  void* scratch(Bytes bytes);
  // Does f(T{}) with T the element type: with_type([&](auto element) { using T = decltype(element);
  template <typename F>
  void with_type(F&& f) {
    if (type_ == DataType::kFp32) {
      f(float{});
    } else {
      f(bf16{});
    }
  }

  Bytes lane_scratch_bytes() const;
  // gemm.cc. Products work in the lane's scratch, behind what is kept there for their row sums.
  void multiply(const MatmulShape& shape, const MatmulOperands& operands);
  Matmul::Workspace product_workspace();
  void tune_products();

  Device& device_;
  const int rank_;
  const DataType type_;
  const CudaOptions options_;
  CudaLanes lanes_;
  Arena arena_;
  std::unique_ptr<Matmul> matmul_;
  std::byte* scratch_ = nullptr;  // of all lanes, the compute lane's first
  PinnedBlocks host_blocks_;
};

constexpr Bytes kOtherScratchBytes = Bytes{1} << 20;

}  // namespace shardwright
