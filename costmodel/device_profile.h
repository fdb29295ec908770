// DeviceProfile: what one device can do, as peak rates and efficiency tables with their sources.
// Measured on a machine by `shardwright profile`, or shipped under profiles/devices from public
// data.
#pragma once

#include <array>
#include <map>
#include <string>
#include <vector>

#include "costmodel/json.h"
#include "costmodel/work.h"

namespace shardwright {

// Values on a grid of one to four axes, interpolated linearly in log2 of each coordinate and
// clamped at the edges. Holds ln(measured / baseline formula), so that the formula gives the growth
// outside.
struct LogTable {
  std::vector<std::vector<double>> knots;      // per axis, ascending, in natural units
  std::vector<double> values;                  // row major, last axis fastest
  double at(const double* coordinates) const;  // [knots.size()] natural units, each > 0
  bool empty() const { return values.empty(); }
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

struct GemmModel {
  // t0 = floor + flops / (flop_share * peak) + bytes / (bandwidth_share * memory bandwidth),
  // t = t0 * exp(correction(m, n, k)). Form: ../shared modelling note 2.4; the shares come with the
  // profile.
  double floor_s = 3e-6;
  double flop_share = 0.8;
  double bandwidth_share = 0.85;
  LogTable correction;  // axes m, n, k; empty = 1
};
struct AttentionModel {
  double floor_s = 5e-6;
  double flop_share = 0.5;  // of peak, for the causal matrix FLOPs
  double bandwidth_share = 0.85;
  LogTable correction;  // axes seq, batch*heads, head_dim
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
  std::map<DataType, std::array<GemmModel, 3>> gemm;            // by GemmLayout
  std::map<DataType, std::array<AttentionModel, 2>> attention;  // forward, backward
  // Seconds by elements, per kind; kinds without a curve use bytes / memory bandwidth.
  std::map<PassKind, std::vector<CurvePoint>> passes;
};

struct DeviceProfile {
  std::string name;
  std::string source;  // where the figures come from, with date and versions
  Bytes memory_bytes = 0;
  double memory_bytes_per_s = 0;                // peak
  std::map<DataType, double> peak_flops_per_s;  // dense
  double launch_s = 0;                          // added to every step
  double pass_floor_s = 2e-6;                   // smallest memory pass
  double pass_bandwidth_share = 0.85;
  bool overlaps_communication = false;  // copies and collectives run beside compute (own lanes)
  std::vector<UsualLink> links;         // at most one inside a node and one between nodes
  std::vector<RateSet> rates;           // at least one, ascending active_ranks

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
