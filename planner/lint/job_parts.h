// What the readers of jobs share.
#pragma once

#include <optional>
#include <string>

#include "planner/lint/job.h"

namespace shardwright {

constexpr int64_t kMaxJobChunks = 4096;  // of a pipeline that is read

// Replicas: the job's ranks (its launcher's, else all devices of the cluster) over tp * cp * pp.
// Says what was assumed, and what does not divide. At least 1.
int64_t take_dp(const JobInput& input, std::optional<int64_t> ranks, Job* job);
// Adds a contradiction when a shape differs from the model's.
void check_shape(const std::string& setting, int64_t found, int64_t expected,
                 const ModelSpec& model, Job* job);
// --set KEY=VALUE as a whole number; `fallback` when it is not given. Fails on another value.
Result<int64_t> given_integer(const JobInput& input, const std::string& key, int64_t fallback);

}  // namespace shardwright
