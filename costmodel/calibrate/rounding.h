// Figures of a profile keep the digits that they are worth: files stay short, and a fit gives the
// same bytes wherever logarithms differ in their last bit.
#pragma once

#include <vector>

#include "costmodel/device_profile.h"

namespace shardwright {

// To so many significant digits: what was measured has no more.
double rounded(double value, int digits);
// Every value to a thousandth: a tenth of a percent of a time.
LogTable rounded_table(const LogTable& table);

// The running minimum from the largest size down: less never takes longer, whatever the noise.
std::vector<CurvePoint> lower_envelope(std::vector<CurvePoint> curve);

}  // namespace shardwright
