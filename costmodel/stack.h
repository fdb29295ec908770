// Stack: a software generation, by what it does (kernels) and what that costs (factors). Shipped
// ones lie under profiles/stacks; `shardwright calibrate --runs` writes one for a user's own runs.
#pragma once

#include <string>

#include "costmodel/cluster_spec.h"
#include "costmodel/factors.h"
#include "costmodel/kernels.h"

namespace shardwright {

struct Stack {
  std::string name;
  std::string source;     // what it stands for and where its facts come from
  std::string memory;     // the MemoryStack that goes with it; may be empty
  std::string framework;  // whose options a plan has to be said in (planner/export); may be empty
  Kernels kernels;
  FactorTable factors;  // of every device, interconnect and stack that is known
};

// A path, or the name of a shipped stack. Factors are those of profiles_dir/factors.json, replaced
// by the stack's own where it has some.
Result<Stack> load_stack(const std::string& text, const std::string& profiles_dir);
Result<Stack> read_stack(const Json& json, const std::string& file, FactorTable factors);
Json to_json(const Stack& stack);  // with all its factors
// profiles_dir/factors.json with the families of profiles_dir/families.json.
Result<FactorTable> load_factors(const std::string& profiles_dir);
// The families alone, every factor at its prior: where a refit starts.
Result<FactorTable> load_families(const std::string& profiles_dir);

// The interconnect that the cluster's factors belong to: the outermost level's name and GB/s of a
// device, "infiniband-25"; "" on one node.
std::string interconnect_of(const ClusterSpec& cluster);
Factors factors_for(const Stack& stack, const ClusterSpec& cluster, int64_t rank = 0);

}  // namespace shardwright
