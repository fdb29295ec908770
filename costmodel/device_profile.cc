#include "costmodel/device_profile.h"

#include <algorithm>
#include <cmath>

#include "costmodel/check.h"

namespace shardwright {
namespace {

constexpr size_t kMaxAxes = 4;

// Between which two knots a coordinate lies: knots[index] with weight 1 - part, the next with part.
struct Cell {
  size_t index = 0;
  double part = 0;
};

Cell locate(const std::vector<double>& knots, double coordinate) {
  if (knots.size() == 1 || coordinate <= knots.front()) return {0, 0};
  if (coordinate >= knots.back()) return {knots.size() - 2, 1};
  size_t below = 0;  // knots are few: counting all of them needs no branch
  for (const double knot : knots) below += knot <= coordinate ? 1 : 0;
  const size_t index = below - 1;
  return {index, (coordinate - knots[index]) / (knots[index + 1] - knots[index])};
}

double between(double low, double high, double part) { return low + part * (high - low); }

}  // namespace

LogTable::LogTable(std::vector<std::vector<double>> knots, std::vector<double> values)
    : knots_(std::move(knots)), values_(std::move(values)) {
  SW_CHECK(knots_.size() >= 1 && knots_.size() <= kMaxAxes, knots_.size() << " axes");
  size_t cells = 1;
  for (const std::vector<double>& axis : knots_) {
    cells *= axis.size();
    log2_knots_.emplace_back();
    for (double knot : axis) log2_knots_.back().push_back(std::log2(knot));
  }
  SW_CHECK_EQ(values_.size(), cells, "values of a table");
}

double LogTable::at(const double* coordinates) const {
  if (log2_knots_.size() == 3) return at_three(coordinates);
  CellCorner corners[size_t{1} << kMaxAxes];
  const size_t count = corners_of(coordinates, corners);
  double sum = 0;
  for (size_t i = 0; i < count; ++i) sum += corners[i].weight * values_[corners[i].index];
  return sum;
}

// The usual number of axes without a list of corners: a plan asks for thousands of prices.
double LogTable::at_three(const double* coordinates) const {
  const Cell a = locate(log2_knots_[0], std::log2(coordinates[0]));
  const Cell b = locate(log2_knots_[1], std::log2(coordinates[1]));
  const Cell c = locate(log2_knots_[2], std::log2(coordinates[2]));
  const size_t columns = log2_knots_[2].size(), plane = log2_knots_[1].size() * columns;
  // An axis of one knot has no upper neighbour.
  const size_t next_c = columns > 1 ? 1 : 0;
  const size_t next_b = log2_knots_[1].size() > 1 ? columns : 0;
  const size_t next_a = log2_knots_[0].size() > 1 ? plane : 0;
  const double* v = &values_[a.index * plane + b.index * columns + c.index];
  const auto row = [&](const double* at) { return between(at[0], at[next_c], c.part); };
  const auto sheet = [&](const double* at) { return between(row(at), row(at + next_b), b.part); };
  return between(sheet(v), sheet(v + next_a), a.part);
}

// Axis by axis, each splits every corner so far into its lower and its upper knot. Corners of
// weight zero are left out, which also keeps clamped coordinates inside the table.
size_t LogTable::corners_of(const double* coordinates, CellCorner* out) const {
  size_t count = 1;
  out[0] = {0, 1};
  for (size_t axis = 0; axis < log2_knots_.size(); ++axis) {
    const std::vector<double>& knots = log2_knots_[axis];
    const Cell cell = locate(knots, std::log2(coordinates[axis]));
    for (size_t i = 0; i < count; ++i) out[i].index = out[i].index * knots.size() + cell.index;
    if (cell.part == 0) continue;
    for (size_t i = 0; i < count; ++i) {
      out[count + i] = {out[i].index + 1, out[i].weight * cell.part};
      out[i].weight *= 1 - cell.part;
    }
    count *= 2;
  }
  return count;
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
