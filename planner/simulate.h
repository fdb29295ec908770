// simulate: the predicted Timeline of a Program, from what its steps cost.
#pragma once

#include <vector>

#include "costmodel/cluster_spec.h"
#include "planner/program/step_table.h"
#include "planner/program/timeline.h"

namespace shardwright {

// Nanoseconds of every instruction, and of each of its steps.
struct ProgramCosts {
  std::vector<std::vector<Nanoseconds>> instruction;  // [position][index]
  // [position][index][step]; may be empty, then the events of a timeline have no steps either.
  std::vector<std::vector<std::vector<Nanoseconds>>> steps;
};

// Prices every step on the device and links of its rank. Each step is rounded to whole nanoseconds
// and an instruction is the sum of its steps. A transfer's time lies on the send where devices
// overlap communication (the wire), and is shared by both ends where they copy it (curves of send
// and receive).
ProgramCosts price(const Program& program, const StepTable& table, const ClusterSpec& cluster);

// Follows the readiness rule: an instruction starts when everything before it has finished.
// REQUIRES: the program can run to its end (verify says so; a partial program of one rank per stage
// may).
Timeline simulate(const Program& program, const Readiness& rule, const ProgramCosts& costs);

}  // namespace shardwright
