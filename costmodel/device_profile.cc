#include "costmodel/device_profile.h"

#include <algorithm>
#include <cmath>

#include "costmodel/check.h"

namespace shardwright {
namespace {

constexpr size_t kMaxAxes = 4;

// Between which two knots a coordinate lies: knots[cell] with weight 1 - part, the next with part.
struct Cell {
  size_t index = 0;
  double part = 0;
};

Cell locate(const std::vector<double>& knots, double coordinate) {
  if (coordinate <= knots.front()) return {0, 0};
  if (coordinate >= knots.back()) return {knots.size() - 1, 0};
  const auto above = std::upper_bound(knots.begin(), knots.end(), coordinate);
  const auto below = above - 1;
  return {static_cast<size_t>(below - knots.begin()),
          std::log2(coordinate / *below) / std::log2(*above / *below)};
}

}  // namespace

double LogTable::at(const double* coordinates) const {
  const size_t axes = knots.size();
  SW_CHECK(axes >= 1 && axes <= kMaxAxes, axes << " axes");
  std::array<Cell, kMaxAxes> cells;
  for (size_t axis = 0; axis < axes; ++axis) cells[axis] = locate(knots[axis], coordinates[axis]);
  // Sum over the corners of the cell; bit `axis` of `corner` picks the upper knot. A corner of
  // weight zero is skipped, which also keeps clamped coordinates inside the table.
  double sum = 0;
  for (size_t corner = 0; corner < size_t{1} << axes; ++corner) {
    double weight = 1;
    size_t index = 0;
    for (size_t axis = 0; axis < axes; ++axis) {
      const size_t upper = corner >> axis & 1;
      weight *= upper == 1 ? cells[axis].part : 1 - cells[axis].part;
      index = index * knots[axis].size() + cells[axis].index + upper;
    }
    if (weight > 0) sum += weight * values[index];
  }
  return sum;
}

double interpolate(const std::vector<CurvePoint>& curve, double size) {
  SW_CHECK(!curve.empty(), "a curve without points");
  if (size <= curve.front().size) return curve.front().seconds;
  const CurvePoint& last = curve.back();
  if (size < last.size) {
    const auto above = std::upper_bound(curve.begin(), curve.end(), size,
                                        [](double s, const CurvePoint& p) { return s < p.size; });
    const auto below = above - 1;
    const double part = std::log(size / below->size) / std::log(above->size / below->size);
    return below->seconds * std::exp(part * std::log(above->seconds / below->seconds));
  }
  if (curve.size() > 1) {
    const CurvePoint& before = curve[curve.size() - 2];
    const double slope = (last.seconds - before.seconds) / (last.size - before.size);
    if (slope > 0) return last.seconds + slope * (size - last.size);
  }
  return last.seconds * (size / last.size);
}

const RateSet& DeviceProfile::rates_for(int64_t active_ranks) const {
  SW_CHECK(!rates.empty(), name);
  for (const RateSet& set : rates) {
    if (set.active_ranks >= active_ranks) return set;
  }
  return rates.back();
}

}  // namespace shardwright
