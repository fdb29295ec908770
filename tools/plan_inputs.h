// What `plan` reads before it searches: the model, the cluster and the request, from its arguments.
#pragma once

#include <iosfwd>
#include <memory>
#include <string>
#include <vector>

#include "planner/plan_json.h"
#include "planner/search/full_search.h"
#include "tools/plan_command.h"

namespace shardwright {

struct PlanInputs {
  ModelSpec model;
  ClusterSpec cluster;
  InputFile model_file, cluster_file;
};
Result<PlanInputs> load_inputs(const PlanArguments& arguments);

// Within what the arguments ask for plans of a framework's stack.
Result<PlanLimits> limits_of(const PlanArguments& arguments);
// The request to a framework's stack.
Result<SpaceRequest> space_request_of(const PlanArguments& arguments);

// A share of memory left free: from 0 to below 1.
std::optional<Error> check_headroom(double share);

// The arguments' stack, else the usual one of the framework that they name, else Megatron's.
std::string stack_for(const PlanArguments& arguments);

// A stack, limited to the framework that the arguments name.
Result<std::unique_ptr<Software>> load_software(const PlanArguments& arguments,
                                                const ModelSpec& model, const ClusterSpec& cluster,
                                                const std::string& stack);

// The first of the plans where the arguments say, if they do.
std::optional<Error> write_best(const PlanArguments& arguments, const PlanInputs& inputs,
                                const std::string& stack, const std::vector<RankedPlan>& plans);

int refuse(const Error& error, std::ostream& err);  // the line; kExitBadInput

}  // namespace shardwright
