// The formulas of GemmModel, AttentionModel and QuantiseModel, used by the Pricer and by the fits.
// t = base_s * exp(correction_of): base_s has the physics, the correction the tables.
#pragma once

#include "costmodel/device_profile.h"

namespace shardwright {

// A model's shares with the device's peaks resolved.
struct OpRates {
  double s_per_flop = 0;
  double s_per_byte = 0;
  int64_t processors = 0;  // 0: not stated
};
template <typename Model>
OpRates rates_of(const Model& model, double peak_flops_per_s, double bytes_per_s,
                 int64_t processors) {
  return {1 / (model.flop_share * peak_flops_per_s), 1 / (model.bandwidth_share * bytes_per_s),
          processors};
}

// A grouped product (count > 1) of a model with tables fills the device as one product of all rows
// would, each member padded to its smallest tile. No grouped timings are at hand to check this.
double base_s(const GemmModel& model, const OpRates& rates, const GemmWork& work);
double correction_of(const GemmModel& model, const GemmWork& work);
// Rows that kernels need not pad: at most 16, or a multiple of it.
bool has_aligned_rows(const GemmWork& work);

// Without the writing of keys and values into a cache.
double base_s(const AttentionModel& model, const OpRates& rates, const AttentionWork& work);
double cache_base_s(const AttentionModel& model, const OpRates& rates, const AttentionWork& work);
double correction_of(const AttentionModel& model, const AttentionWork& work);

// x[rows, columns]
double base_s(const QuantiseModel& model, double bytes_per_s, int64_t rows, int64_t columns);
double correction_of(const QuantiseModel& model, int64_t rows, int64_t columns);

}  // namespace shardwright
