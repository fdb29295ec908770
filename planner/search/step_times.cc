#include "planner/search/step_times.h"

#include <algorithm>

#include "costmodel/check.h"

namespace shardwright {

StepNs step_ns(const Plan& plan, const PlanPrices& prices) {
  const auto ns = [&](double seconds) { return to_nanoseconds(prices.pace * seconds); };
  const bool split = splits_backward(plan.schedule);
  StepNs out;
  double longest = 0;
  for (double message : prices.messages) longest = std::max(longest, message);
  if (!plan.overlap.pipeline && plan.pp > 1) out.serial_message = ns(longest);
  const auto passes_of = [&](const std::vector<ChunkPrices>& chunks) {
    std::vector<ChunkUnits> passes;
    for (const ChunkPrices& c : chunks) {
      passes.push_back({ns(c.forward), ns(split ? c.backward_input : c.backward),
                        split ? ns(c.backward_weight) : 0});
    }
    return passes;
  };
  out.passes.chunks = passes_of(prices.chunks);
  for (const ReplicaPrices& one : prices.replicas) {
    out.replicas.push_back({one.replica, passes_of(one.chunks)});
  }
  for (double message : prices.messages) {
    out.passes.message_ns.push_back(plan.overlap.pipeline ? ns(message) : 0);
  }
  for (const StagePrices& s : prices.stages) {
    const Nanoseconds gather = ns(s.gather);
    const bool first = plan.overlap.parameters;
    out.stages.push_back({first ? gather : 0, ns(s.reduction), ns(s.update), first ? 0 : gather});
  }
  out.tied = ns(prices.tied);
  out.clip = ns(prices.clip) + to_nanoseconds(prices.fixed);
  out.tied_first = plan.zero > 0;
  return out;
}

PassTimes with_messages(StepNs times) {
  for (ChunkUnits& chunk : times.passes.chunks) {
    chunk.forward += times.serial_message;
    chunk.backward_input += times.serial_message;
  }
  for (const StageNs& stage : times.stages) times.passes.ready_ns.push_back(stage.gather_first);
  return std::move(times.passes);
}

Nanoseconds end_of_step(const Plan& plan, const StepNs& times,
                        const std::vector<Nanoseconds>& last_passes) {
  std::vector<Nanoseconds> ends = last_passes;
  const auto meet = [&] {
    if (times.tied == 0) return;
    const auto first = static_cast<size_t>(stage_of_chunk(plan, 0));
    const auto last = static_cast<size_t>(stage_of_chunk(plan, plan.pp * plan.virtual_stages - 1));
    ends[first] = ends[last] = std::max(ends[first], ends[last]) + times.tied;
  };
  if (times.tied_first) meet();
  for (size_t stage = 0; stage < ends.size(); ++stage) ends[stage] += times.stages[stage].reduction;
  if (!times.tied_first) meet();
  Nanoseconds longest = 0;
  for (const StageNs& stage : times.stages) {
    longest = std::max(longest, stage.update + stage.gather_last);
  }
  return *std::max_element(ends.begin(), ends.end()) + times.clip + longest;
}

namespace {

class StageCosts {
 public:
  StageCosts(const Program& program, const RankProgram& rank, const StepNs& times)
      : program_(program),
        list_(rank.instructions),
        times_(times),
        stage_(times.stages[rank.stage]),
        chunks_(&times.passes.chunks) {
    for (const ReplicaNs& one : times.replicas) {
      if (one.replica == rank.dp) chunks_ = &one.chunks;
    }
  }

  std::vector<Nanoseconds> run() const {
    std::vector<Nanoseconds> out;
    out.reserve(list_.size());
    for (const Instruction& next : list_) out.push_back(duration(next));
    // Once a stage, whatever its chunks: on the instruction that nothing of its kind follows, or,
    // of gathers before the passes, precedes.
    once(OpCode::kReduceGradients, true, stage_.reduction, &out);
    once(OpCode::kReduceTied, true, times_.tied, &out);
    once(OpCode::kClip, true, times_.clip, &out);
    once(OpCode::kOptimizerStep, true, stage_.update, &out);
    if (program_.state.zero < 3) {
      once(OpCode::kGatherParameters, false, stage_.gather_first, &out);
      once(OpCode::kGatherParameters, true, stage_.gather_last, &out);
    }
    return out;
  }

 private:
  Nanoseconds duration(const Instruction& next) const {
    if (next.chunk < 0) return 0;
    const ChunkUnits& chunk = (*chunks_)[next.chunk];
    switch (next.op) {
      case OpCode::kForward:
        return chunk.forward;
      case OpCode::kBackward:
        return chunk.backward_input + chunk.backward_weight;
      case OpCode::kBackwardInput:
        return chunk.backward_input;
      case OpCode::kBackwardWeight:
        return chunk.backward_weight;
      case OpCode::kSendActivation:
        return times_.serial_message + times_.passes.message_ns[next.chunk];
      case OpCode::kSendGradient:
        return times_.serial_message + times_.passes.message_ns[next.chunk - 1];
      case OpCode::kReceiveActivation:
        return sends_activation(next.chunk) ? 0 : times_.serial_message;
      case OpCode::kReceiveGradient:
        return sends_gradient(next.chunk) ? 0 : times_.serial_message;
      default:
        return 0;
    }
  }
  bool sends_activation(int chunk) const {
    return chunk + 1 < static_cast<int>(program_.chunks.size()) && !program_.hands_over(chunk);
  }
  bool sends_gradient(int chunk) const { return chunk > 0 && !program_.hands_over(chunk - 1); }

  void once(OpCode op, bool last, Nanoseconds ns, std::vector<Nanoseconds>* out) const {
    const auto is = [&](const Instruction& next) { return next.op == op; };
    if (ns == 0) return;
    size_t at = list_.size();
    if (last) {
      const auto found = std::find_if(list_.rbegin(), list_.rend(), is);
      at = found == list_.rend() ? at : static_cast<size_t>(list_.rend() - found) - 1;
    } else {
      at = static_cast<size_t>(std::find_if(list_.begin(), list_.end(), is) - list_.begin());
    }
    // A tied table is summed by two stages of all.
    if (at == list_.size() && op == OpCode::kReduceTied) return;
    SW_CHECK_LT(at, list_.size(), "an instruction for " << name_of(op));
    (*out)[at] = ns;
  }

  const Program& program_;
  const std::vector<Instruction>& list_;
  const StepNs& times_;
  const StageNs& stage_;
  const std::vector<ChunkUnits>* chunks_;  // of the rank's kind of replica
};

}  // namespace

ProgramCosts program_costs(const Program& program, const StepNs& times) {
  ProgramCosts costs;
  for (const RankProgram& rank : program.ranks) {
    costs.instruction.push_back(StageCosts(program, rank, times).run());
  }
  return costs;
}

}  // namespace shardwright
