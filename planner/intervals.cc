#include "planner/intervals.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

namespace shardwright {
namespace {

struct Point {
  double value = 0, weight = 0;  // ln(measured / predicted)
  const std::string* source = nullptr;
};

// The value below which `share` of the weight lies.
double quantile(std::vector<Point> points, double share) {
  std::sort(points.begin(), points.end(),
            [](const Point& a, const Point& b) { return a.value < b.value; });
  double total = 0, sum = 0;
  for (const Point& point : points) total += point.weight;
  for (const Point& point : points) {
    sum += point.weight;
    if (sum >= share * total) return point.value;
  }
  return points.empty() ? 0 : points.back().value;
}

std::vector<double> residuals_of(const Residuals& residuals, Knowledge knowledge) {
  if (knowledge == Knowledge::kKnown) return {residuals.fitted};
  if (knowledge == Knowledge::kUnknown) return {residuals.left_out};
  const auto found = residuals.after.find(1);
  return found == residuals.after.end() ? std::vector<double>() : found->second;
}

Interval interval_of(const std::vector<Point>& points) {
  Interval out;
  out.low = std::min(0.0, quantile(points, 0.1));
  out.high = std::max(0.0, quantile(points, 0.9));
  out.rows = static_cast<int64_t>(points.size());
  std::map<std::string, std::vector<Point>> others;
  for (const Point& point : points) others.try_emplace(*point.source);
  double inside = 0, total = 0;
  for (auto& [source, rest] : others) {
    for (const Point& point : points) {
      if (*point.source != source) rest.push_back(point);
    }
    const double low = quantile(rest, 0.1), high = quantile(rest, 0.9);
    for (const Point& point : points) {
      if (*point.source != source) continue;
      total += point.weight;
      if (point.value >= low && point.value <= high) inside += point.weight;
    }
  }
  out.held = total > 0 ? inside / total : 0;
  return out;
}

std::string key_of(Knowledge knowledge, bool moe) {
  return std::string(name_of(knowledge)) + (moe ? " moe" : " dense");
}

}  // namespace

const char* name_of(Knowledge knowledge) {
  if (knowledge == Knowledge::kKnown) return "known";
  return knowledge == Knowledge::kUnknown ? "unknown" : "calibrated";
}

Knowledge knowledge_of(const Stack& stack) {
  const auto& fitted = stack.factors.of[static_cast<size_t>(FactorOwner::kStack)];
  return fitted.count(stack.name) > 0 ? Knowledge::kKnown : Knowledge::kUnknown;
}

const Interval* find_interval(const IntervalTable& table, Knowledge knowledge, bool moe) {
  const auto found = table.find(key_of(knowledge, moe));
  return found == table.end() ? nullptr : &found->second;
}

IntervalTable interval_table(const std::vector<JudgedRun>& runs) {
  IntervalTable table;
  for (Knowledge knowledge : {Knowledge::kKnown, Knowledge::kUnknown, Knowledge::kCalibrated}) {
    for (bool moe : {false, true}) {
      std::vector<Point> points;
      for (const JudgedRun& run : runs) {
        if (run.moe != moe) continue;
        const std::vector<double> values = residuals_of(run.residuals, knowledge);
        for (double value : values) {
          points.push_back({-value, run.weight / static_cast<double>(values.size()), &run.source});
        }
      }
      if (!points.empty()) table[key_of(knowledge, moe)] = interval_of(points);
    }
  }
  return table;
}

Json to_json(const IntervalTable& table) {
  Json json = {{"schema", "shardwright.intervals/1"}};
  for (const auto& [name, interval] : table) {
    json["intervals"][name] = {{"low", interval.low},
                               {"high", interval.high},
                               {"held", interval.held},
                               {"rows", interval.rows}};
  }
  return json;
}

Result<IntervalTable> load_intervals(const std::string& profiles_dir) {
  const std::string path = profiles_dir + "/intervals.json";
  const Result<Json> json = read_json_file(path);
  if (!json.ok()) return json.error();
  Fields top(*json, path);
  top.text("schema");
  const Json& intervals = top.object("intervals");
  if (auto error = top.finish()) return *error;
  IntervalTable table;
  for (const auto& item : intervals.items()) {
    Fields fields(item.value(), path, "intervals." + item.key() + ".");
    Interval one;
    one.low = fields.number("low", -10, 0);
    one.high = fields.number("high", 0, 10);
    one.held = fields.number("held", 0, 1);
    one.rows = fields.integer("rows", 0, 1 << 30);
    if (auto error = fields.finish()) return *error;
    table[item.key()] = one;
  }
  return table;
}

}  // namespace shardwright
