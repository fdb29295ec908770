// Matrix products of linear layers. Tensors are row-major; weights are stored [out, in].
#include <algorithm>

#include "executor/cuda/cuda_ops_impl.h"
#include "executor/cuda/matmul.h"
#include "executor/exec_error.h"

namespace shardwright {

namespace {

// 256 Ki rows: more than the vocabulary of any model that we know.
constexpr Bytes kRowSumBytes = Bytes{1} << 20;

}  // namespace

using Extra = MatmulShape::Extra;

Matmul::Workspace CudaOps::product_workspace() {
  const Bytes bytes = lane_scratch_bytes();
  if (bytes <= kRowSumBytes) return {nullptr, 0};
  return {static_cast<std::byte*>(scratch(bytes)) + kRowSumBytes, bytes - kRowSumBytes};
}

// Between steps, on the compute lane.
void CudaOps::tune_products() {
  if (!options_.tune_products) return;
  LastUses uses{};
  matmul_->tune(
      product_workspace(), stream(),
      [&](Bytes bytes) -> void* {
        try {
          return arena_.allocate(bytes, &uses);
        } catch (const ExecError&) {
          return nullptr;
        }
      },
      [&](void* block) { arena_.free(block, Lane::kCompute, -1); });
}

void CudaOps::multiply(const MatmulShape& shape, const MatmulOperands& operands) {
  if (shape.m == 0 || shape.n == 0 || (shape.k == 0 && shape.accumulate)) return;
  matmul_->run(shape, operands, product_workspace(), stream());
}

void CudaOps::linear(const void* x, const void* w, const void* bias, void* y, int64_t T, int64_t in,
                     int64_t out) {
  const Extra extra = bias == nullptr ? Extra::kNone : Extra::kBias;
  multiply({T, out, in, false, true, type_, type_, false, extra}, {x, w, y, bias});
}

void CudaOps::linear_input_grad(const void* dy, const void* w, void* dx, int64_t T, int64_t in,
                                int64_t out) {
  multiply({T, in, out, false, false, type_, type_, false}, {dy, w, dx});
}

// In bf16 only: fp32 is for checks, and how exact the library's tanh is nobody says.
bool CudaOps::fuses_activation(Activation kind) const {
  return options_.fused_gelu && kind == Activation::kGeluTanh && type_ == DataType::kBf16;
}

void CudaOps::linear_activation(Activation kind, const void* x, const void* w, const void* bias,
                                void* u, void* g, int64_t T, int64_t in, int64_t out) {
  const MatmulShape shape{T, out, in, false, true, type_, type_, false, Extra::kGelu};
  const MatmulOperands operands{x, w, g, bias, nullptr, u};
  if (fuses_activation(kind) && T > 0 && matmul_->can(shape, operands, product_workspace())) {
    return multiply(shape, operands);
  }
  Ops::linear_activation(kind, x, w, bias, u, g, T, in, out);
}

// The library could sum the columns of du in the same pass, but in the type of du: the product that
// makes the weight's gradient of it sums them in fp32, as for every other bias.
void CudaOps::linear_activation_grad(Activation kind, const void* dy, const void* w, const void* u,
                                     void* dg, void* du, int64_t T, int64_t in, int64_t out) {
  const MatmulShape shape{T, in, out, false, false, type_, type_, false, Extra::kGeluGrad};
  const MatmulOperands operands{dy, w, du, nullptr, nullptr, const_cast<void*>(u)};
  if (fuses_activation(kind) && T > 0 && matmul_->can(shape, operands, product_workspace())) {
    return multiply(shape, operands);
  }
  Ops::linear_activation_grad(kind, dy, w, u, dg, du, T, in, out);
}

// The product reads dy anyway: where the library can, it sums the columns in the same pass.
void CudaOps::linear_weight_grad(const void* dy, const void* x, float* dw, float* dbias, int64_t T,
                                 int64_t in, int64_t out) {
  MatmulShape shape{out, in, T, true, false, type_, DataType::kFp32, true, Extra::kNone};
  MatmulOperands operands{dy, x, dw};
  const Bytes sum_bytes = out * static_cast<Bytes>(sizeof(float));
  if (dbias == nullptr || T == 0) return multiply(shape, operands);
  if (sum_bytes <= std::min(kRowSumBytes, lane_scratch_bytes())) {
    operands.sums = static_cast<float*>(scratch(sum_bytes));
    shape.extra = Extra::kRowSums;
    if (matmul_->can(shape, operands, product_workspace())) {
      multiply(shape, operands);
      return add_into(dbias, operands.sums, out);
    }
    shape.extra = Extra::kNone;
  }
  multiply(shape, operands);
  column_sum(dy, dbias, T, out);
}

}  // namespace shardwright
