#include "executor/cuda/emulation/mma_host.h"

#include <cstring>

#include "executor/cuda/bf16.h"

namespace shardwright {
namespace {

using emulation::WarpCall;

constexpr uint32_t kAll = 0xffffffffu;
constexpr int kRows = 16, kColumns = 8, kDepth = 16;

struct Fragments {
  float* d;
  const uint32_t *a, *b;
};
struct MatrixRow {
  uint32_t* r;
  const void* row;
};

float low_half(uint32_t pair) { return float_of(pair << 16); }
float high_half(uint32_t pair) { return float_of(pair & 0xffff0000u); }

// See mma.h for which element is where.
void run_mma(const WarpCall& call) {
  float a[kRows][kDepth], b[kDepth][kColumns], d[kRows][kColumns];
  const auto lane_of = [&](int lane) -> const Fragments& {
    return *static_cast<const Fragments*>(call.arguments[static_cast<size_t>(lane)]);
  };
  for (int lane = 0; lane < 32; ++lane) {
    const Fragments& mine = lane_of(lane);
    const int group = lane / 4, quad = lane % 4;
    for (int i = 0; i < 4; ++i) {
      const int row = group + 8 * (i % 2), column = 2 * quad + 8 * (i / 2);
      a[row][column] = low_half(mine.a[i]);
      a[row][column + 1] = high_half(mine.a[i]);
      d[group + 8 * (i / 2)][2 * quad + i % 2] = mine.d[i];
    }
    for (int i = 0; i < 2; ++i) {
      b[2 * quad + 8 * i][group] = low_half(mine.b[i]);
      b[2 * quad + 8 * i + 1][group] = high_half(mine.b[i]);
    }
  }
  for (int row = 0; row < kRows; ++row) {
    for (int k = 0; k < kDepth; ++k) {
      for (int column = 0; column < kColumns; ++column) {
        d[row][column] += a[row][k] * b[k][column];
      }
    }
  }
  for (int lane = 0; lane < 32; ++lane) {
    const int group = lane / 4, quad = lane % 4;
    for (int i = 0; i < 4; ++i) lane_of(lane).d[i] = d[group + 8 * (i / 2)][2 * quad + i % 2];
  }
}

template <bool kTransposed>
void run_ldmatrix(const WarpCall& call) {
  uint16_t m[4][8][8];
  for (size_t lane = 0; lane < 32; ++lane) {
    const void* row = static_cast<const MatrixRow*>(call.arguments[lane])->row;
    emulation::check(reinterpret_cast<uintptr_t>(row) % 16 == 0, call.site,
                     "ldmatrix: a row is not 16-aligned");
    emulation::check(emulation::in_shared_memory(row, 16), call.site,
                     "ldmatrix: a row is not in shared memory");
    std::memcpy(m[lane / 8][lane % 8], row, 16);
  }
  for (size_t lane = 0; lane < 32; ++lane) {
    const size_t group = lane / 4, quad = lane % 4;
    uint32_t* r = static_cast<const MatrixRow*>(call.arguments[lane])->r;
    for (size_t i = 0; i < 4; ++i) {
      const uint32_t low = kTransposed ? m[i][2 * quad][group] : m[i][group][2 * quad];
      const uint32_t high = kTransposed ? m[i][2 * quad + 1][group] : m[i][group][2 * quad + 1];
      r[i] = low | high << 16;
    }
  }
}

}  // namespace

void mma_m16n8k16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                  emulation::Site site) {
  Fragments mine{d, a, b};
  emulation::warp_collective("mma_m16n8k16", kAll, site, &mine, run_mma);
}

void ldmatrix_x4(uint32_t (&r)[4], const void* shared_row, emulation::Site site) {
  MatrixRow mine{r, shared_row};
  emulation::warp_collective("ldmatrix_x4", kAll, site, &mine, run_ldmatrix<false>);
}

void ldmatrix_x4_trans(uint32_t (&r)[4], const void* shared_row, emulation::Site site) {
  MatrixRow mine{r, shared_row};
  emulation::warp_collective("ldmatrix_x4_trans", kAll, site, &mine, run_ldmatrix<true>);
}

}  // namespace shardwright
