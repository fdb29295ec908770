// Properties of the whole backend: ranks as threads, and matrices that lie anywhere in memory.
#include <thread>

#include "executor/exec_error.h"
#include "tests/executor/cpu/test_support.h"

namespace shardwright::testing {
namespace {

constexpr AttentionShape kShape{1, 70, 2, 1, 16};
constexpr int64_t kIn = 64, kOut = 96;

// A few kernels in a row; the result shows any interference between ranks.
Floats small_layer(Ops* ops, const Floats& qkv, const Floats& w) {
  Floats out = poisoned(kShape.seq * kShape.out_width()), lse = poisoned(2 * kShape.seq);
  ops->attention(qkv.data(), kShape, out.data(), lse.data());
  Floats y = poisoned(kShape.seq * kOut);
  ops->linear(out.data(), w.data(), nullptr, y.data(), kShape.seq, kShape.out_width(), kOut);
  Floats dw(static_cast<size_t>(kShape.out_width() * kOut), 0.0f);
  ops->linear_weight_grad(y.data(), out.data(), dw.data(), nullptr, kShape.seq, kShape.out_width(),
                          kOut);
  y.insert(y.end(), dw.begin(), dw.end());
  return y;
}

// Every rank's Ops is made here and used in its own thread, all at the same time.
TEST_F(CpuOpsTest, RanksAsThreadsAgreeInEveryBit) {
  const Floats qkv = random(kShape.seq * kShape.qkv_width());
  const Floats w = random(kShape.out_width() * kOut);
  const Floats expected = small_layer(ops_.get(), qkv, w);
  std::vector<std::unique_ptr<Ops>> ops;
  std::vector<Floats> results(4);
  for (int rank = 0; rank < 4; ++rank) ops.push_back(make_cpu_ops(rank));
  std::vector<std::thread> threads;
  for (size_t rank = 0; rank < 4; ++rank) {
    threads.emplace_back([&, rank] {
      for (int round = 0; round < 5; ++round) results[rank] = small_layer(ops[rank].get(), qkv, w);
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const Floats& result : results) EXPECT_EQ(result, expected);
}

// Copies `values` to an address that is no multiple of a vector.
Floats shifted(const Floats& values) {
  Floats out(values.size() + 1);
  std::copy(values.begin(), values.end(), out.begin() + 1);
  return out;
}

TEST_F(CpuOpsTest, AlignmentChangesNoBit) {
  const Floats x = random(5 * 100), y = random(5 * 100), gamma = random(100);
  Floats sum = poisoned(500), out = poisoned(500), stats = poisoned(10);
  ops_->add_norm(Norm::kRmsNorm, x.data(), y.data(), nullptr, gamma.data(), nullptr, 1e-5f,
                 sum.data(), out.data(), stats.data(), 5, 100);
  const Floats x1 = shifted(x), y1 = shifted(y), gamma1 = shifted(gamma);
  Floats sum1 = poisoned(501), out1 = poisoned(501);
  ops_->add_norm(Norm::kRmsNorm, &x1[1], &y1[1], nullptr, &gamma1[1], nullptr, 1e-5f, &sum1[1],
                 &out1[1], stats.data(), 5, 100);
  EXPECT_TRUE(std::equal(out.begin(), out.end(), out1.begin() + 1));
  EXPECT_TRUE(std::equal(sum.begin(), sum.end(), sum1.begin() + 1));
}

TEST_F(CpuOpsTest, ProductsTakeUnalignedMatrices) {
  const int64_t T = 33;
  const Floats x = shifted(random(T * kIn)), w = shifted(random(kOut * kIn));
  Doubles expected;
  for (int64_t at = 0; at < T * kOut; ++at) {
    double sum = 0;
    for (int64_t i = 0; i < kIn; ++i) {
      sum += double{x[1 + at / kOut * kIn + i]} * w[1 + at % kOut * kIn + i];
    }
    expected.push_back(sum);
  }
  Floats y = poisoned(T * kOut + 1);
  ops_->linear(&x[1], &w[1], nullptr, &y[1], T, kIn, kOut);
  expect_close(Floats(y.begin() + 1, y.end()), expected);
}

TEST_F(CpuOpsTest, LiveBytesAreOfOneObject) {
  const std::unique_ptr<Ops> other = make_cpu_ops(1);
  void* block = ops_->allocate(4000);
  EXPECT_EQ(ops_->live_bytes(), 4000);
  EXPECT_EQ(other->live_bytes(), 0);
  ops_->free(block);
  EXPECT_EQ(ops_->peak_bytes(), 4000);
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
// Sanitizers abort on such a request instead of refusing it.
TEST(CpuOpsErrorTest, ImpossibleAllocationNamesTheRank) {
  const std::unique_ptr<Ops> ops = make_cpu_ops(3);
  try {
    ops->allocate(int64_t{1} << 52);
    FAIL() << "a petabyte was granted";
  } catch (const ExecError& error) {
    EXPECT_EQ(error.rank(), 3);
    EXPECT_EQ(error.where(), "allocate");
  }
}
#endif

}  // namespace
}  // namespace shardwright::testing
