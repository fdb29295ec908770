// A batch over replicas of unlike speed: the one that ends last ends as early as possible.
//
// A replica of m microbatches takes (m + (pp - 1) / v) t, t being what its slowest device takes for
// one of them: filling and draining are no shorter for a replica that has less. The smallest T
// whose replicas hold all microbatches is the answer; those that are too many for the last bit of
// it are taken from the slowest replicas.
#pragma once

#include <vector>

#include "planner/plan.h"

namespace shardwright {

// seconds[dp], of one microbatch. Every replica gets a microbatch, and as many as its schedule
// needs. Sequences, [dp]; empty where they are the same for all.
std::vector<int64_t> replica_shares(const Plan& plan, const std::vector<double>& seconds);

}  // namespace shardwright
