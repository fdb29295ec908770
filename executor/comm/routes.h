// Which ways the messages of a rank take, as its Program says.
#pragma once

#include <vector>

#include "executor/comm/communicator.h"
#include "planner/program/instruction.h"

namespace shardwright {

// Ascending, each once.
std::vector<Route> routes_of(const RankProgram& rank);

}  // namespace shardwright
