#include "planner/search/space_request.h"

#include "costmodel/pricer.h"

namespace shardwright {
namespace {

std::optional<Error> check_size(const char* name, int64_t value, int64_t high) {
  if (value >= 1 && value <= high) return std::nullopt;
  return Error{"command line", name, std::to_string(value),
               "a whole number from 1 to " + std::to_string(high)};
}

}  // namespace

std::optional<Error> check_request(const Software& software, const SpaceRequest& request) {
  constexpr int64_t kMaxSize = int64_t{1} << 30;
  const ClusterSpec& cluster = software.cluster();
  const int64_t ranks = request.ranks == 0 ? cluster.num_devices() : request.ranks;
  if (auto error = check_size("ranks", ranks, cluster.num_devices())) return error;
  if (auto error = check_size("seq", request.seq, kMaxSize)) return error;
  if (auto error = check_size("global-batch", request.global_batch, kMaxSize)) return error;
  if (auto error = check_size("top", request.top, kMaxSize)) return error;
  if (const std::string name = request.constraints.stuck_switch(); !name.empty()) {
    return Error{"command line", "ban " + name, "true and false", "one of them left"};
  }
  if (auto error = LayerLimits(request.constraints).problem(software.model())) return error;
  return check_supports(cluster, request.precision);
}

Plan base_plan(const ModelSpec& model, const SpaceRequest& request) {
  Plan base;
  base.seq = request.seq;
  base.global_batch = request.global_batch;
  base.precision = request.precision;
  base.optimizer = request.optimizer;
  base.mtp_layers = model.mtp_layers;
  return base;
}

MemoryLimit memory_limit_of(const SpaceRequest& request) {
  return {request.memory_limit, request.headroom};
}

}  // namespace shardwright
