// Attention's kernels against the CPU's, forward and backward, from the same inputs rounded to the
// compute type.
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

// Weights, dS and results are rounded to bf16 and nothing else is: each is off by up to 2^-9 of
// itself, 0.0011 in the root mean square over the columns of a head's row. Two such roundings make
// a row of `out`, two or three one of the gradients. The bounds are a little over twice and four
// times that, for rows of few terms; without one key of 300, a row is off by 0.05.
constexpr double kForwardTolerance = 1.0 / 256;
constexpr double kGradTolerance = 1.0 / 128;
// Sums of up to 300 products of up to 256 terms, through exp.
constexpr double kFp32AttentionTolerance = 4 * kFp32Tolerance;

// A query that sees one key has no dQ: what is left is the fp32 error of dO V^T - dot, two sums of
// up to 256 terms of size 1, about sqrt(256) 2^-24 each, some times more on tensor cores, which cut
// where others round.
constexpr double kNothing = 1e-5;

double root_mean_square(const double* values, int64_t count) {
  double sum = 0;
  for (int64_t i = 0; i < count; ++i) sum += values[i] * values[i];
  return std::sqrt(sum / static_cast<double>(count));
}

// Compares rows of `width` columns by the root mean square of their error, which may be the
// tolerance times that of the row and of the whole: early rows are far larger than late ones, and
// some are differences that cancel.
void expect_rows_close(const std::vector<double>& actual, const std::vector<double>& expected,
                       int64_t width, double tolerance, const char* what) {
  ASSERT_EQ(actual.size(), expected.size());
  const auto size = static_cast<int64_t>(expected.size());
  const double typical = root_mean_square(expected.data(), size);
  std::vector<double> error(expected.size());
  for (size_t i = 0; i < error.size(); ++i) error[i] = actual[i] - expected[i];
  for (int64_t at = 0; at < size; at += width) {
    const double off = root_mean_square(&error[static_cast<size_t>(at)], width);
    const double row = root_mean_square(&expected[static_cast<size_t>(at)], width);
    ASSERT_TRUE(off <= tolerance * (row + typical) + kNothing)  // written so that NaN fails
        << what << ", row " << at / width << " of " << width << " columns: off by " << off
        << ", its size is " << row << ", that of all " << typical;
  }
}

class CudaAttentionTest : public CudaOpsTest {
 protected:
  void run(const AttentionShape& s, float scale = 2.0f) {
    const int64_t tokens = s.batch * s.seq;
    qkv_ = typed(random(tokens * s.qkv_width(), scale));
    dout_ = typed(random(tokens * s.out_width()));
    out_ = typed_output(tokens * s.out_width());
    lse_ = float_output(s.batch * s.heads * s.seq);
    dqkv_ = typed_output(tokens * s.qkv_width());
    both([&](Ops& ops, Side at) { ops.attention(at(qkv_), s, at(out_), at.floats(lse_)); });
    // The backward pass starts from the same output on both sides: dot = sum of dO * O would carry
    // O's rounding, times the square root of head_dim, into early rows of dQ.
    expected_out_ = host_values(out_);
    const std::vector<double> rounded = device_values(out_);
    std::transform(rounded.begin(), rounded.end(), Side(false).floats(out_),
                   [](double value) { return static_cast<float>(value); });
    both([&](Ops& ops, Side at) {
      ops.attention_grad(at(qkv_), at(out_), at.floats(lse_), at(dout_), s, at(dqkv_));
    });
  }
  void check(const AttentionShape& s) {
    SCOPED_TRACE(::testing::Message() << "batch " << s.batch << ", seq " << s.seq << ", heads "
                                      << s.heads << "/" << s.kv_heads << " of " << s.head_dim);
    run(s);
    const bool rounded = GetParam() == DataType::kBf16;
    expect_rows_close(device_values(out_), expected_out_, s.head_dim,
                      rounded ? kForwardTolerance : kFp32AttentionTolerance, "out");
    expect_same(lse_, kFp32AttentionTolerance, "lse");
    // Each against its own typical size: those of q and k are much smaller than those of v.
    const int64_t q = s.heads * s.head_dim, kv = s.kv_heads * s.head_dim;
    for (const auto& [what, first, count] :
         {std::tuple{"dq", int64_t{0}, q}, {"dk", q, kv}, {"dv", q + kv, kv}}) {
      expect_rows_close(columns(device_values(dqkv_), s.qkv_width(), first, count),
                        columns(host_values(dqkv_), s.qkv_width(), first, count), s.head_dim,
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
  std::vector<double> expected_out_;
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

TEST_P(TensorCoreAttentionTest, TensorCoresTakeTheirHeads) {
#ifdef SHARDWRIGHT_TEST_ON_GPU
  GTEST_SKIP() << "only the emulated device tells which kernels were launched";
#endif
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
    // The two sides' scores differ by some 2^-24 of thousands, and weights by 2^-12 of themselves.
    expect_rows_close(device_values(out_), expected_out_, dim, kForwardTolerance, "out");
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
  // Scores of up to 1e5 in fp32: weights off by 2^-7 of themselves.
  expect_rows_close(device_values(out_), expected_out_, 16, 1.0 / 64, "out");
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
