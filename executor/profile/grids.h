// Which Work a profile measures: grids of products and attention that models trained on such
// devices use, and memory passes from the caches to main memory.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "costmodel/work.h"

namespace shardwright {

// The knots of the tables, by axis. A product's corners that would take too long or do not fit into
// memory are left out; the fit fills them.
enum class GridScale { kCpuCore, kGpu };
struct GridOptions {
  GridScale scale = GridScale::kCpuCore;
  DataType type = DataType::kFp32;
  bool quick = false;                         // few points, for tests
  int64_t most_elements = int64_t{16} << 20;  // of one operand
};

using Knots = std::array<std::vector<double>, 3>;
Knots gemm_knots(GemmLayout layout, const GridOptions& options);  // m, n, k
Knots attention_knots(const GridOptions& options);                // seq, batch * heads, head_dim

// The points to measure, cheapest first: what the time does not suffice for is at the end.
std::vector<GemmWork> gemm_grid(GemmLayout layout, const GridOptions& options);
std::vector<AttentionWork> attention_grid(bool backward, const GridOptions& options);
std::vector<PassWork> pass_sizes(PassKind kind, const GridOptions& options);

// [rows, cols] of about `elements` in proportions that the kind has in models of that scale.
PassWork pass_of(PassKind kind, int64_t elements, const GridOptions& options);

}  // namespace shardwright
