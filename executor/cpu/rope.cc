// Rotary positions (Su et al., "RoFormer"), with the pairing (i, i + rotary_dim / 2).
#include <cmath>

#include "costmodel/check.h"
#include "executor/cpu/cpu_ops_impl.h"
#include "executor/cpu/simd.h"

namespace shardwright {

using simd::for_lanes;
using simd::load;
using simd::store;
using simd::Vec;

// Angles are computed in double: in float, position * frequency would lose digits at long
// positions.
const RopeTable& CpuOps::rope_table(int64_t seq, int64_t rotary_dim, float theta) {
  RopeTable& table = rope_table_;
  if (table.seq >= seq && table.rotary_dim == rotary_dim && table.theta == theta) return table;
  const int64_t pairs = rotary_dim / 2;
  table = {seq, rotary_dim, theta, {}, {}};
  table.cosine.reserve(static_cast<size_t>(seq * pairs));
  table.sine.reserve(static_cast<size_t>(seq * pairs));
  for (int64_t position = 0; position < seq; ++position) {
    for (int64_t i = 0; i < pairs; ++i) {
      const double exponent = -2.0 * static_cast<double>(i) / static_cast<double>(rotary_dim);
      const double angle = static_cast<double>(position) * std::pow(theta, exponent);
      table.cosine.push_back(static_cast<float>(std::cos(angle)));
      table.sine.push_back(static_cast<float>(std::sin(angle)));
    }
  }
  return table;
}

void CpuOps::rope(float* qkv, const AttentionShape& shape, int64_t rotary_dim, float theta,
                  bool inverse) {
  SW_CHECK_EQ(rotary_dim % 2, 0, "rotated dims come in pairs");
  SW_CHECK_LE(rotary_dim, shape.head_dim, "rotated dims are part of a head");
  const RopeTable& table = rope_table(shape.seq, rotary_dim, theta);
  const int64_t pairs = rotary_dim / 2;
  const float direction = inverse ? -1.0f : 1.0f;
  for (int64_t t = 0; t < shape.batch * shape.seq; ++t) {
    const float* cosine = table.cosine.data() + t % shape.seq * pairs;
    const float* sine = table.sine.data() + t % shape.seq * pairs;
    for (int64_t head = 0; head < shape.heads + shape.kv_heads; ++head) {
      float* low = qkv + t * shape.qkv_width() + head * shape.head_dim;
      float* high = low + pairs;
      for_lanes(pairs, [&](int64_t i, auto lanes) {
        const Vec c = load(cosine + i, lanes), s = load(sine + i, lanes) * direction;
        const Vec a = load(low + i, lanes), b = load(high + i, lanes);
        store(low + i, a * c - b * s, lanes);
        store(high + i, b * c + a * s, lanes);
      });
    }
  }
}

}  // namespace shardwright
