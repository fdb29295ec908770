// How fast is each CPU kernel on one core? Shapes are those of a small GPT-2 (hidden 384, 6 heads,
// sequence 256, batch 4, vocabulary 4096).
//
// Reported per kind: FLOP/s for products, counting a multiply-add as two and of attention only the
// causal half (forward 2, backward 5 products of seq^2/2 x head_dim); bytes/s for passes, counting
// every operand once per read and once per write.
#include <benchmark/benchmark.h>

#include <cstring>
#include <memory>
#include <vector>

#include "executor/cpu/cpu_ops.h"

namespace shardwright {
namespace {

constexpr int64_t kBatch = 4, kSeq = 256, kTokens = kBatch * kSeq, kHidden = 384, kFfn = 1536;
constexpr int64_t kVocab = 4096, kLayerParameters = 12 * kHidden * kHidden;

// Buffers of one benchmark, filled with small values that stay normal numbers.
class Bench {
 public:
  Bench() : ops_(make_cpu_ops(0)) {}
  ~Bench() {
    for (float* block : blocks_) ops_->free(block);
  }
  Ops* operator->() { return ops_.get(); }
  float* buffer(int64_t elements) {
    float* block = ops_->allocate_floats(elements);
    for (int64_t i = 0; i < elements; ++i) block[i] = static_cast<float>(i * 37 % 101) / 101 - 0.5f;
    blocks_.push_back(block);
    return block;
  }

 private:
  std::unique_ptr<Ops> ops_;
  std::vector<float*> blocks_;
};

void report(benchmark::State& state, const char* name, double per_iteration) {
  state.counters[name] = benchmark::Counter(per_iteration * static_cast<double>(state.iterations()),
                                            benchmark::Counter::kIsRate);
}
void report_flops(benchmark::State& state, double flops) { report(state, "FLOP/s", flops); }
void report_passes(benchmark::State& state, int64_t elements) {
  report(state, "B/s", static_cast<double>(elements) * sizeof(float));
}

enum Layout { kForward, kInputGrad, kWeightGrad };

void BM_linear(benchmark::State& state) {
  const int64_t in = state.range(1), out = state.range(2);
  Bench b;
  float *x = b.buffer(kTokens * in), *w = b.buffer(in * out), *y = b.buffer(kTokens * out);
  const float* bias = b.buffer(out);
  for (auto _ : state) {
    if (state.range(0) == kForward) b->linear(x, w, bias, y, kTokens, in, out);
    if (state.range(0) == kInputGrad) b->linear_input_grad(y, w, x, kTokens, in, out);
    if (state.range(0) == kWeightGrad) b->linear_weight_grad(y, x, w, nullptr, kTokens, in, out);
    if (state.range(0) != kForward) {  // keep accumulated values from growing without bound
      state.PauseTiming();
      b->fill(w, 0.01f, in * out);
      state.ResumeTiming();
    }
  }
  report_flops(state, 2.0 * kTokens * static_cast<double>(in * out));
}
void linear_shapes(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"layout", "in", "out"});
  for (int64_t layout : {kForward, kInputGrad, kWeightGrad}) {
    bench->Args({layout, kHidden, 3 * kHidden})->Args({layout, kHidden, kHidden});
    bench->Args({layout, kHidden, kFfn})->Args({layout, kFfn, kHidden});
    bench->Args({layout, kHidden, kVocab});
  }
}
BENCHMARK(BM_linear)->Apply(linear_shapes);

void BM_attention(benchmark::State& state) {
  const bool backward = state.range(0) != 0;
  const AttentionShape shape{kTokens / state.range(1), state.range(1), 6, 6, 64};
  Bench b;
  float *qkv = b.buffer(kTokens * shape.qkv_width()), *out = b.buffer(kTokens * kHidden);
  float *lse = b.buffer(kTokens * 6), *dqkv = b.buffer(kTokens * shape.qkv_width());
  const float* dout = b.buffer(kTokens * kHidden);
  b->attention(qkv, shape, out, lse);
  for (auto _ : state) {
    if (backward) {
      b->attention_grad(qkv, out, lse, dout, shape, dqkv);
    } else {
      b->attention(qkv, shape, out, lse);
    }
  }
  const double product = static_cast<double>(kTokens * shape.seq * kHidden);  // 2 flops / 2
  report_flops(state, product * (backward ? 5 : 2));
}
BENCHMARK(BM_attention)->ArgNames({"backward", "seq"})->ArgsProduct({{0, 1}, {256, 1024}});

