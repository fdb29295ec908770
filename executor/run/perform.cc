// What each opcode does, one routine each.
#include <algorithm>
#include <cmath>

#include "costmodel/check.h"
#include "executor/run/interpreter.h"

namespace shardwright {
namespace {

void record(EventTime* event, const Timing& timing) {
  event->start = timing.start_ns;
  event->end = timing.end_ns;
  event->steps.push_back(timing.end_ns - timing.start_ns);
}

}  // namespace

void Interpreter::perform(const Instruction& next, EventTime* event) {
  switch (next.op) {
    case OpCode::kForward:
    case OpCode::kBackward:
      return compute(next, event);
    case OpCode::kLoad:
      return load(next, event);
    case OpCode::kSendActivation:
    case OpCode::kReceiveActivation:
    case OpCode::kSendGradient:
    case OpCode::kReceiveGradient:
      return message(next, event);
    case OpCode::kReduceGradients:
    case OpCode::kReduceTied:
      return reduce(next, event);
    case OpCode::kClip:
      return clip(next, event);
    case OpCode::kOptimizerStep:
      return update(next, event);
    case OpCode::kCount:
      break;
  }
  SW_CHECK(false, "no routine for " << label_of(next));
}

void Interpreter::compute(const Instruction& next, EventTime* event) {
  MicrobatchView view = view_of(next);
  ChunkRunner& runner = *chunks_.at(next.chunk).runner;
  const std::vector<Step>& steps = steps_.steps(next);
  event->start = monotonic_ns();
  event->steps.reserve(steps.size());
  for (const Step& step : steps) {
    const StepTiming timing = runner.run(step, &view);
    event->steps.push_back(timing.end_ns - timing.start_ns);
  }
  event->end = monotonic_ns();
  if (next.op == OpCode::kForward) loss_sum_ += view.loss_sum;
}

void Interpreter::load(const Instruction& next, EventTime* event) {
  const int64_t start = monotonic_ns();
  const ChunkInfo& chunk = program_.chunks[next.chunk];
  int32_t* tokens = reinterpret_cast<int32_t*>(block_of(BufferKind::kTokens, next));
  int32_t* targets = tokens + chunk.shape().tokens();
  const int64_t per_replica = int64_t{chunk.micro_batch} * program_.microbatches;
  const int64_t first = (step_ * program_.replicas + rank_.dp) * per_replica +
                        int64_t{next.microbatch} * chunk.micro_batch;
  for (int64_t i = 0; i < chunk.micro_batch; ++i) {
    samples_(first + i, tokens + i * chunk.seq, targets + i * chunk.seq);
  }
  record(event, {start, monotonic_ns()});
}

void Interpreter::message(const Instruction& next, EventTime* event) {
  const int64_t elements = program_.chunks[next.chunk].message / static_cast<Bytes>(sizeof(float));
  switch (next.op) {
    case OpCode::kSendActivation:
      return record(event, comm_.send(block_of(BufferKind::kOutput, next), elements, next.peer,
                                      next.channel()));
    case OpCode::kSendGradient:
      return record(event, comm_.send(block_of(BufferKind::kInputGrad, next), elements, next.peer,
                                      next.channel()));
    case OpCode::kReceiveActivation:
      return record(event, comm_.receive(block_of(BufferKind::kInput, next), elements, next.peer,
                                         next.channel()));
    default:
      return record(event, comm_.receive(block_of(BufferKind::kOutputGrad, next), elements,
                                         next.peer, next.channel()));
  }
}

void Interpreter::reduce(const Instruction& next, EventTime* event) {
  Weights& weights = *chunks_.at(next.chunk).weights;
  Group& group = *groups_.at(next.group);
  if (next.op == OpCode::kReduceGradients) {
    return record(event, group.all_reduce(weights.grads(), weights.size(), ReduceOp::kSum));
  }
  // The first stage holds the table as its embedding, the last as its head.
  const char* slot = weights.grad("head.weight") != nullptr ? "head.weight" : "embedding.tokens";
  record(event, group.all_reduce(weights.grad(slot), weights.elements(slot), ReduceOp::kSum));
}

void Interpreter::clip(const Instruction& next, EventTime* event) {
  const int64_t start = monotonic_ns();
  // Replicas hold the same reduced gradients: the first speaks for all. The loss comes from the
  // head's first tp rank of every replica.
  double sums[2] = {0, 0};
  const double squares = chunks_.at(next.chunk).weights->counted_square_sum(ops_);
  if (rank_.dp == 0) sums[0] = squares;
  if (rank_.tp == 0 && program_.chunks[next.chunk].head) sums[1] = loss_sum_;
  const int64_t squared = monotonic_ns();
  const Timing reduced = groups_.at(next.group)->all_reduce(sums, 2, ReduceOp::kSum);
  event->start = start;
  event->end = reduced.end_ns;
  event->steps = {squared - start, reduced.end_ns - reduced.start_ns};
  const ChunkInfo& chunk = program_.chunks[next.chunk];
  const double tokens =
      static_cast<double>(chunk.shape().tokens()) * program_.microbatches * program_.replicas;
  result_.loss = sums[1] / tokens;
  result_.grad_norm = std::sqrt(sums[0]);
  const double limit = settings_.clip_norm;
  grad_scale_ =
      limit > 0 ? static_cast<float>(std::min(1.0, limit / (result_.grad_norm + 1e-6))) : 1.0f;
}

void Interpreter::update(const Instruction& next, EventTime* event) {
  Weights& weights = *chunks_.at(next.chunk).weights;
  const double done = static_cast<double>(step_ + 1);
  const double warmup = static_cast<double>(settings_.warmup_steps);
  const float lr = settings_.lr * static_cast<float>(warmup > 0 ? std::min(1.0, done / warmup) : 1);
  const int64_t start = monotonic_ns();
  if (settings_.optimizer == OptimizerKind::kAdamW) {
    weights.update_adamw(
        ops_, {lr, settings_.beta1, settings_.beta2, settings_.eps, settings_.weight_decay,
               grad_scale_, static_cast<float>(1 - std::pow(double{settings_.beta1}, done)),
               static_cast<float>(1 - std::pow(double{settings_.beta2}, done))});
  } else {
    weights.update_sgd(ops_, lr, grad_scale_, settings_.weight_decay);
  }
  const int64_t updated = monotonic_ns();
  weights.zero_gradients(ops_);
  event->start = start;
  event->end = monotonic_ns();
  event->steps = {updated - start, event->end - updated};
}

}  // namespace shardwright
