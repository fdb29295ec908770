#include <algorithm>
#include <cstdio>

#include "planner/search.h"

namespace shardwright {
namespace {

constexpr int64_t kLargestFactor = 4096;

std::string gigabytes(Bytes bytes) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.2f GiB", static_cast<double>(bytes) / (1 << 30));
  return text;
}

Bytes missing(const std::vector<StageMemory>& stages) { return stages[tightest(stages)].missing(); }

// `factor` times as many nodes of the same kinds, so that only the number of devices changes.
ClusterSpec enlarged(ClusterSpec cluster, int64_t factor) {
  for (NodeGroup& group : cluster.groups) group.nodes *= factor;
  if (!cluster.levels.empty()) cluster.levels.back().size *= factor;
  return cluster;
}

// Any legal plan that fits; with the smallest bound of memory first, so that few are simulated.
bool find_fitting(const ModelSpec& model, const ClusterSpec& cluster, const SearchRequest& request,
                  std::string* label) {
  std::vector<std::pair<Bytes, Plan>> plans;
  for (Plan& plan : enumerate_plans(model, request)) {
    if (!check_degrees(model, request.ranks, plan).empty()) continue;
    plan.stage_layers = layers_of(model, cluster, request, plan);
    const Bytes least = missing(Footprint(model, cluster, plan).smallest(plan.schedule));
    if (least <= 0) plans.emplace_back(least, plan);
  }
  std::stable_sort(plans.begin(), plans.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  for (const auto& [least, plan] : plans) {
    if (!fits(evaluate_plan(model, cluster, plan).stages)) continue;
    *label = plan.label();
    return true;
  }
  return false;
}

void find_devices(const ModelSpec& model, const ClusterSpec& cluster, SearchRequest request,
                  NearestMiss* miss) {
  if (cluster.groups.size() != 1) return;  // "more of the same" has no one meaning
  const int64_t ranks = miss->smallest.plan.ranks();
  for (int64_t factor = 2; factor <= kLargestFactor && ranks * factor <= kMaxDevices; factor *= 2) {
    request.ranks = ranks * factor;
    if (!find_fitting(model, enlarged(cluster, factor), request, &miss->devices_plan)) continue;
    miss->devices = request.ranks;
    return;
  }
}

}  // namespace

NearestMiss nearest_miss(const ModelSpec& model, const ClusterSpec& cluster,
                         const SearchRequest& request, const std::vector<Plan>& plans) {
  std::vector<std::pair<Bytes, const Plan*>> order;
  for (const Plan& plan : plans) {
    order.emplace_back(missing(Footprint(model, cluster, plan).smallest(plan.schedule)), &plan);
  }
  std::stable_sort(order.begin(), order.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  NearestMiss miss;
  bool known = false;
  for (const auto& [least, plan] : order) {
    // Nobody after this one can need less than it is already known to be possible.
    if (known && least >= missing(miss.smallest.stages)) break;
    RankedPlan ranked = evaluate_plan(model, cluster, *plan);
    if (known && missing(ranked.stages) >= missing(miss.smallest.stages)) continue;
    miss.smallest = std::move(ranked);
    known = true;
  }
  miss.stage = tightest(miss.smallest.stages);
  find_devices(model, cluster, request, &miss);
  return miss;
}

std::string NearestMiss::line() const {
  const StageMemory& memory = smallest.stages[stage];
  const std::vector<NamedBytes> parts = parts_of(memory);
  const auto largest =
      std::max_element(parts.begin(), parts.end(),
                       [](const NamedBytes& a, const NamedBytes& b) { return a.bytes < b.bytes; });
  std::string text = "nothing fits: the smallest plan (" + smallest.plan.label() + ") needs " +
                     gigabytes(memory.peak()) + " on stage " + std::to_string(stage) + ", but " +
                     gigabytes(memory.available) + " are there; most of it is " + largest->name +
                     " (" + gigabytes(largest->bytes) + "). It would fit devices of " +
                     gigabytes(memory.peak());
  if (devices > 0) {
    text += ", or " + std::to_string(devices) + " devices of this kind (" + devices_plan + ")";
  }
  return text;
}

}  // namespace shardwright
