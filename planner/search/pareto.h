// The Pareto front of plans over two measures: the plans for which no other plan of the space, on
// any number of devices asked about, is as good by both and better by one.
//
// How it is obtained, by the pair:
//   step, devices, cost, energy   on each number of devices only the fastest plan can be on the
//                                 front; numbers whose bound is already dominated are not searched
//   memory with step, cost or     the best by the other measure under a limit of memory, then again
//   energy                        under a limit just below what that plan needs, until nothing fits
//   memory with devices           on each number of devices the plan that needs least memory
// Cost and energy are in proportion to device-seconds per token: over both the front is one point.
#pragma once

#include "planner/search/device_counts.h"

namespace shardwright {

enum class Measure { kStep, kMemory, kDevices, kCost, kEnergy };
const char* name_of(Measure measure);
bool parse_measure(const std::string& name, Measure* out);
bool is_defined(Measure measure, const DeviceRates& rates);
// Seconds, bytes, devices, USD or kWh per million tokens.
double measure_of(Measure measure, const DeviceRates& rates, const RankedPlan& plan);

struct ParetoRequest {
  Measure first = Measure::kStep, second = Measure::kMemory;
  // Every point given is on the front; where memory is a measure, points that need less than so
  // much less than the one before may be left out. 0: none is.
  Bytes memory_step = 0;
};
struct ParetoAnswer {
  std::vector<RankedPlan> points;  // by the first measure, ascending
  int64_t counts = 0, searches = 0;
  bool complete = true;
  SpaceResult nothing;  // when there is no point, of the last search
};
// Errors: memory with devices under a limit of cost or tokens, which needs another search; and
// those of search_space.
Result<ParetoAnswer> pareto_front(Software& software, const SpaceRequest& request,
                                  const DeviceRates& rates, const DeviceLimits& limits,
                                  const ParetoRequest& pareto);

}  // namespace shardwright
