#include "costmodel/op_formulas.h"

#include <algorithm>
#include <cmath>

namespace shardwright {
namespace {

constexpr int64_t kRowMultiple = 16;    // rows that kernels handle without padding
constexpr int64_t kGroupedRows = 64;    // rows of the smallest tile of grouped kernels
constexpr double kAttentionRows = 128;  // query rows that one processor takes at once
constexpr double kQuantiseBytes = 3;    // an element of 16 bits is read, one of 8 written

constexpr int64_t kMostSplits = 8;
constexpr int64_t kLeastSplit = 128;  // columns of k that each part keeps
constexpr double kMostWaves = 8;      // what tiny products leave idle is the tables' business

double number(int64_t value) { return static_cast<double>(value); }

double look_up(const LogTable& table, double a, double b, double c) {
  const double coordinates[] = {a, b, c};
  return table.empty() ? 0 : table.at(coordinates);
}

bool is_grouped(const GemmModel& model, const GemmWork& work) {
  return work.count > 1 && !model.correction.empty();
}

// Rows of each member as they are computed.
int64_t padded_rows(const GemmModel& model, const GemmWork& work) {
  return is_grouped(model, work) ? round_up(work.m, kGroupedRows) : work.m;
}

}  // namespace

double TileModel::waves(int64_t m, int64_t n, int64_t k, int64_t count, int64_t processors) const {
  if (tiles.empty() || processors == 0) return 1;
  double best = std::numeric_limits<double>::infinity();
  for (const GemmTile& tile : tiles) {
    const int64_t blocks = ceil_div(m, tile.rows) * ceil_div(n, tile.columns) * count;
    const double area = number(tile.rows * tile.columns) / tile.efficiency;
    for (int64_t split = 1; split <= kMostSplits; split *= 2) {
      if (split > 1 && (k < kLeastSplit * split || blocks > 2 * processors)) break;
      const int64_t parts = blocks * split;
      const double waves =
          whole_waves * number(ceil_div(parts, processors)) +
          (1 - whole_waves) * std::max(number(parts) / number(processors), least_wave);
      const double depth = split == 1 ? 1.0 : 1.0 / number(split) + split_columns / number(k);
      best = std::min(best, waves * area * depth);
    }
  }
  return std::min(kMostWaves, best * number(processors) / (number(m) * number(n) * number(count)));
}

bool has_aligned_rows(const GemmWork& work) {
  return work.m <= kRowMultiple || work.m % kRowMultiple == 0;
}

double base_s(const GemmModel& model, const OpRates& rates, const GemmWork& work) {
  const int64_t rows = padded_rows(model, work);
  const double flops = work.flops() * (number(rows) / number(work.m));
  const double waves = model.tiling.waves(rows, work.n, work.k, work.count, rates.processors);
  return model.floor_s + flops * rates.s_per_flop * waves + number(work.bytes()) * rates.s_per_byte;
}

double correction_of(const GemmModel& model, const GemmWork& work) {
  if (model.correction.empty()) return 1;
  const int64_t rows = padded_rows(model, work) * work.count;
  const double m = number(rows), n = number(work.n), k = number(work.k);
  const bool large = 2 * m * n * k > model.large_flops;
  double logarithm = look_up(large ? model.large : model.correction, m, n, k);
  if (!is_grouped(model, work) && !has_aligned_rows(work)) {
    logarithm += look_up(model.unaligned, m, n, k);
  }
  return std::exp(logarithm);
}

double base_s(const AttentionModel& model, const OpRates& rates, const AttentionWork& work) {
  double occupancy = 1;
  if (rates.processors > 0) {
    const int64_t row = work.window > 0 ? std::min(work.window, work.seq) : work.seq;
    const double longest = kAttentionRows * number(row * rates.processors);
    const double ratio = longest / (number(work.batch * work.heads) * work.pairs());
    occupancy = std::sqrt(1 + ratio * ratio);
  }
  return model.floor_s + work.flops() * rates.s_per_flop * occupancy +
         number(work.bytes()) * rates.s_per_byte;
}

double cache_base_s(const AttentionModel& model, const OpRates& rates, const AttentionWork& work) {
  const int64_t elements =
      work.batch * work.seq * work.kv_heads * (work.head_dim + work.v_head_dim);
  return model.cache_passes * number(elements * size_of(work.type)) * rates.s_per_byte;
}

double correction_of(const AttentionModel& model, const AttentionWork& work) {
  if (model.correction.empty()) return 1;
  const double seq = number(work.seq), heads = number(work.heads);
  return std::exp(look_up(model.correction, seq, number(work.batch) * heads,
                          number(std::max(work.head_dim, work.v_head_dim))) +
                  look_up(model.grouping, seq, heads, heads / number(work.kv_heads)));
}

double base_s(const QuantiseModel& model, double bytes_per_s, int64_t rows, int64_t columns) {
  const double blocks = number(ceil_div(columns, model.block_columns));
  const double kernel = model.floor_s +
                        model.block_s * blocks * std::max(1.0, number(rows) / model.rows_at_once) +
                        model.row_s * number(rows);
  return std::max(kernel, kQuantiseBytes * number(rows) * number(columns) / bytes_per_s);
}

double correction_of(const QuantiseModel& model, int64_t rows, int64_t columns) {
  const double coordinates[] = {number(rows), number(columns)};
  return model.correction.empty() ? 1 : std::exp(model.correction.at(coordinates));
}

}  // namespace shardwright
