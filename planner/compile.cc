#include "planner/compile.h"

#include <algorithm>

#include "costmodel/check.h"
#include "costmodel/memory.h"
#include "planner/schedule/schedule.h"

namespace shardwright {
namespace {

ChunkInfo chunk_info(const ModelSpec& model, const Plan& plan, int stage) {
  const ChunkShape shape = chunk_shape(plan, stage);
  const ChunkMemory memory = chunk_memory(model, shape, plan.optimizer);
  ChunkInfo info;
  info.stage = stage;
  info.first_layer = static_cast<int>(shape.first_layer);
  info.num_layers = static_cast<int>(shape.num_layers);
  info.embedding = shape.embedding;
  info.head = shape.head;
  info.recompute = shape.recompute;
  info.tp = static_cast<int>(shape.tp);
  info.micro_batch = static_cast<int>(shape.micro_batch);
  info.seq = static_cast<int>(shape.seq);
  info.type = shape.type;
  info.persistent = memory.persistent();
  info.scratch = memory.scratch;
  info.saved = memory.saved;
  info.message = memory.message;
  info.tokens = memory.tokens;
  return info;
}

// Emits the instructions of one rank: the schedule's computes, each with the messages around it,
// then the reductions and the optimizer.
class RankEmitter {
 public:
  RankEmitter(const Plan& plan, const CompileOptions& options, const Program& program, int rank)
      : plan_(plan), options_(options), program_(program) {
    const Coordinates at = coordinates_of(plan, rank);
    out_.rank = rank;
    out_.tp = static_cast<int>(at.tp);
    out_.dp = static_cast<int>(at.dp);
    out_.stage = static_cast<int>(at.stage);
    forward_at_.assign(program.microbatches, -1);
    load_at_.assign(program.microbatches, -1);
  }

  RankProgram run(const std::vector<Slot>& order) {
    for (const Slot& slot : order) {
      slot.kind == Slot::kForward ? forward(slot.microbatch) : backward(slot.microbatch);
    }
    finish_step();
    return std::move(out_);
  }

 private:
  const ChunkInfo& chunk() const { return program_.chunks[out_.stage]; }
  int neighbour(int step) const { return out_.rank + step * static_cast<int>(plan_.tp * plan_.dp); }

  int emit(OpCode op, Lane lane, int microbatch, std::vector<int> waits) {
    Instruction next;
    next.op = op;
    next.lane = options_.overlap ? lane : Lane::kCompute;
    next.chunk = out_.stage;
    next.microbatch = microbatch;
    for (int wait : waits) next.waits.add(wait);
    out_.instructions.push_back(std::move(next));
    return static_cast<int>(out_.instructions.size()) - 1;
  }
  int emit_message(OpCode op, Lane lane, int microbatch, int step, std::vector<int> waits) {
    const int at = emit(op, lane, microbatch, std::move(waits));
    out_.instructions[at].peer = neighbour(step);
    return at;
  }

  // A receive is posted one compute ahead of the one that needs it: late enough to bound memory,
  // early enough to be hidden.
  std::vector<int> post_after() const { return {before_last_compute_}; }

  void computed(int at) {
    before_last_compute_ = last_compute_;
    last_compute_ = at;
  }

  void forward(int m) {
    std::vector<int> waits;
    if (chunk().embedding || chunk().head) {
      load_at_[m] = emit(OpCode::kLoad, Lane::kCompute, m, {});
      waits.push_back(load_at_[m]);
    }
    if (!chunk().embedding) {
      waits.push_back(
          emit_message(OpCode::kReceiveActivation, Lane::kActivationIn, m, -1, post_after()));
    }
    forward_at_[m] = emit(OpCode::kForward, Lane::kCompute, m, waits);
    computed(forward_at_[m]);
    if (!chunk().head) {
      emit_message(OpCode::kSendActivation, Lane::kActivationOut, m, 1, {forward_at_[m]});
    }
  }

  void backward(int m) {
    std::vector<int> waits = {forward_at_[m]};
    if (!chunk().head) {
      waits.push_back(
          emit_message(OpCode::kReceiveGradient, Lane::kGradientIn, m, 1, post_after()));
    }
    last_backward_ = emit(OpCode::kBackward, Lane::kCompute, m, waits);
    computed(last_backward_);
    if (!chunk().embedding) {
      emit_message(OpCode::kSendGradient, Lane::kGradientOut, m, -1, {last_backward_});
    }
  }

  // The group of this axis that the rank belongs to, or -1.
  int group_of(Axis axis) const {
    for (size_t g = 0; g < program_.groups.size(); ++g) {
      const GroupInfo& group = program_.groups[g];
      if (group.axis == axis && group.has(out_.rank)) return static_cast<int>(g);
    }
    return -1;
  }

  void finish_step() {
    int gradients = last_backward_;
    for (const auto& [op, axis] : {std::pair{OpCode::kReduceGradients, Axis::kDp},
                                   std::pair{OpCode::kReduceTied, Axis::kTied}}) {
      const int group = group_of(axis);
      if (group < 0) continue;
      gradients = emit(op, Lane::kData, -1, {gradients});
      out_.instructions[gradients].group = group;
    }
    const int clip = emit(OpCode::kClip, Lane::kCompute, -1, {gradients});
    out_.instructions[clip].group = group_of(Axis::kWorld);
    emit(OpCode::kOptimizerStep, Lane::kCompute, -1, {clip});
  }

  const Plan& plan_;
  const CompileOptions& options_;
  const Program& program_;
  RankProgram out_;
  std::vector<int> forward_at_, load_at_;
  int last_compute_ = -1, before_last_compute_ = -1, last_backward_ = -1;
};

void add_groups(const ModelSpec& model, const Plan& plan, Program* program,
                const CompileOptions& options) {
  const int tp = static_cast<int>(plan.tp), dp = static_cast<int>(plan.dp),
            pp = static_cast<int>(plan.pp);
  const int world = tp * dp * pp;
  program->groups.push_back({Axis::kWorld, 0, 1, world});
  const int shown = options.representative ? 1 : tp;
  for (int stage = 0; stage < pp && dp > 1; ++stage) {
    for (int t = 0; t < shown; ++t) {
      program->groups.push_back({Axis::kDp, stage * tp * dp + t, tp, dp});
    }
  }
  if (!model.tied_embeddings || pp == 1) return;
  for (int first = 0; first < (options.representative ? 1 : tp * dp); ++first) {
    program->groups.push_back({Axis::kTied, first, (pp - 1) * tp * dp, 2});
  }
}

}  // namespace

Program compile(const ModelSpec& model, const Plan& plan, const CompileOptions& options) {
  Program program;
  program.world = static_cast<int>(plan.ranks());
  program.microbatches = static_cast<int>(plan.microbatches());
  program.replicas = static_cast<int>(plan.dp);
  program.tied = model.tied_embeddings;
  for (int stage = 0; stage < plan.pp; ++stage) {
    program.chunks.push_back(chunk_info(model, plan, stage));
  }
  add_groups(model, plan, &program, options);
  const std::vector<std::vector<Slot>> orders = schedule_orders(schedule_shape(plan));
  for (int rank = 0; rank < program.world; ++rank) {
    const Coordinates at = coordinates_of(plan, rank);
    if (options.representative && (at.tp != 0 || at.dp != 0)) continue;
    program.ranks.push_back(RankEmitter(plan, options, program, rank).run(orders[at.stage]));
  }
  return program;
}

}  // namespace shardwright
