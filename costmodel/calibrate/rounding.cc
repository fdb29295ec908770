#include "costmodel/calibrate/rounding.h"

#include <algorithm>
#include <charconv>
#include <cmath>

namespace shardwright {

double rounded(double value, int digits) {
  char text[64];
  const auto end =
      std::to_chars(text, text + sizeof(text), value, std::chars_format::scientific, digits - 1)
          .ptr;
  double out = value;
  std::from_chars(text, end, out);
  return out;
}

LogTable rounded_table(const LogTable& table) {
  std::vector<double> values;
  for (double value : table.values()) {
    values.push_back(std::round(value * 1e3) / 1e3 + 0.0);  // never -0
  }
  return LogTable(table.knots(), std::move(values));
}

std::vector<CurvePoint> lower_envelope(std::vector<CurvePoint> curve) {
  for (size_t i = curve.size(); i-- > 1;) {
    curve[i - 1].seconds = std::min(curve[i - 1].seconds, curve[i].seconds);
  }
  return curve;
}

}  // namespace shardwright
