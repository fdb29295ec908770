// Methods that nobody has written yet: weak, so that the real ones replace them as they come.
#include "costmodel/check.h"
#include "executor/cuda/cuda_ops_impl.h"

#define SW_PENDING __attribute__((weak))

namespace shardwright {

SW_PENDING void CudaOps::norm(Norm, const void*, const void*, const void*, float, void*, float*,
                              int64_t, int64_t) {
  SW_CHECK(false, "norm is not written yet");
}
SW_PENDING void CudaOps::add_norm(Norm, const void*, const void*, const void*, const void*,
                                  const void*, float, void*, void*, float*, int64_t, int64_t) {
  SW_CHECK(false, "add_norm is not written yet");
}
SW_PENDING void CudaOps::norm_grad(Norm, const void*, const void*, const float*, const void*,
                                   const void*, void*, float*, float*, int64_t, int64_t) {
  SW_CHECK(false, "norm_grad is not written yet");
}
SW_PENDING void CudaOps::add(const void*, const void*, const void*, void*, int64_t, int64_t) {
  SW_CHECK(false, "add is not written yet");
}
SW_PENDING void CudaOps::column_sum(const void*, float*, int64_t, int64_t) {
  SW_CHECK(false, "column_sum is not written yet");
}
SW_PENDING void CudaOps::rope(void*, const AttentionShape&, int64_t, float, bool) {
  SW_CHECK(false, "rope is not written yet");
}
SW_PENDING void CudaOps::attention(const void*, const AttentionShape&, void*, float*) {
  SW_CHECK(false, "attention is not written yet");
}
SW_PENDING void CudaOps::attention_grad(const void*, const void*, const float*, const void*,
                                        const AttentionShape&, void*) {
  SW_CHECK(false, "attention_grad is not written yet");
}
SW_PENDING void CudaOps::activation(Activation, const void*, const void*, void*, int64_t, int64_t) {
  SW_CHECK(false, "activation is not written yet");
}
SW_PENDING void CudaOps::activation_grad(Activation, const void*, const void*, const void*, void*,
                                         float*, int64_t, int64_t) {
  SW_CHECK(false, "activation_grad is not written yet");
}
SW_PENDING void CudaOps::gated(Activation, const void*, void*, int64_t, int64_t) {
  SW_CHECK(false, "gated is not written yet");
}
SW_PENDING void CudaOps::gated_grad(Activation, const void*, const void*, void*, int64_t, int64_t) {
  SW_CHECK(false, "gated_grad is not written yet");
}
SW_PENDING void CudaOps::embedding(const int32_t*, const void*, int64_t, int64_t, const void*,
                                   void*, int64_t, int64_t, int64_t) {
  SW_CHECK(false, "embedding is not written yet");
}
SW_PENDING void CudaOps::embedding_grad(const int32_t*, const void*, float*, int64_t, int64_t,
                                        float*, int64_t, int64_t, int64_t) {
  SW_CHECK(false, "embedding_grad is not written yet");
}
SW_PENDING void CudaOps::loss_local(const void*, const int32_t*, int64_t, int64_t, int64_t, float*,
                                    int64_t) {
  SW_CHECK(false, "loss_local is not written yet");
}
SW_PENDING void CudaOps::loss_combine(const float*, int64_t, float*, int64_t, double*) {
  SW_CHECK(false, "loss_combine is not written yet");
}
SW_PENDING void CudaOps::loss_grad(void*, const int32_t*, int64_t, int64_t, int64_t, const float*,
                                   float, int64_t) {
  SW_CHECK(false, "loss_grad is not written yet");
}
SW_PENDING void CudaOps::adamw(float*, void*, const float*, float*, float*, int64_t,
                               const AdamWSettings&, const StepScalars*) {
  SW_CHECK(false, "adamw is not written yet");
}
SW_PENDING void CudaOps::sgd(float*, void*, const float*, int64_t, float, const StepScalars*) {
  SW_CHECK(false, "sgd is not written yet");
}
SW_PENDING void CudaOps::square_sum(const float*, int64_t, double*) {
  SW_CHECK(false, "square_sum is not written yet");
}
SW_PENDING void CudaOps::clip_scale(const double*, float, float*) {
  SW_CHECK(false, "clip_scale is not written yet");
}

}  // namespace shardwright
