#include "tests/executor/cuda/kernel_test.h"

namespace shardwright::testing {
namespace {

struct Size {
  int64_t n, offset;
};
// Less than a group, not a whole number of groups, more than the grid's threads (4 multiprocessors
// x 64 blocks x 256 x 4 = 262144) takes long: square_sum's smaller grid (8 x 4 x 1024 = 32768) is
// passed instead; and starts off a 16-byte boundary.
constexpr Size kSizes[] = {{1, 0}, {3, 2}, {7, 0}, {33, 3}, {1024, 0}, {5000, 1}, {40007, 0}};
std::string name(const Size& s) { return std::to_string(s.n) + " at " + std::to_string(s.offset); }

constexpr AdamWSettings kAdamW{0.9f, 0.95f, 1e-8f, 0.1f};
constexpr StepScalars kScalars{0.01f, 1 - 0.729f, 1 - 0.857375f, 0.5f};

class OptimizerKernelTest : public KernelTest {
 protected:
  const StepScalars* put_scalars() {
    auto* to = static_cast<StepScalars*>(cuda_->allocate(sizeof(StepScalars)));
    cuda_->upload(to, &kScalars, sizeof(StepScalars));
    return to;
  }
  double read_double(const double* from) {
    double out = 0;
    cuda_->download(&out, from, 8);
    return out;
  }
};

// w_offset 1: its groups do not lie on boundaries with those of p.
TEST_P(OptimizerKernelTest, AdamW) {
  const StepScalars* scalars_d = put_scalars();
  for (const Size& s : kSizes) {
    for (const int64_t w_offset : {s.offset, s.offset + 1, int64_t{-1}}) {
      Floats p = random_fp32(s.n), m = random_fp32(s.n), v = random_fp32(s.n);
      const Floats g = random_fp32(s.n);
      for (float& value : v) value = std::fabs(value);
      const DeviceArray p_d = put_fp32(p, s.offset), g_d = put_fp32(g, s.offset);
      const DeviceArray m_d = put_fp32(m, s.offset), v_d = put_fp32(v, s.offset);
      const DeviceArray w_d = put(poisoned(s.n), std::max<int64_t>(w_offset, 0));
      cpu_->adamw(p.data(), nullptr, g.data(), m.data(), v.data(), s.n, kAdamW, &kScalars);
      cuda_->adamw(p_d.floats(), w_offset < 0 ? nullptr : w_d.get(), g_d.floats(), m_d.floats(),
                   v_d.floats(), s.n, kAdamW, scalars_d);
      expect_near(p_d.read(), p, DataType::kFp32, "p " + name(s));
      expect_near(m_d.read(), m, DataType::kFp32, "m " + name(s));
      expect_near(v_d.read(), v, DataType::kFp32, "v " + name(s));
      if (w_offset >= 0) {
        EXPECT_EQ(w_d.read(), rounded(p_d.read())) << name(s);
      }
    }
  }
}

// m = v = g = 0 at the first step of an unused embedding row: no 0/0.
TEST_P(OptimizerKernelTest, AdamWOfZeroGradientOnlyDecays) {
  const DeviceArray p_d = put_fp32(Floats(9, 2.0f)), zero = put_fp32(Floats(9, 0.0f));
  const DeviceArray m_d = put_fp32(Floats(9, 0.0f)), v_d = put_fp32(Floats(9, 0.0f));
  const StepScalars scalars{0.5f, 0.1f, 0.001f, 1.0f};
  auto* scalars_d = static_cast<StepScalars*>(cuda_->allocate(sizeof(StepScalars)));
  cuda_->upload(scalars_d, &scalars, sizeof(StepScalars));
  cuda_->adamw(p_d.floats(), nullptr, zero.floats(), m_d.floats(), v_d.floats(), 9,
               {0.9f, 0.999f, 1e-8f, 0.5f}, scalars_d);
  EXPECT_EQ(p_d.read(), Floats(9, 1.5f));
}

TEST_P(OptimizerKernelTest, Sgd) {
  const StepScalars* scalars_d = put_scalars();
  for (const Size& s : kSizes) {
    Floats p = random_fp32(s.n);
    const Floats g = random_fp32(s.n);
    const DeviceArray p_d = put_fp32(p, s.offset), g_d = put_fp32(g, s.offset);
    const DeviceArray w_d = put(poisoned(s.n), s.offset);
    cpu_->sgd(p.data(), nullptr, g.data(), s.n, 0.01f, &kScalars);
    cuda_->sgd(p_d.floats(), w_d.get(), g_d.floats(), s.n, 0.01f, scalars_d);
    expect_near(p_d.read(), p, DataType::kFp32, "p " + name(s));
    EXPECT_EQ(w_d.read(), rounded(p_d.read())) << name(s);
    cuda_->sgd(p_d.floats(), nullptr, g_d.floats(), s.n, 0.01f, scalars_d);
  }
}

// Whole numbers: the sum is exact, so every element counts once.
TEST_P(OptimizerKernelTest, SquareSumIsExactForWholeNumbers) {
  auto* sum = static_cast<double*>(cuda_->allocate(8));
  double expected = 0.5;
  cuda_->upload(sum, &expected, 8);
  for (const Size& s : kSizes) {
    Floats g(s.n);
    for (int64_t i = 0; i < s.n; ++i) {
      g[i] = static_cast<float>(i % 23 - 11);
      expected += double{g[i]} * g[i];
    }
    const DeviceArray g_d = put_fp32(g, s.offset);
    cuda_->square_sum(g_d.floats(), s.n, sum);
    EXPECT_EQ(read_double(sum), expected) << name(s);
  }
}

TEST_P(OptimizerKernelTest, ClipScale) {
  auto* sum = static_cast<double*>(cuda_->allocate(8));
  const DeviceArray scale = put_fp32(poisoned(1));
  struct Clip {
    double square_sum;
    float limit, expected;
  };
  for (const Clip& c : {Clip{16, 1, 0.25f}, Clip{16, 0, 1}, Clip{0.25, 1, 1}, Clip{0, 1, 1}}) {
    cuda_->upload(sum, &c.square_sum, 8);
    cuda_->clip_scale(sum, c.limit, scale.floats());
    EXPECT_NEAR(scale.read()[0], c.expected, 1e-6) << c.square_sum << " " << c.limit;
    EXPECT_LE(scale.read()[0], 1);
  }
}

TEST_P(OptimizerKernelTest, NothingIsNoWork) {
  device_.forget_calls();
  cuda_->adamw(nullptr, nullptr, nullptr, nullptr, nullptr, 0, kAdamW, nullptr);
  cuda_->sgd(nullptr, nullptr, nullptr, 0, 0, nullptr);
  cuda_->square_sum(nullptr, 0, nullptr);
  cuda_->cast(nullptr, nullptr, 0);
  cuda_->fill(nullptr, 0, 0);
  cuda_->add_into(nullptr, nullptr, 0);
  EXPECT_TRUE(device_.calls().empty());
}

INSTANTIATE_TEST_SUITE_P(Types, OptimizerKernelTest, kBothTypes);

}  // namespace
}  // namespace shardwright::testing
