// What a plan costs: its step time from simulating its Program, its memory per stage, and where the
// time goes. Also the cheap bound that lets search skip most simulations.
#pragma once

#include <vector>

#include "planner/compile.h"
#include "planner/footprint.h"
#include "planner/simulate.h"

namespace shardwright {

// Busy seconds of the stage whose compute lane works longest, by what they are spent on. Where
// devices overlap communication pp and dp run beside the rest.
struct TimeParts {
  int64_t stage = 0;
  double compute_s = 0, tp_s = 0, pp_s = 0, dp_s = 0, optimizer_s = 0;
  friend bool operator==(const TimeParts&, const TimeParts&) = default;
};

struct RankedPlan {
  Plan plan;
  Nanoseconds step_ns = 0;
  double step_time_s = 0, tokens_per_s = 0;
  Bytes memory_peak_bytes = 0;
  double bubble_share = 0;  // of rank-time in which the compute lane stands still, 0..1
  std::vector<StageMemory> stages;
  TimeParts parts;
  friend bool operator==(const RankedPlan&, const RankedPlan&) = default;
};

// Whether one rank per stage has the same times as all ranks: one kind of device, and no
// tensor-parallel group or stage that lies across nodes in one place and inside one in another.
bool is_symmetric(const ClusterSpec& cluster, const Plan& plan);

// Costs of a plan and of all plans that differ from it in the schedule only.
class PlanCosts {
 public:
  // REQUIRES: the plan is legal and has stage_layers; the model outlives this.
  PlanCosts(const ModelSpec& model, const ClusterSpec& cluster, const Plan& plan);

  // No schedule can be faster: the slowest stage's work, and the filling and draining around it.
  Nanoseconds fastest_ns() const;
  RankedPlan evaluate(ScheduleKind schedule) const;

 private:
  // Nanoseconds of one instruction of each kind and chunk on one rank; for computes also what tp
  // takes. 0 where the rank has none.
  struct RankCosts {
    int64_t chunks = 1;
    // [opcodes, 1 + chunks]: of instructions for no chunk, then of the rank's chunks in model order
    std::vector<Nanoseconds> of;
    Nanoseconds tp = 0;  // inside one forward and one backward of every chunk
    Nanoseconds& at(OpCode op, int64_t k) { return of[index(op, k)]; }
    Nanoseconds at(OpCode op, int64_t k) const { return of[index(op, k)]; }
    Nanoseconds at(OpCode op) const;  // all chunks together
    size_t index(OpCode op, int64_t k) const {
      return static_cast<size_t>(static_cast<int64_t>(op) * (1 + chunks) + 1 + k);
    }
  };
  int64_t place_of(int chunk) const { return chunk < 0 ? -1 : chunk / plan_.pp; }
  RankCosts collect(const ProgramCosts& costs, const StepTable& table, size_t at) const;
  Nanoseconds chain_ns(int64_t tp, int64_t dp) const;
  const RankCosts& costs_at(int64_t tp, int64_t dp, int64_t stage) const;
  ProgramCosts spread(const Program& program) const;
  std::vector<StageMemory> memory_of(const Program& program, const Timeline& timeline) const;
  TimeParts time_parts() const;

  const ModelSpec& model_;
  Plan plan_;
  CompileOptions options_;
  Footprint footprint_;
  Program unit_;                  // the plan with few microbatches
  std::vector<RankCosts> costs_;  // by position in unit_.ranks
};

// As PlanCosts, for one plan.
RankedPlan evaluate_plan(const ModelSpec& model, const ClusterSpec& cluster, const Plan& plan);
// The model as this project's own executor holds it: on GPUs with a padded vocabulary. CPU ranks
// pad nothing: no kernel of theirs wants it, and of a vocabulary of bytes it would be most.
ModelSpec own_model(ModelSpec model, bool on_gpus);
// As own_model, where the ranks are the cluster's devices.
ModelSpec own_model(ModelSpec model, const ClusterSpec& cluster);
// As simulate(), on ranks of this project's own executor: where lanes run beside each other it is a
// device whose memory counts (finished_sends.h), at moments of the list and not of time.
Timeline simulate_own(const Program& program, const Readiness& rule, const ProgramCosts& costs);
// Lanes as the cluster's devices have them; one rank per stage where that is exact.
CompileOptions options_for(const ClusterSpec& cluster, const Plan& plan, bool all_ranks);

}  // namespace shardwright
