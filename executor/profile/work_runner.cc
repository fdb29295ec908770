#include "executor/profile/work_runner.h"

#include <algorithm>

#include "costmodel/check.h"

namespace shardwright {
namespace {

// Slots of hot operands: what the step before wrote, what this one writes to scratch memory, and
// small vectors.
enum Slot : size_t { kInput, kOutput };

AttentionShape shape_of(const AttentionWork& work) {
  return {work.batch, work.seq, work.heads, work.kv_heads, work.head_dim};
}

// Of one cold pool together, for the kind that needs most; all counted as the widest type, fp32.
Bytes cold_bytes_of(const Work& work) {
  constexpr Bytes kWidest = sizeof(float);
  if (const auto* gemm = std::get_if<GemmWork>(&work)) {
    return std::max(gemm->n * gemm->k, gemm->m * gemm->n) * kWidest;
  }
  if (const auto* attention = std::get_if<AttentionWork>(&work)) {
    const AttentionShape shape = shape_of(*attention);
    return attention->batch * attention->seq * (shape.qkv_width() + 2 * shape.out_width()) *
           kWidest;
  }
  if (const auto* pass = std::get_if<PassWork>(&work)) {
    return (4 * pass->elements() + pass->cols) * kWidest;
  }
  SW_CHECK(false, describe(work) << " is not compute");
}

}  // namespace

WorkRunner::WorkRunner(Ops& ops, Bytes cold_bytes)
    : ops_(ops),
      operands_(ops, cold_bytes),
      scalars_(static_cast<StepScalars*>(ops.allocate(sizeof(StepScalars)))),
      sum_(static_cast<double*>(ops.allocate(sizeof(double)))) {
  const StepScalars scalars{1e-5f, 0.1f, 0.001f, 1.0f};
  ops.upload(scalars_, &scalars, sizeof(scalars));
  ops.zero(sum_, sizeof(double));
}

WorkRunner::~WorkRunner() {
  if (indices_ != nullptr) ops_.free(indices_);
  ops_.free(scalars_);
  ops_.free(sum_);
}

bool WorkRunner::fits(const Work& work) const {
  return cold_bytes_of(work) <= operands_.cold_bytes();
}

void WorkRunner::run(const Work& work) {
  if (const auto* gemm = std::get_if<GemmWork>(&work)) return run_gemm(*gemm);
  if (const auto* attention = std::get_if<AttentionWork>(&work)) return run_attention(*attention);
  run_pass(std::get<PassWork>(work));
}

void WorkRunner::run_gemm(const GemmWork& work) {
  void* input = operands_.hot(kInput, work.m * work.k);
  switch (work.layout) {
    case GemmLayout::kForward:
      return ops_.linear(input, operands_.cold_read(work.n * work.k), nullptr,
                         operands_.cold_write(work.m * work.n), work.m, work.k, work.n);
    case GemmLayout::kInputGrad:
      return ops_.linear_input_grad(input, operands_.cold_read(work.n * work.k),
                                    operands_.hot(kOutput, work.m * work.n), work.m, work.n,
                                    work.k);
    case GemmLayout::kWeightGrad:
      return ops_.linear_weight_grad(input, operands_.cold_read(work.n * work.k),
                                     operands_.cold_write_floats(work.m * work.n), nullptr, work.k,
                                     work.n, work.m);
  }
}

void WorkRunner::run_attention(const AttentionWork& work) {
  const AttentionShape shape = shape_of(work);
  const int64_t rows = work.batch * work.seq;
  const int64_t qkv = rows * shape.qkv_width(), out = rows * shape.out_width();
  if (!work.backward) {
    return ops_.attention(operands_.hot(kInput, qkv), shape, operands_.cold_write(out),
                          operands_.cold_write_floats(rows * work.heads));
  }
  return ops_.attention_grad(operands_.cold_read(qkv), operands_.cold_read(out),
                             operands_.cold_read_floats(rows * work.heads),
                             operands_.hot(kInput, out), shape, operands_.hot(kOutput, qkv));
}

const int32_t* WorkRunner::indices(int64_t count, int64_t below) {
  if (indices_below_ == below && indices_count_ >= count) return indices_;
  std::vector<int32_t> values(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) {
    // Multiplicative hashing: no two neighbours use neighbouring rows.
    const uint32_t hash = static_cast<uint32_t>(i) * 2654435761u;
    values[static_cast<size_t>(i)] = static_cast<int32_t>(int64_t{hash} * below >> 32);
  }
  const Bytes bytes = count * static_cast<Bytes>(sizeof(int32_t));
  if (indices_ != nullptr) ops_.free(indices_);
  indices_ = static_cast<int32_t*>(ops_.allocate(bytes));
  ops_.upload(indices_, values.data(), bytes);
  indices_count_ = count;
  indices_below_ = below;
  return indices_;
}

}  // namespace shardwright
