// What the JSON of device profiles and of clusters share: measured curves, plain names, and
// numbers in the units that people write (GB/s, microseconds).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "costmodel/device_profile.h"
#include "costmodel/json.h"

namespace shardwright {

constexpr double kGigabyte = 1e9;
constexpr double kPerMicrosecond = 1e-6;

// Names of devices become file names: letters, digits, '.', '_' and '-', not starting with '.'.
bool is_plain_name(const std::string& name);

// "levels[2]": the path of an element in errors.
std::string element(const std::string& list, size_t index);

// The number to write so that reading it and multiplying by `unit` gives `value` again; of several
// the one with the shortest text. A value that no double times `unit` gives is written as value /
// unit, which reads and writes stably from then on.
double in_unit(double value, double unit);

// [[size, seconds], ...]: sizes ascending, both positive, at least one point. The error names
// `field`.
std::optional<Error> read_curve(const Json& points, const std::string& file,
                                const std::string& field, std::vector<CurvePoint>* out);
Json to_json(const std::vector<CurvePoint>& curve);

// [{"kind", "ranks", "points"}, ...]; (kind, ranks) may appear once.
std::optional<Error> read_collective_curves(const Json& curves, const std::string& file,
                                            const std::string& field,
                                            std::vector<CollectiveCurve>* out);
Json to_json(const std::vector<CollectiveCurve>& curves);

}  // namespace shardwright
