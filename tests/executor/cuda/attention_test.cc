// Attention's kernels on the emulated device against the CPU's, forward and backward, from the same
// inputs rounded to the compute type.
#include <algorithm>

#include "tests/executor/cuda/support.h"

namespace shardwright::testing {
namespace {

// Columns [first, first + count) of a matrix.
std::vector<double> columns(const std::vector<double>& matrix, int64_t width, int64_t first,
                            int64_t count) {
  std::vector<double> out;
  for (size_t row = 0; row < matrix.size(); row += static_cast<size_t>(width)) {
    const auto begin = matrix.begin() + static_cast<int64_t>(row) + first;
    out.insert(out.end(), begin, begin + count);
  }
  return out;
}

// Out and its gradient are sums of products with weights that the kernel rounds to bf16, each off
// by 2^-9 of itself, of up to 2^-8 together with the rounding of the result. dS = P (dP - dot) adds
// the roundings of `out` inside dot, a sum over head_dim that cancels against dP: as large again.
constexpr double kForwardTolerance = 2 * kBf16Rounding;
constexpr double kGradTolerance = 4 * kBf16Rounding;
// Sums of up to 300 products of up to 256 terms, through exp.
constexpr double kFp32AttentionTolerance = 4 * kFp32Tolerance;

class CudaAttentionTest : public CudaOpsTest {
 protected:
  void run(const AttentionShape& s, float scale = 2.0f) {
    const int64_t tokens = s.batch * s.seq;
    qkv_ = typed(random(tokens * s.qkv_width(), scale));
    dout_ = typed(random(tokens * s.out_width()));
    out_ = typed_output(tokens * s.out_width());
    lse_ = float_output(s.batch * s.heads * s.seq);
    dqkv_ = typed_output(tokens * s.qkv_width());
    both([&](Ops& ops, Side at) {
      ops.attention(at(qkv_), s, at(out_), at.floats(lse_));
      ops.attention_grad(at(qkv_), at(out_), at.floats(lse_), at(dout_), s, at(dqkv_));
    });
  }
  void check(const AttentionShape& s) {
    SCOPED_TRACE(::testing::Message() << "batch " << s.batch << ", seq " << s.seq << ", heads "
                                      << s.heads << "/" << s.kv_heads << " of " << s.head_dim);
    run(s);
    const bool rounded = GetParam() == DataType::kBf16;
    expect_same(out_, rounded ? kForwardTolerance : kFp32AttentionTolerance, "out");
    expect_same(lse_, kFp32AttentionTolerance, "lse");
    // Each against its own typical size: those of q and k are much smaller than those of v.
    const int64_t q = s.heads * s.head_dim, kv = s.kv_heads * s.head_dim;
    for (const auto& [what, first, count] :
         {std::tuple{"dq", int64_t{0}, q}, {"dk", q, kv}, {"dv", q + kv, kv}}) {
      expect_close(columns(device_values(dqkv_), s.qkv_width(), first, count),
                   columns(host_values(dqkv_), s.qkv_width(), first, count),
                   rounded ? kGradTolerance : kFp32AttentionTolerance, what);
    }
  }
  // The kernels launched since the last call.
  std::vector<std::string> kernels() {
    std::vector<std::string> out;
    for (const auto& call : device_.calls()) {
      if (call.kind == EmulatedDevice::Kind::kLaunch) out.push_back(call.kernel);
    }
    device_.forget_calls();
    return out;
  }

