// PlanLimits: within what a plan is the fastest, as it was asked for. plan.json keeps it, so that
// other plans are looked for within the same limits later.
#pragma once

#include <string>
#include <vector>

#include "costmodel/json.h"
#include "planner/search/constraints.h"
#include "planner/search/space_request.h"

namespace shardwright {

struct PlanLimits {
  std::vector<std::string> pins, bans, mins, maxs;  // as Constraints::add takes them
  std::string framework;   // whose options plans are limited to; empty: the stack's own
  double headroom = 0.02;  // share of a device's memory left free, from 0 to below 1
  Bytes memory_limit = 0;  // of a device, instead of what it has; 0 = none

  // "--pin tp=4 --for any --memory-limit 40 GiB"; without the headroom.
  std::string line() const;
  // Fails on the first that names no choice or no value of one.
  Result<Constraints> constraints() const;
  friend bool operator==(const PlanLimits&, const PlanLimits&) = default;
};

// Sets the request's constraints and memory. Fails as constraints().
std::optional<Error> limit(const PlanLimits& limits, SpaceRequest* request);

// What is not set is not written.
Json to_json(const PlanLimits& limits);
// Fails with the name of the field, `prefix` before it.
Result<PlanLimits> read_limits(const Json& json, const std::string& file,
                               const std::string& prefix);

}  // namespace shardwright
