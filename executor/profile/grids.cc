#include "executor/profile/grids.h"

#include <algorithm>

namespace shardwright {
namespace {

// What one point may cost: about 50 ms on a core, 10 ms on a GPU.
double most_gemm_flops(GridScale scale) { return scale == GridScale::kGpu ? 5e12 : 1e10; }
double most_attention_flops(GridScale scale) { return scale == GridScale::kGpu ? 3e12 : 4e9; }
// The rest of batch * heads is batch.
int64_t most_heads_at_once(GridScale scale) { return scale == GridScale::kGpu ? 32 : 8; }

// Reads and writes of each element, as the step lists count them.
double touches_of(PassKind kind) {
  switch (kind) {
    case PassKind::kLossLocal:
    case PassKind::kSquareSum:
    case PassKind::kFill:
      return 1;
    case PassKind::kEmbeddingGrad:
    case PassKind::kAdd:
    case PassKind::kGeluGrad:
    case PassKind::kSwiGlu:
    case PassKind::kSgd:
      return 3;
    case PassKind::kAddNorm:
    case PassKind::kLayerNormGrad:
    case PassKind::kRmsNormGrad:
      return 4;
    case PassKind::kSwiGluGrad:
      return 5;
    case PassKind::kAdamW:
      return 7;
    default:
      return 2;
  }
}

bool is_flat(PassKind kind) {
  return kind == PassKind::kAdamW || kind == PassKind::kSgd || kind == PassKind::kSquareSum ||
         kind == PassKind::kFill || kind == PassKind::kCopy;
}

// The width of rows costs little beside their number of elements: one in the middle of those of
// small models, four times as much inside an MLP, and a vocabulary.
int64_t columns_of(PassKind kind, int64_t elements, GridScale scale) {
  constexpr int64_t kFewestRows = 16;
  const int64_t hidden = scale == GridScale::kGpu ? 2048 : 384;
  const int64_t vocabulary = scale == GridScale::kGpu ? 50304 : 4096;
  if (is_flat(kind)) return elements;
  switch (kind) {
    case PassKind::kGelu:
    case PassKind::kGeluGrad:
    case PassKind::kSwiGlu:
    case PassKind::kSwiGluGrad:
      return std::min(4 * hidden, elements / kFewestRows);
    case PassKind::kLossLocal:
    case PassKind::kLossGrad:
      return std::min(vocabulary, elements / kFewestRows);
    default:
      return std::min(hidden, elements / kFewestRows);
  }
}

template <typename Work>
void sort_by_flops(std::vector<Work>* works) {
  std::stable_sort(works->begin(), works->end(),
                   [](const Work& a, const Work& b) { return a.flops() < b.flops(); });
}

}  // namespace

// Widths of layers are mostly multiples of 64. Those of 256 run slower in some layouts, because
// rows then compete for the same cache sets, so the knots have both sorts: a width between them is
// off by half the difference at most.
// On GPUs the grid of 48 shapes that comes within 0.6 points of a full fit at training sizes
// (published GEMM timings of seven devices, profiles/devices).
Knots gemm_knots(GemmLayout layout, const GridOptions& options) {
  std::vector<double> tokens = {64, 256, 1024, 4096}, widths = {64, 192, 512, 1152, 3072};
  if (options.scale == GridScale::kGpu) {
    tokens = {128, 1024, 8192};
    widths = {1024, 2048, 4096, 16384};
  }
  if (options.quick) tokens = widths = {64, 512};
  if (layout == GemmLayout::kWeightGrad) return {widths, widths, tokens};
  return {tokens, widths, widths};
}

Knots attention_knots(const GridOptions& options) {
  if (options.quick) return {{{64, 256}, {4, 16}, {32, 64}}};
  if (options.scale == GridScale::kGpu) {
    return {{{512, 1024, 2048, 4096, 8192, 16384}, {16, 64, 256}, {64, 128}}};
  }
  // Heads that are not a multiple of 32 wide are padded: they have knots of their own.
  return {{{64, 128, 256, 512, 1024}, {4, 16, 64}, {32, 48, 64, 80, 96, 128}}};
}

std::vector<GemmWork> gemm_grid(GemmLayout layout, const GridOptions& options) {
  std::vector<GemmWork> out;
  const Knots knots = gemm_knots(layout, options);
  for (double m : knots[0]) {
    for (double n : knots[1]) {
      for (double k : knots[2]) {
        const GemmWork work{layout,
                            static_cast<int64_t>(m),
                            static_cast<int64_t>(n),
                            static_cast<int64_t>(k),
                            1,
                            options.type};
        const int64_t largest = std::max({work.m * work.n, work.n * work.k, work.m * work.k});
        if (work.flops() <= most_gemm_flops(options.scale) && largest <= options.most_elements) {
          out.push_back(work);
        }
      }
    }
  }
  sort_by_flops(&out);
  return out;
}

std::vector<AttentionWork> attention_grid(bool backward, const GridOptions& options) {
  std::vector<AttentionWork> out;
  const Knots knots = attention_knots(options);
  for (double seq : knots[0]) {
    for (double batch_heads : knots[1]) {
      for (double head_dim : knots[2]) {
        AttentionWork work;
        work.backward = backward;
        work.seq = static_cast<int64_t>(seq);
        work.heads = work.kv_heads =
            std::min(static_cast<int64_t>(batch_heads), most_heads_at_once(options.scale));
        work.type = options.type;
        work.batch = static_cast<int64_t>(batch_heads) / work.heads;
        work.head_dim = work.v_head_dim = static_cast<int64_t>(head_dim);
        const int64_t operand = 3 * work.batch * work.seq * work.heads * work.head_dim;
        if (work.flops() <= most_attention_flops(options.scale) &&
            operand <= options.most_elements / 2) {
          out.push_back(work);
        }
      }
    }
  }
  sort_by_flops(&out);
  return out;
}

PassWork pass_of(PassKind kind, int64_t elements, const GridOptions& options) {
  const int64_t cols = columns_of(kind, elements, options.scale);
  const int64_t rows = std::max<int64_t>(1, elements / cols);
  const bool floats = kind == PassKind::kAdamW || kind == PassKind::kSgd ||
                      kind == PassKind::kSquareSum || kind == PassKind::kFill;
  const Bytes size = floats ? size_of(DataType::kFp32) : size_of(options.type);
  const double bytes = touches_of(kind) * static_cast<double>(rows * cols * size);
  return {kind, rows, cols, static_cast<Bytes>(bytes)};
}

std::vector<PassWork> pass_sizes(PassKind kind, const GridOptions& options) {
  std::vector<int64_t> sizes = {1 << 12, 1 << 14, 1 << 16, 1 << 18, 1 << 20, 1 << 21, 1 << 22};
  if (options.scale == GridScale::kGpu) sizes = {1 << 14, 1 << 18, 1 << 21, 1 << 24, 1 << 26};
  if (options.quick) sizes = {1 << 12, 1 << 17};
  std::vector<PassWork> out;
  for (int64_t size : sizes) {
    if (4 * size <= options.most_elements) out.push_back(pass_of(kind, size, options));
  }
  return out;
}

}  // namespace shardwright
