#include "costmodel/profile_json.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

namespace shardwright {
namespace {

bool is_positive(const Json& value) {
  return value.is_number() && value.get<double>() > 0 && value.get<double>() <= 1e300;
}

bool is_point(const Json& point) {
  return point.is_array() && point.size() == 2 && is_positive(point[0]) && is_positive(point[1]);
}

bool repeats(const std::vector<CollectiveCurve>& before, const CollectiveCurve& curve) {
  for (const CollectiveCurve& other : before) {
    if (other.kind == curve.kind && other.ranks == curve.ranks) return true;
  }
  return false;
}

std::optional<Error> read_collective_curve(const Json& json, const std::string& file,
                                           const std::string& field, CollectiveCurve* out) {
  Fields fields(json, file, field + ".");
  const std::string kind = fields.text("kind");
  if (!parse_collective_kind(kind, &out->kind)) {
    fields.fail("kind", '"' + printable(kind) + '"',
                "all_reduce, all_gather, reduce_scatter, all_to_all, broadcast, send or receive");
  }
  out->ranks = fields.integer("ranks", 2, int64_t{1} << 20);
  const Json& points = fields.array("points");
  if (auto error = fields.finish()) return error;
  return read_curve(points, file, field + ".points", &out->points);
}

}  // namespace

std::string element(const std::string& list, size_t index) {
  return list + "[" + std::to_string(index) + "]";
}

bool is_plain_name(const std::string& name) {
  const auto plain = [](unsigned char c) {
    return c < 0x80 && (std::isalnum(c) != 0 || c == '.' || c == '_' || c == '-');
  };
  return !name.empty() && name.size() <= 100 && name[0] != '.' &&
         std::all_of(name.begin(), name.end(), plain);
}

double in_unit(double value, double unit) {
  const double nearest = value / unit;
  const double infinity = std::numeric_limits<double>::infinity();
  double best = nearest;
  size_t best_length = std::string::npos;
  for (double number :
       {nearest, std::nextafter(nearest, -infinity), std::nextafter(nearest, infinity)}) {
    if (number * unit != value) continue;
    const size_t length = Json(number).dump().size();
    if (length >= best_length) continue;
    best = number;
    best_length = length;
  }
  return best;
}

std::optional<Error> read_curve(const Json& points, const std::string& file,
                                const std::string& field, std::vector<CurvePoint>* out) {
  if (!points.is_array()) return Error{file, field, quote(points), "a list of [size, seconds]"};
  if (points.empty()) return Error{file, field, "an empty list", "at least one [size, seconds]"};
  for (size_t i = 0; i < points.size(); ++i) {
    const Json& point = points[i];
    if (!is_point(point)) {
      return Error{file, element(field, i), quote(point), "[size, seconds], both positive"};
    }
    const CurvePoint read{point[0].get<double>(), point[1].get<double>()};
    if (!out->empty() && read.size <= out->back().size) {
      return Error{file, element(field, i) + "[0]", quote(point[0]), "sizes that ascend"};
    }
    out->push_back(read);
  }
  return std::nullopt;
}

Json to_json(const std::vector<CurvePoint>& curve) {
  Json out = Json::array();
  for (const CurvePoint& point : curve) out.push_back(Json::array({point.size, point.seconds}));
  return out;
}

std::optional<Error> read_collective_curves(const Json& curves, const std::string& file,
                                            const std::string& field,
                                            std::vector<CollectiveCurve>* out) {
  for (size_t i = 0; i < curves.size(); ++i) {
    CollectiveCurve curve;
    if (auto error = read_collective_curve(curves[i], file, element(field, i), &curve)) {
      return error;
    }
    if (repeats(*out, curve)) {
      return Error{file, element(field, i),
                   std::string("a second curve for ") + name_of(curve.kind) + " of " +
                       std::to_string(curve.ranks) + " ranks",
                   "one curve for each kind and number of ranks"};
    }
    out->push_back(std::move(curve));
  }
  return std::nullopt;
}

Json to_json(const std::vector<CollectiveCurve>& curves) {
  Json out = Json::array();
  for (const CollectiveCurve& curve : curves) {
    out.push_back(
        {{"kind", name_of(curve.kind)}, {"ranks", curve.ranks}, {"points", to_json(curve.points)}});
  }
  return out;
}

}  // namespace shardwright
