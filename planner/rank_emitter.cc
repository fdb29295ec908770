#include "planner/rank_emitter.h"

#include "costmodel/check.h"

namespace shardwright {

RankEmitter::RankEmitter(const Plan& plan, const CompileOptions& options, const Program& program,
                         const Coordinates& at, const RankGroups& groups)
    : plan_(plan),
      program_(program),
      groups_(groups),
      messages_beside_(options.overlap && plan.overlap.pipeline),
      gathers_beside_(options.overlap && plan.overlap.parameters),
      reductions_beside_(options.overlap && plan.overlap.gradients),
      data_beside_(options.overlap) {
  out_.rank = static_cast<int>(rank_at(plan, at));
  out_.tp = static_cast<int>(at.tp);
  out_.dp = static_cast<int>(at.dp);
  out_.cp = static_cast<int>(at.cp);
  out_.stage = static_cast<int>(at.stage);
  const auto rank_of = [&](int chunk) {
    Coordinates there = at;
    there.stage = program.chunks[chunk].stage;
    return static_cast<int>(rank_at(plan, there));
  };
  const int chunks = static_cast<int>(program.chunks.size());
  const int microbatches = program.microbatches_of(out_.dp);
  for (int k = 0; k < plan.virtual_stages; ++k) {
    Own own;
    own.chunk = static_cast<int>(chunk_of_stage(plan, at.stage, k));
    own.given = program.hands_over(own.chunk - 1);
    own.hands_on = program.hands_over(own.chunk);
    if (own.chunk > 0 && !own.given) own.before = rank_of(own.chunk - 1);
    if (own.chunk + 1 < chunks && !own.hands_on) own.next = rank_of(own.chunk + 1);
    own.left = microbatches;
    own.forward_at.assign(microbatches, -1);
    own.backward_at.assign(microbatches, -1);
    const bool sharded_update = program.state.zero == 1 || program.state.zero == 2;
    own.gathers_first = sharded_update && groups.shards >= 0 && gathers_beside_;
    own_.push_back(std::move(own));
  }
}

RankProgram RankEmitter::run(const std::vector<Slot>& order) {
  // At most: load, gather, receive, forward, send for a slot.
  out_.instructions.reserve(order.size() * (program_.state.zero == 3 ? 4 : 3) + 16);
  for (const Slot& slot : order) {
    Own* own = &own_.at(slot.chunk);
    switch (slot.kind) {
      case Slot::kForward:
        forward(own, slot.microbatch);
        break;
      case Slot::kBackward:
        backward(own, slot.microbatch, OpCode::kBackward);
        break;
      case Slot::kBackwardInput:
        backward(own, slot.microbatch, OpCode::kBackwardInput);
        break;
      case Slot::kBackwardWeight:
        backward_weight(own, slot.microbatch);
        break;
    }
  }
  finish_step();
  return std::move(out_);
}

Instruction& RankEmitter::emit(OpCode op, Lane lane, int chunk, int microbatch) {
  Instruction& next = out_.instructions.emplace_back();
  next.op = op;
  next.lane = lane;
  next.chunk = chunk;
  next.microbatch = microbatch;
  return next;
}

int RankEmitter::message(OpCode op, Lane lane, const Own& own, int microbatch, int peer, int wait) {
  Instruction& next = emit(op, lane_of(messages_beside_, lane), own.chunk, microbatch);
  next.peer = peer;
  next.waits.add(wait);
  if (!messages_beside_) last_serial_message_ = last();
  return last();
}

// A receive is posted one compute ahead of the one that needs it, and so is a gather: late enough
// to bound memory, early enough to be hidden.
void RankEmitter::computed(int at) {
  before_last_compute_ = last_compute_;
  last_compute_ = at;
}

// Zero 3 holds whole weights only around a pass. The instruction stands for gathering layer after
// layer while the layer before is worked on; -1 where nothing is sharded.
int RankEmitter::gather_for_pass(const Own& own, int m) {
  if (program_.state.zero != 3 || groups_.shards < 0) return -1;
  Instruction& next =
      emit(OpCode::kGatherParameters, lane_of(gathers_beside_, Lane::kData), own.chunk, m);
  next.group = groups_.shards;
  next.waits.add(before_last_compute_);
  return last();
}

void RankEmitter::forward(Own* own, int m) {
  const ChunkInfo& chunk = program_.chunks[own->chunk];
  WaitList waits;
  if (own->gathers_first && own->gathered < 0) {
    // As the step before left them: each replica has updated its shard only, and the rest is
    // gathered behind the first forwards.
    emit(OpCode::kGatherParameters, Lane::kData, own->chunk, -1).group = groups_.shards;
    waits.add(own->gathered = last());
  }
  if (chunk.embedding || chunk.head) {
    emit(OpCode::kLoad, Lane::kCompute, own->chunk, m);
    waits.add(last());
  }
  if (own->before >= 0) {
    waits.add(message(OpCode::kReceiveActivation, Lane::kActivationIn, *own, m, own->before,
                      before_last_compute_));
  } else if (own->given) {
    const int made = own_[own - own_.data() - 1].forward_at[m];
    SW_CHECK(made >= 0, "c" << own->chunk << " m" << m << " before the chunk that it follows");
    waits.add(made);
  }
  waits.add(gather_for_pass(*own, m));
  emit(OpCode::kForward, Lane::kCompute, own->chunk, m).waits = waits;
  const int at = own->forward_at[m] = last();
  computed(at);
  if (own->next >= 0) {
    message(OpCode::kSendActivation, Lane::kActivationOut, *own, m, own->next, at);
  }
}

void RankEmitter::backward(Own* own, int m, OpCode op) {
  WaitList waits;
  SW_CHECK(own->forward_at[m] >= 0, "backward of c" << own->chunk << " m" << m << " comes first");
  waits.add(own->forward_at[m]);
  if (own->next >= 0) {
    waits.add(message(OpCode::kReceiveGradient, Lane::kGradientIn, *own, m, own->next,
                      before_last_compute_));
  } else if (own->hands_on) {
    const int made = own_[own - own_.data() + 1].backward_at[m];
    SW_CHECK(made >= 0, "backward of c" << own->chunk << " m" << m << " before the chunk after it");
    waits.add(made);
  }
  waits.add(gather_for_pass(*own, m));
  emit(op, Lane::kCompute, own->chunk, m).waits = waits;
  const int at = own->backward_at[m] = last();
  computed(at);
  if (own->before >= 0) {
    message(OpCode::kSendGradient, Lane::kGradientOut, *own, m, own->before, at);
  }
  if (op == OpCode::kBackward) ended(own, m);
}

void RankEmitter::backward_weight(Own* own, int m) {
  emit(OpCode::kBackwardWeight, Lane::kCompute, own->chunk, m).waits.add(own->backward_at[m]);
  computed(last());
  ended(own, m);
}

// Both gradients of the microbatch are there.
void RankEmitter::ended(Own* own, int m) {
  own->last_backward = last_compute_;
  if (program_.state.zero == 3 && groups_.shards >= 0) {
    Instruction& next =
        emit(OpCode::kScatterGradients, lane_of(reductions_beside_, Lane::kData), own->chunk, m);
    next.group = groups_.shards;
    next.waits.add(own->last_backward);
    last_data_ = last();
  }
  if (--own->left == 0 && reductions_beside_) reduce(own);
}

// All so far. Where data travels beside passes and messages between them, messages belong to them.
void RankEmitter::wait_for_passes(Instruction* next) const {
  next->waits.add(last_compute_);
  if (data_beside_) next->waits.add(last_serial_message_);
}

// Over the replicas; with zero 3 over the copies of the shards, as far as there are several. A tied
// table that is sharded is first united with its other copy (reduce_tied).
void RankEmitter::reduce(Own* own) {
  const ChunkInfo& chunk = program_.chunks[own->chunk];
  const int zero = program_.state.zero;
  const int group = zero == 3 && groups_.shards >= 0 ? groups_.copies : groups_.replicas;
  const bool tied_first = zero > 0 && program_.tied && (chunk.embedding || chunk.head);
  if (group < 0 || (tied_first && own->left >= 0)) return;
  Instruction& next =
      emit(OpCode::kReduceGradients, lane_of(data_beside_, Lane::kData), own->chunk, -1);
  next.group = group;
  wait_for_passes(&next);
  next.waits.add(last_data_);
  last_data_ = last();
  own->update = last();
}

void RankEmitter::reduce_late() {
  for (Own& own : own_) {
    if (own.update >= 0) continue;
    own.left = -1;
    reduce(&own);
  }
}

// A tied table is the embedding of the first chunk and the head of the last: at the end of the
// step, since the last stage is done with its head long before the first is with its embedding.
void RankEmitter::reduce_tied() {
  const bool alone = program_.chunks.size() == 1;
  if (!program_.tied || alone) return;
  // Both chunks on one rank: their gradients are added up there.
  const bool here = program_.chunks.front().stage == program_.chunks.back().stage;
  for (Own& own : own_) {
    const ChunkInfo& chunk = program_.chunks[own.chunk];
    if (!chunk.embedding && (here || !chunk.head)) continue;
    Instruction& next =
        emit(OpCode::kReduceTied, lane_of(data_beside_, Lane::kData), own.chunk, -1);
    next.group = groups_.tied;
    if (own.update < 0) wait_for_passes(&next);  // else the reduction has waited for it
    next.waits.add(last_data_);
    last_data_ = last();
  }
}

void RankEmitter::finish_step() {
  const bool tied_first = program_.state.zero > 0;
  if (tied_first) reduce_tied();
  reduce_late();
  if (!tied_first) reduce_tied();
  for (const Own& own : own_) {
    Instruction& next = emit(OpCode::kClip, Lane::kCompute, own.chunk, -1);
    next.waits.add(last_data_ >= 0 ? last_data_ : own.last_backward);
    // The last one also unites the ranks.
    if (&own == &own_.back()) next.group = groups_.world;
  }
  const int clip = last();
  for (Own& own : own_) {
    emit(OpCode::kOptimizerStep, Lane::kCompute, own.chunk, -1).waits.add(clip);
    own.update = last();
  }
  const bool sharded = program_.state.zero == 1 || program_.state.zero == 2;
  if (!sharded || groups_.shards < 0 || gathers_beside_) return;
  for (const Own& own : own_) {
    Instruction& next =
        emit(OpCode::kGatherParameters, lane_of(data_beside_, Lane::kData), own.chunk, -1);
    next.group = groups_.shards;
    next.waits.add(own.update);
  }
}

}  // namespace shardwright
