// The nanoseconds of everything that a stage does in a step under a framework's software: what the
// walk through a schedule and the simulation of its Program both go by, so that they agree to the
// last nanosecond.
#pragma once

#include <vector>

#include "planner/estimate.h"
#include "planner/plan.h"
#include "planner/program/instruction.h"
#include "planner/schedule/walk.h"
#include "planner/simulate.h"

namespace shardwright {

// Exposed time only: what passes hide of a reduction or a gathering is part of none.
struct StageNs {
  Nanoseconds gather_first = 0;  // of updated weights, before the stage's first forward
  Nanoseconds reduction = 0;     // after its last backward
  Nanoseconds update = 0;        // after clipping
  Nanoseconds gather_last = 0;   // after the update
};

// Passes of the replicas of one kind among unlike ones.
struct ReplicaNs {
  int64_t replica = 0;
  std::vector<ChunkUnits> chunks;
};

// All of it stretched by PlanPrices::pace.
struct StepNs {
  // Durations of passes alone, and messages that travel beside them.
  PassTimes passes;
  std::vector<ReplicaNs> replicas;  // of unlike ones; `passes` are then the slowest of all
  // Of a message between passes: by every pass, on its send, or on its receive where its chunk
  // sends nothing. 0 where messages travel beside.
  Nanoseconds serial_message = 0;
  std::vector<StageNs> stages;
  Nanoseconds tied = 0;     // sum of a tied table's gradients, on its two stages
  Nanoseconds clip = 0;     // where all ranks meet, with what a step costs once
  bool tied_first = false;  // before the reduction: sharded gradients
};
StepNs step_ns(const Plan& plan, const PlanPrices& prices);

// Passes as walk_schedule takes them: with the messages between them.
PassTimes with_messages(StepNs times);

// The end of the step, from the end of every stage's last pass.
Nanoseconds end_of_step(const Plan& plan, const StepNs& times,
                        const std::vector<Nanoseconds>& last_passes);

// Durations of the plan's Program, for simulate(). An instruction that stands for something that
// another one's time contains (gathers of sharded weights within a pass, loads) takes none.
ProgramCosts program_costs(const Program& program, const StepNs& times);

}  // namespace shardwright