void BM_add_norm(benchmark::State& state) {
  Bench b;
  const int64_t n = kTokens * kHidden;
  float *x = b.buffer(n), *y = b.buffer(n), *sum = b.buffer(n), *out = b.buffer(n);
  float *gamma = b.buffer(kHidden), *stats = b.buffer(2 * kTokens);
  for (auto _ : state) {
    b->add_norm(Norm::kLayerNorm, x, y, gamma, gamma, gamma, 1e-5f, sum, out, stats, kTokens,
                kHidden);
  }
  report_passes(state, 4 * n);
}
BENCHMARK(BM_add_norm);

void BM_norm_grad(benchmark::State& state) {
  Bench b;
  const int64_t n = kTokens * kHidden;
  float *x = b.buffer(n), *dy = b.buffer(n), *residual = b.buffer(n), *dx = b.buffer(n);
  float *y = b.buffer(n), *gamma = b.buffer(kHidden), *stats = b.buffer(2 * kTokens);
  float *dgamma = b.buffer(kHidden), *dbeta = b.buffer(kHidden);
  b->norm(Norm::kLayerNorm, x, gamma, gamma, 1e-5f, y, stats, kTokens, kHidden);
  for (auto _ : state) {
    b->norm_grad(Norm::kLayerNorm, x, gamma, stats, dy, residual, dx, dgamma, dbeta, kTokens,
                 kHidden);
  }
  report_passes(state, 4 * n);
}
BENCHMARK(BM_norm_grad);

void BM_activation(benchmark::State& state) {
  const auto kind = static_cast<Activation>(state.range(1));
  Bench b;
  float *u = b.buffer(kTokens * kFfn), *g = b.buffer(kTokens * kFfn), *bias = b.buffer(kFfn);
  float *du = b.buffer(kTokens * kFfn), *dbias = b.buffer(kFfn);
  for (auto _ : state) {
    if (state.range(0) == 0) {
      b->activation(kind, u, bias, g, kTokens, kFfn);
    } else {
      b->activation_grad(kind, u, bias, g, du, dbias, kTokens, kFfn);
    }
  }
  report_passes(state, (state.range(0) == 0 ? 2 : 3) * kTokens * kFfn);
}
BENCHMARK(BM_activation)->ArgNames({"backward", "kind"})->ArgsProduct({{0, 1}, {0, 1, 2, 3}});

void BM_loss(benchmark::State& state) {
  Bench b;
  float *logits = b.buffer(kTokens * kVocab), *parts = b.buffer(3 * kTokens);
  float* lse = b.buffer(kTokens);
  const std::vector<int32_t> targets(kTokens, 7);
  for (auto _ : state) {
    if (state.range(0) == 0) {
      b->loss_local(logits, targets.data(), 0, kVocab, kVocab, parts, kTokens);
      double loss = 0;
      b->loss_combine(parts, 1, lse, kTokens, &loss);
    } else {
      b->loss_grad(logits, targets.data(), 0, kVocab, kVocab, lse, 1e-3f, kTokens);
    }
  }
  report_passes(state, (state.range(0) == 0 ? 1 : 2) * kTokens * kVocab);
}
BENCHMARK(BM_loss)->ArgName("backward")->Arg(0)->Arg(1);

void BM_adamw(benchmark::State& state) {
  Bench b;
  const int64_t n = 6 * kLayerParameters;
  float *p = b.buffer(n), *g = b.buffer(n), *m = b.buffer(n), *v = b.buffer(n);
  b->fill(v, 0.1f, n);
  const AdamWSettings settings{0.9f, 0.999f, 1e-8f, 0.01f};
  const StepScalars scalars{1e-4f, 0.1f, 0.001f, 1.0f};
  for (auto _ : state) b->adamw(p, nullptr, g, m, v, n, settings, &scalars);
  report_passes(state, 7 * n);
}
BENCHMARK(BM_adamw);

void BM_square_sum(benchmark::State& state) {
  Bench b;
  const int64_t n = 6 * kLayerParameters;
  const float* g = b.buffer(n);
  double sum = 0;
  for (auto _ : state) b->square_sum(g, n, &sum);
  benchmark::DoNotOptimize(sum);
  report_passes(state, n);
}
BENCHMARK(BM_square_sum);

void BM_column_sum(benchmark::State& state) {
  Bench b;
  float *dy = b.buffer(kTokens * kFfn), *dbias = b.buffer(kFfn);
  for (auto _ : state) b->column_sum(dy, dbias, kTokens, kFfn);
  report_passes(state, kTokens * kFfn);
}
BENCHMARK(BM_column_sum);

}  // namespace
}  // namespace shardwright