  Tensor qkv_, dout_, out_, lse_, dqkv_;
};

class TensorCoreAttentionTest : public CudaAttentionTest {};

// Around every multiple of 16 that a fragment, a block of rows or a tile ends at.
TEST_P(TensorCoreAttentionTest, EdgesOfTiles) {
  for (const int64_t dim : {64, 128}) {
    for (const int64_t seq : {1, 15, 16, 17, 31, 33, 63, 64, 65, 95, 97, 127, 128, 129, 130}) {
      check({1, seq, 1, 1, dim});
    }
  }
}

// Three tiles of queries and of keys: those before the diagonal, on it, and behind it.
TEST_P(TensorCoreAttentionTest, ManyTiles) {
  for (const int64_t dim : {64, 128}) check({1, 300, 1, 1, dim});
}

TEST_P(TensorCoreAttentionTest, SharedKeysAndSeveralSequences) {
  for (const int64_t dim : {64, 128}) {
    check({2, 70, 2, 2, dim});
    check({2, 130, 4, 2, dim});
    check({1, 40, 8, 2, dim});
    check({2, 33, 3, 1, dim});
  }
}

TEST_P(TensorCoreAttentionTest, OneHeadsKernelsAreTheOnesMeant) {
  for (const int64_t dim : {64, 128}) {
    const std::string of = "<" + std::to_string(dim) + ">";
    device_.forget_calls();
    run({1, 16, 1, 1, dim});
    const std::vector<std::string> launched = kernels();
    for (const char* kernel : {"attention_kernel", "attention_grad_of_keys_kernel",
                               "attention_grad_of_queries_kernel"}) {
      EXPECT_EQ(std::count(launched.begin(), launched.end(), kernel + of), 1) << kernel << of;
    }
  }
}

// Scores of thousands: exp overflows unless a reference is taken away, and the reference must rise
// with them from tile to tile. Weights are close to 0 and 1 then, so that the gradient is a
// difference of nearly equal numbers and only its being finite is checked.
TEST_P(TensorCoreAttentionTest, LargeScores) {
  for (const int64_t dim : {64, 128}) {
    run({1, 200, 1, 1, dim}, 60.0f);
    // The two sides' scores differ by some 2^-24 of thousands, and weights by as much.
    expect_same(out_, 2 * kForwardTolerance, "out");
    expect_same(lse_, kFp32AttentionTolerance, "lse");
    for (double value : device_values(dqkv_)) ASSERT_TRUE(std::isfinite(value));
  }
}

// Results that depend on who comes first show here.
TEST_P(TensorCoreAttentionTest, SameBytesInEveryOrderOfThreads) {
  const AttentionShape s{1, 140, 2, 1, 128};
  run(s);
  const Side at(true);
  const auto again = [&](const Tensor& first, auto&& call) {
    const Tensor second = typed_output(first.elements);
    call(at(second));
    cuda_->synchronize();
    const Bytes bytes = first.elements * first.device_element_bytes();
    EXPECT_EQ(std::memcmp(at(first), at(second), static_cast<size_t>(bytes)), 0);
  };
  device_.set_order(emulation::ThreadOrder::kReverse);
  again(out_, [&](void* out) { cuda_->attention(at(qkv_), s, out, at.floats(lse_)); });
  again(dqkv_, [&](void* dqkv) {
    cuda_->attention_grad(at(qkv_), at(out_), at.floats(lse_), at(dout_), s, dqkv);
  });
}

INSTANTIATE_TEST_SUITE_P(Types, TensorCoreAttentionTest, kBf16Only);

class PlainAttentionTest : public CudaAttentionTest {};

TEST_P(PlainAttentionTest, MatchesCpu) {
  for (const int64_t seq : {1, 15, 16, 17, 31, 32, 33, 65}) check({1, seq, 1, 1, 24});
  check({2, 37, 4, 2, 80});
  check({1, 20, 2, 1, 256});
  check({2, 18, 3, 1, 7});
  device_.forget_calls();
  run({1, 16, 1, 1, 40});
  for (const std::string& kernel : kernels()) {
    EXPECT_TRUE(kernel.starts_with("plain_") || kernel.starts_with("dots_")) << kernel;
  }
}

TEST_P(PlainAttentionTest, LargeScores) {
  run({1, 70, 1, 1, 16}, 100.0f);
  expect_same(out_, rounding() * 64, "out");  // scores of up to 1e5 in fp32: weights off by 2^-7
  for (double value : device_values(dqkv_)) ASSERT_TRUE(std::isfinite(value));
}

INSTANTIATE_TEST_SUITE_P(Types, PlainAttentionTest, kBothTypes);

class Fp32AttentionTest : public CudaAttentionTest {};

TEST_P(Fp32AttentionTest, HeadsThatTensorCoresWouldTake) {
  check({1, 50, 2, 1, 64});
  check({1, 35, 1, 1, 128});
}

INSTANTIATE_TEST_SUITE_P(Types, Fp32AttentionTest, ::testing::Values(DataType::kFp32));

}  // namespace
}  // namespace shardwright::testing
