// The memory passes of WorkRunner. Which operands are hot follows the layers: what the step before
// left in scratch memory is hot, what the forward pass keeps and all of weights is cold.
#include <algorithm>

#include "costmodel/check.h"
#include "executor/profile/work_runner.h"

namespace shardwright {
namespace {

enum Slot : size_t { kInput, kOutput, kGain, kBeta, kBias, kGainGrad, kStats, kLogSum };

constexpr float kEpsilon = 1e-5f;
// Small, so that gradients that take the place of logits again and again stay finite.
constexpr float kLossScale = 1e-3f;
constexpr int64_t kVocabulary = 1024;  // rows of the embedding table; text uses few rows often
constexpr int64_t kHeadDim = 64;
constexpr int64_t kSequence = 256;

Norm norm_of(PassKind kind) {
  const bool rms = kind == PassKind::kRmsNorm || kind == PassKind::kRmsNormGrad;
  return rms ? Norm::kRmsNorm : Norm::kLayerNorm;
}

}  // namespace

void WorkRunner::run_pass(const PassWork& work) {
  switch (work.kind) {
    case PassKind::kEmbedding:
    case PassKind::kEmbeddingGrad:
      return run_embedding(work);
    case PassKind::kLayerNorm:
    case PassKind::kRmsNorm:
    case PassKind::kLayerNormGrad:
    case PassKind::kRmsNormGrad:
      return run_norm(work);
    case PassKind::kAddNorm:
    case PassKind::kAdd:
    case PassKind::kRope:
      return run_residual(work);
    case PassKind::kGelu:
    case PassKind::kGeluGrad:
    case PassKind::kSwiGlu:
    case PassKind::kSwiGluGrad:
      return run_activation(work);
    case PassKind::kLossLocal:
    case PassKind::kLossGrad:
      return run_loss(work);
    case PassKind::kAdamW:
    case PassKind::kSgd:
    case PassKind::kSquareSum:
    case PassKind::kFill:
    case PassKind::kCopy:
      return run_flat(work);
    case PassKind::kQuantise:  // no kernel computes in fp8 here
    case PassKind::kCount:
      break;
  }
  SW_CHECK(false, "pass " << static_cast<int>(work.kind));
}

void WorkRunner::run_embedding(const PassWork& work) {
  const int64_t room = operands_.cold_bytes() / static_cast<Bytes>(sizeof(float)) / work.cols / 2;
  const int64_t vocabulary = std::clamp<int64_t>(room, 1, kVocabulary);
  const int64_t table = vocabulary * work.cols;
  const int64_t seq = std::min(work.rows, kSequence);
  const int32_t* tokens = indices(work.rows, vocabulary);
  if (work.kind == PassKind::kEmbedding) {
    return ops_.embedding(tokens, operands_.cold_read(table), 0, vocabulary,
                          operands_.hot(kGain, seq * work.cols),
                          operands_.cold_write(work.elements()), work.rows, seq, work.cols);
  }
  ops_.embedding_grad(tokens, operands_.hot(kInput, work.elements()),
                      operands_.cold_write_floats(table), 0, vocabulary,
                      operands_.hot_floats(kGainGrad, seq * work.cols), work.rows, seq, work.cols);
}

void WorkRunner::run_norm(const PassWork& work) {
  const Norm kind = norm_of(work.kind);
  const int64_t rows = work.rows, cols = work.cols, n = work.elements();
  const bool layer_norm = kind == Norm::kLayerNorm;
  const void* gamma = operands_.hot(kGain, cols);
  const void* beta = layer_norm ? operands_.hot(kBeta, cols) : nullptr;
  float* stats = operands_.hot_floats(kStats, 2 * rows);
  if (work.kind == PassKind::kLayerNorm || work.kind == PassKind::kRmsNorm) {
    return ops_.norm(kind, operands_.hot(kInput, n), gamma, beta, kEpsilon, operands_.cold_write(n),
                     stats, rows, cols);
  }
  float* dgamma = operands_.hot_floats(kGainGrad, 2 * cols);
  ops_.norm_grad(kind, operands_.cold_read(n), gamma, stats, operands_.hot(kInput, n),
                 operands_.cold_read(n), operands_.hot(kOutput, n), dgamma,
                 layer_norm ? dgamma + cols : nullptr, rows, cols);
}

void WorkRunner::run_residual(const PassWork& work) {
  const int64_t rows = work.rows, cols = work.cols, n = work.elements();
  void* branch = operands_.hot(kInput, n);
  if (work.kind == PassKind::kRope) {
    // Queries and keys alike, as many of each; the values beside them are not touched.
    const int64_t dim = std::min(kHeadDim, cols / 2);
    const int64_t heads = cols / dim / 2, seq = std::min(rows, kSequence);
    const AttentionShape shape{rows / seq, seq, heads, heads, dim};
    return ops_.rope(operands_.hot(kInput, rows * shape.qkv_width()), shape, dim, 10000.0f, false);
  }
  const void* stream = operands_.cold_read(n);
  const void* bias = operands_.hot(kBias, cols);
  if (work.kind == PassKind::kAdd) {
    return ops_.add(stream, branch, bias, operands_.cold_write(n), rows, cols);
  }
  void* sum = operands_.cold_write(n);
  ops_.add_norm(Norm::kLayerNorm, stream, branch, bias, operands_.hot(kGain, cols),
                operands_.hot(kBeta, cols), kEpsilon, sum, operands_.cold_write(n),
                operands_.hot_floats(kStats, 2 * rows), rows, cols);
}

void WorkRunner::run_activation(const PassWork& work) {
  const int64_t rows = work.rows, cols = work.cols, n = work.elements();
  switch (work.kind) {
    case PassKind::kGelu:
      return ops_.activation(Activation::kGeluTanh, operands_.hot(kInput, n),
                             operands_.hot(kGain, cols), operands_.cold_write(n), rows, cols);
    case PassKind::kGeluGrad:
      return ops_.activation_grad(Activation::kGeluTanh, operands_.cold_read(n),
                                  operands_.hot(kGain, cols), operands_.hot(kInput, n),
                                  operands_.hot(kOutput, n), operands_.hot_floats(kGainGrad, cols),
                                  rows, cols);
    case PassKind::kSwiGlu:
      return ops_.gated(Activation::kSilu, operands_.hot(kInput, 2 * n), operands_.cold_write(n),
                        rows, cols);
    default:
      return ops_.gated_grad(Activation::kSilu, operands_.cold_read(2 * n),
                             operands_.hot(kInput, n), operands_.hot(kOutput, 2 * n), rows, cols);
  }
}

void WorkRunner::run_loss(const PassWork& work) {
  const int64_t rows = work.rows, cols = work.cols;
  const int32_t* targets = indices(rows, cols);
  void* logits = operands_.hot(kInput, work.elements());
  if (work.kind == PassKind::kLossGrad) {
    return ops_.loss_grad(logits, targets, 0, cols, cols, operands_.hot_floats(kLogSum, rows),
                          kLossScale, rows);
  }
  float* parts = operands_.hot_floats(kOutput, 4 * rows);
  ops_.loss_local(logits, targets, 0, cols, cols, parts, rows);
  ops_.loss_combine(parts, 1, parts + 3 * rows, rows, sum_);
}

void WorkRunner::run_flat(const PassWork& work) {
  const int64_t n = work.elements();
  if (work.kind == PassKind::kCopy) {
    return ops_.copy(operands_.cold_write(n), operands_.cold_read(n), operands_.bytes_of(n));
  }
  if (work.kind == PassKind::kSquareSum) {
    return ops_.square_sum(operands_.cold_read_floats(n), n, sum_);
  }
  float* to = operands_.cold_write_floats(n);
  if (work.kind == PassKind::kFill) return ops_.fill(to, 0.01f, n);
  // Where products do not read the fp32 weights, the update writes their copy too.
  void* copy = ops_.type() == DataType::kFp32 ? nullptr : operands_.cold_write(n);
  const float* grad = operands_.cold_read_floats(n);
  if (work.kind == PassKind::kSgd) return ops_.sgd(to, copy, grad, n, 0.01f, scalars_);
  float* moment1 = operands_.cold_write_floats(n);
  ops_.adamw(to, copy, grad, moment1, operands_.cold_write_floats(n), n,
             {0.9f, 0.999f, 1e-8f, 0.01f}, scalars_);
}

}  // namespace shardwright
