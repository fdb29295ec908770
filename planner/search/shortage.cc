#include "planner/search/shortage.h"

#include <algorithm>
#include <cstdio>

#include "costmodel/check.h"

namespace shardwright {
namespace {

constexpr int64_t kLargestFactor = 64;

std::string gigabytes(double bytes) {
  char text[40];
  std::snprintf(text, sizeof(text), "%.2f GiB", bytes / (1 << 30));
  return text;
}

// `factor` times as many nodes of the same kind.
ClusterSpec enlarged(ClusterSpec cluster, int64_t factor) {
  for (NodeGroup& group : cluster.groups) group.nodes *= factor;
  if (!cluster.levels.empty()) cluster.levels.back().size *= factor;
  return cluster;
}

// The part of the space that needs least memory, as far as the request allows it: one sequence at
// a time, everything recomputed, one chunk a stage. Going through all of a large space that hardly
// fits would take minutes.
SpaceRequest lean(SpaceRequest request) {
  const std::pair<const char*, const char*> choices[] = {{"micro_batch", "1"},
                                                         {"recompute", "full"},
                                                         {"recompute_layers", "0"},
                                                         {"virtual_stages", "1"}};
  for (const auto& [name, value] : choices) {
    if (request.constraints.allows(name, value)) request.constraints.narrow(name, value);
  }
  request.top = 1;
  return request;
}

void find_devices(Software& software, const SpaceRequest& given, Shortage* out) {
  SpaceRequest request = lean(given);
  const ClusterSpec& cluster = software.cluster();
  const int64_t ranks = out->plan.plan.ranks();
  for (int64_t factor = 2; factor <= kLargestFactor; factor *= 2) {
    request.ranks = ranks * factor;
    if (request.ranks > kMaxDevices) return;
    const ClusterSpec larger = enlarged(cluster, factor);
    Software more(software.model(), larger, software.stack(), software.memory_stack());
    SW_CHECK(!more.plan_for(software.framework()), "a framework that is known already");
    const Result<SpaceResult> found = search_space(more, request);
    // Pinned degrees may allow no larger number of devices.
    if (!found || !found->stats.complete) return;
    if (found->plans.empty()) continue;
    out->devices = request.ranks;
    out->devices_plan = found->plans.front().plan.label();
    return;
  }
}

}  // namespace

std::optional<Shortage> shortage_of(Software& software, const SpaceRequest& request,
                                    const SpaceResult& result) {
  if (!result.nearest) return std::nullopt;
  Shortage out;
  out.plan = *result.nearest;
  const Plan& plan = out.plan.plan;
  const MemoryLimit limit = memory_limit_of(request);
  const int64_t stage = software.fullest_stage(plan, limit);
  out.memory = software.memory(plan, stage);
  out.usable_bytes = software.usable_bytes(plan, stage, limit);
  out.missing_bytes = out.memory.device_bytes - out.usable_bytes;
  return out;
}

std::optional<Shortage> shortage_and_remedies(Software& software, const SpaceRequest& request,
                                              const SpaceResult& result) {
  std::optional<Shortage> out = shortage_of(software, request, result);
  if (!out) return out;
  if (!request.constraints.empty()) {
    SpaceRequest free = request;
    free.constraints = Constraints();
    const Result<SpaceResult> found = search_space(software, lean(free));
    if (found && !found->plans.empty()) out->unconstrained = found->plans.front();
  }
  if (!out->unconstrained) find_devices(software, request, &*out);
  return out;
}

const MemoryPart& Shortage::largest_part() const {
  return *std::max_element(memory.parts.begin(), memory.parts.end(),
                           [](const auto& a, const auto& b) { return a.bytes < b.bytes; });
}

std::string Shortage::line() const {
  const MemoryPart& most = largest_part();
  std::string text = "nothing fits: the smallest plan (" + plan.plan.label() + ") needs " +
                     gigabytes(memory.device_bytes) + " on stage " + std::to_string(memory.stage) +
                     " in the " + memory.phase + ", " + gigabytes(missing_bytes) +
                     " more than the " + gigabytes(usable_bytes) + " that may be used; most of " +
                     "it is " + most.name + " (" + gigabytes(most.bytes) +
                     "). It would fit devices of " + gigabytes(memory.device_bytes);
  if (unconstrained) {
    text += "; without the given choices " + unconstrained->plan.label() + " fits";
  }
  if (devices > 0) {
    text += ", or " + std::to_string(devices) + " devices of this kind (" + devices_plan + ")";
  }
  return text;
}

}  // namespace shardwright
