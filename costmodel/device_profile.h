// DeviceProfile: what one device can do, as peak rates and efficiency tables with their sources.
// Measured on a machine by `shardwright profile`, or shipped under profiles/devices from public
// data.
#pragma once

#include <array>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "costmodel/json.h"
#include "costmodel/work.h"

namespace shardwright {

struct CellCorner {
  size_t index = 0;
  double weight = 0;
};

// Values on a grid of one to four axes, interpolated linearly in log2 of each coordinate and
// clamped at the edges. Holds ln(measured / baseline formula), so that the formula gives the growth
// outside.
class LogTable {
 public:
  LogTable() = default;
  // Knots per axis, ascending, in natural units; values row major, last axis fastest. REQUIRES: one
  // to four axes and a value for every cell.
  LogTable(std::vector<std::vector<double>> knots, std::vector<double> values);
  double at(const double* coordinates) const;  // [knots().size()] natural units, each > 0
  // at() as a sum of weight * values()[index]; writes and counts at most 2^axes corners.
  size_t corners_of(const double* coordinates, CellCorner* out) const;
  bool empty() const { return values_.empty(); }
  const std::vector<std::vector<double>>& knots() const { return knots_; }
  const std::vector<double>& values() const { return values_; }

 private:
  double at_three(const double* coordinates) const;
  std::vector<std::vector<double>> knots_;
  std::vector<double> values_;
  std::vector<std::vector<double>> log2_knots_;  // of knots_, so that a look-up takes few logs
};

// One measured point of a curve: size (bytes or elements) and seconds.
struct CurvePoint {
  double size = 0;
  double seconds = 0;
};
// Interpolated linearly in log-log between points. Below the first point: the first time. Above the
// last: grows with the slope of the last two points in time per size (in proportion to the size
// where there is one point or a slope that noise made negative). REQUIRES: size ascending, both
// numbers positive, not empty.
double interpolate(const std::vector<CurvePoint>& curve, double size);

// What the library's kernels do with the output of a product: they cut it into tiles, of which as
// many as the device has processors run side by side, and pick the tile that takes least. A last
// wave that is not full costs more than its share. Tiles may be split along k, which adds a
// reduction.
struct GemmTile {
  int64_t rows = 0, columns = 0;  // powers of two
  double efficiency = 1;          // of the processor's rate, beside the best tile
};
struct TileModel {
  std::vector<GemmTile> tiles;  // empty: as if every product filled the device
  double whole_waves = 1;       // share of the time that grows by whole waves; the rest by tiles
  double least_wave = 1;     // of the part that grows by tiles: even one tile takes so many waves
  double split_columns = 0;  // of k: what a split adds to each of its parts
  // Time over that of a device kept full, at most kMostWaves. `count` equal products together.
  double waves(int64_t m, int64_t n, int64_t k, int64_t count, int64_t processors) const;
};

struct GemmModel {
  // t0 = floor + flops / (flop_share * peak) * waves + bytes / (bandwidth_share * bandwidth),
  // t = t0 * exp(correction(m, n, k)). A sum and not a maximum: products and loads hide each other
  // only partly near the ridge. bandwidth_share may exceed one, where half of the loads hide.
  double floor_s = 3e-6;
  double flop_share = 0.8;
  double bandwidth_share = 0.85;
  TileModel tiling;
  LogTable correction;  // axes m, n, k; empty = 1
  // Added to `correction` where m exceeds 16 and is no multiple of 16: rows that kernels pad.
  LogTable unaligned;
  // Products of more FLOPs than this take `large` in place of `correction`.
  double large_flops = std::numeric_limits<double>::infinity();
  LogTable large;
};

// Causal attention over whole sequences.
struct AttentionModel {
  // t0 = floor + flops / (flop_share * peak) * occupancy + bytes / (bandwidth_share * bandwidth),
  // t = t0 * exp(correction(seq, batch * heads, head_dim) + grouping(seq, heads, heads /
  // kv_heads)). occupancy = sqrt(1 + (longest / mean)^2): the last 128 rows of a sequence are one
  // processor's share and the longest, the mean is all work over `processors`. processors 0:
  // occupancy = 1.
  double floor_s = 5e-6;
  double flop_share = 0.5;  // of peak, for the causal matrix FLOPs
  double bandwidth_share = 0.85;
  LogTable correction;
  LogTable grouping;
  // Serving writes keys and values into a cache, training does not: further passes over them that
  // the timings contain. Priced by Pricer::cache_s only.
  double cache_passes = 0;
};

// Quantising the operand x[m, k] of a product row by row, a Step of its own (PassKind::kQuantise):
//   t0 = max(floor + block * ceil(k / block_columns) * max(1, m / rows_at_once) + row * m,
//            3 m k bytes / bandwidth),   t = t0 * exp(correction(m, k))
struct QuantiseModel {
  double floor_s = 0;
  double block_s = 0;       // of one block of columns, while all rows fit side by side
  double rows_at_once = 1;  // rows
  double row_s = 0;
  int64_t block_columns = 2048;
  LogTable correction;
};

// Measured times of one collective on `ranks` members of one link level; size is the message in
// bytes.
struct CollectiveCurve {
  CollectiveKind kind = CollectiveKind::kAllReduce;
  int64_t ranks = 0;
  std::vector<CurvePoint> points;
};

// A link that such devices usually come with. It becomes a level of a cluster given in shorthand.
struct UsualLink {
  std::string name;        // "nvlink", "infiniband"
  bool network = false;    // between nodes; else inside one
  double bytes_per_s = 0;  // per device and direction
  double latency_s = 0;    // of one message
  std::string topology;    // "switch", "ring", "host"
  std::vector<CollectiveCurve> curves;
};

// Rates seen by one rank while `active_ranks` ranks of its node compute at the same time: cores
// share caches, memory and power. Shipped GPU profiles have one entry with active_ranks 1.
struct RateSet {
  int64_t active_ranks = 1;
  // By GemmLayout, and forward, backward. What is not measured takes the forward's time and the
  // device's factor for it. fp16 without a model takes bf16's, nvfp4 takes fp8's shares.
  std::map<DataType, std::array<std::optional<GemmModel>, 3>> gemm;
  std::map<DataType, std::array<std::optional<AttentionModel>, 2>> attention;
  std::optional<QuantiseModel> quantise;  // without: as any pass
  // Seconds by elements, per kind; kinds without a curve use bytes / memory bandwidth.
  std::map<PassKind, std::vector<CurvePoint>> passes;
};

// A factor that operator tables cannot give, with what it rests on.
struct StatedFactor {
  double value = 1;
  std::string source;  // empty: the default, checked by nothing
};
struct DeviceFactors {
  StatedFactor sustained;   // products and attention in long runs over short timings: clock, power
  StatedFactor gemm;        // products over what the tables say; for tables of another device
  StatedFactor attention;   // the same of attention
  StatedFactor input_grad;  // of products without tables of their own layout, over forward's
  StatedFactor weight_grad;
  StatedFactor attention_backward{2.5, ""};  // over forward's: five products in place of two
};

// What one device draws at most while it works, without its share of hosts, network and cooling.
struct StatedPower {
  double watts = 0;  // 0: not stated
  std::string source;
};

// Between the device and its host, peak per direction. Where it is not stated: PCIe 4 x16.
struct StatedHostLink {
  double bytes_per_s = 32e9;
  std::string source;  // empty: not stated
};

struct DeviceProfile {
  std::string name;
  std::string source;  // where the figures come from, with date and versions
  Bytes memory_bytes = 0;
  double memory_bytes_per_s = 0;                // peak
  std::map<DataType, double> peak_flops_per_s;  // dense
  StatedPower power;
  StatedHostLink host_link;
  int64_t processors = 0;      // that work side by side on one kernel (SMs); 0: not stated
  double launch_s = 0;         // added to every step
  double pass_floor_s = 2e-6;  // smallest memory pass
  double pass_bandwidth_share = 0.85;
  bool overlaps_communication = false;  // copies and collectives run beside compute (own lanes)
  std::vector<UsualLink> links;         // at most one inside a node and one between nodes
  DeviceFactors factors;
  std::vector<RateSet> rates;  // at least one, ascending active_ranks

  // The nearest entry that is not smaller, else the last. REQUIRES: rates not empty.
  const RateSet& rates_for(int64_t active_ranks) const;
};

// "schema": "shardwright.device/1". Refuses unknown keys, missing peaks, knots or sizes that do not
// ascend and tables of the wrong size, by field; `prefix` precedes field names ("devices.cpu.").
Result<DeviceProfile> read_device_profile(const Json& json, const std::string& file,
                                          const std::string& prefix);
// Every field that a reader needs, links and tables only where there are any. Reading it back gives
// the same bytes again.
Json to_json(const DeviceProfile& profile);

}  // namespace shardwright
