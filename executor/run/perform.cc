// What each opcode does, one routine each.
#include <algorithm>
#include <cmath>
#include <cstddef>

#include "costmodel/check.h"
#include "executor/run/interpreter.h"

namespace shardwright {
void Interpreter::record(const Timing& timing, Stamps* stamps) const {
  stamps->whole = timing;
  if (detail_) stamps->steps = {timing};
}

void Interpreter::perform(const Instruction& next, Stamps* stamps) {
  switch (next.op) {
    case OpCode::kForward:
    case OpCode::kBackward:
      return compute(next, stamps);
    case OpCode::kLoad:
      return load(next, stamps);
    case OpCode::kSendActivation:
    case OpCode::kReceiveActivation:
    case OpCode::kSendGradient:
    case OpCode::kReceiveGradient:
      return message(next, stamps);
    case OpCode::kReduceGradients:
    case OpCode::kReduceTied:
      return reduce(next, stamps);
    case OpCode::kClip:
      return clip(next, stamps);
    case OpCode::kOptimizerStep:
      return update(next, stamps);
    default:
      break;
  }
  SW_CHECK(false, "no routine for " << label_of(next));
}

void Interpreter::compute(const Instruction& next, Stamps* stamps) {
  MicrobatchView view = view_of(next);
  ChunkRunner& runner = *chunks_.at(next.chunk).runner;
  const std::vector<Step>& steps = steps_.steps(next);
  stamps->whole.start_ns = ops_.lanes().stamp();
  stamps->steps.reserve(steps.size());
  for (const Step& step : steps) {
    if (detail_) {
      stamps->steps.push_back(runner.run_timed(step, &view));
    } else {
      runner.run(step, &view);
    }
  }
  stamps->whole.end_ns = ops_.lanes().stamp();
}

// The samples of a microbatch in host memory: tokens, then targets, as the device holds them.
int32_t* Interpreter::draw(const Instruction& next) {
  const ChunkInfo& chunk = program_.chunks[next.chunk];
  int32_t*& tokens = samples_host_[{next.chunk, next.microbatch}];
  if (tokens == nullptr) tokens = static_cast<int32_t*>(ops_.host_block(chunk.tokens));
  int32_t* targets = tokens + chunk.shape().tokens();
  const int64_t before = step_ * program_.microbatches_before(program_.replicas) +
                         program_.microbatches_before(rank_.dp) + next.microbatch;
  const int64_t first = before * chunk.micro_batch;
  for (int64_t i = 0; i < chunk.micro_batch; ++i) {
    samples_(first + i, tokens + i * chunk.seq, targets + i * chunk.seq);
  }
  return tokens;
}

void Interpreter::load(const Instruction& next, Stamps* stamps) {
  const int64_t start = ops_.lanes().stamp();
  ops_.upload(block_of(BufferKind::kTokens, next), draw(next), program_.chunks[next.chunk].tokens);
  record({start, ops_.lanes().stamp()}, stamps);
}

void Interpreter::message(const Instruction& next, Stamps* stamps) {
  const DataType type = ops_.type();
  const int64_t elements = program_.chunks[next.chunk].message / size_of(type);
  const int channel = channels_.at(next.channel());
  const auto send = [&](BufferKind kind) {
    record(comm_.send(block_of(kind, next), elements, type, next.peer, channel), stamps);
  };
  const auto receive = [&](BufferKind kind) {
    record(comm_.receive(block_of(kind, next), elements, type, next.peer, channel), stamps);
  };
  switch (next.op) {
    case OpCode::kSendActivation:
      return send(BufferKind::kOutput);
    case OpCode::kSendGradient:
      return send(BufferKind::kInputGrad);
    case OpCode::kReceiveActivation:
      return receive(BufferKind::kInput);
    default:
      return receive(BufferKind::kOutputGrad);
  }
}

void Interpreter::reduce(const Instruction& next, Stamps* stamps) {
  Weights& weights = *chunks_.at(next.chunk).weights;
  Group& group = *groups_.at(next.group);
  if (next.op == OpCode::kReduceGradients) {
    return record(group.all_reduce(weights.grads(), weights.size(), ReduceOp::kSum), stamps);
  }
  // The first stage holds the table as its embedding, the last as its head.
  const char* slot = weights.grad("head.weight") != nullptr ? "head.weight" : "embedding.tokens";
  record(group.all_reduce(weights.grad(slot), weights.elements(slot), ReduceOp::kSum), stamps);
}

void Interpreter::clip(const Instruction& next, Stamps* stamps) {
  const int64_t start = ops_.lanes().stamp();
  // Replicas hold the same reduced gradients: the first speaks for all. The loss comes from the
  // head's first tp rank of every replica.
  chunks_.at(next.chunk).weights->counted_square_sum(&sums_[rank_.dp == 0 ? kSquares : kUncounted]);
  const int64_t squared = ops_.lanes().stamp();
  // The last of a rank's chunks also unites the ranks.
  if (!next.is_collective()) return record({start, squared}, stamps);
  const Timing reduced = groups_.at(next.group)->all_reduce(sums_, 2, ReduceOp::kSum);
  ops_.clip_scale(&sums_[kSquares], settings_.clip_norm, &scalars_->grad_scale);
  ops_.download(sums_host_, sums_, kSums * static_cast<Bytes>(sizeof(double)));
  ops_.zero(sums_, kSums * static_cast<Bytes>(sizeof(double)));
  stamps->whole = {start, ops_.lanes().stamp()};
  if (detail_) stamps->steps = {{start, squared}, reduced};
}

StepResult Interpreter::read_result() const {
  const ChunkInfo& chunk = program_.chunks.front();
  const double tokens = static_cast<double>(chunk.shape().tokens()) *
                        static_cast<double>(program_.microbatches_before(program_.replicas));
  return {sums_host_[kLoss] / tokens, std::sqrt(sums_host_[kSquares])};
}

void Interpreter::set_scalars() {
  const double done = static_cast<double>(step_ + 1);
  const double warmup = static_cast<double>(settings_.warmup_steps);
  scalars_host_->lr =
      settings_.lr * static_cast<float>(warmup > 0 ? std::min(1.0, done / warmup) : 1);
  scalars_host_->correction1 = static_cast<float>(1 - std::pow(double{settings_.beta1}, done));
  scalars_host_->correction2 = static_cast<float>(1 - std::pow(double{settings_.beta2}, done));
}

void Interpreter::update(const Instruction& next, Stamps* stamps) {
  Weights& weights = *chunks_.at(next.chunk).weights;
  const int64_t start = ops_.lanes().stamp();
  ops_.upload(scalars_, scalars_host_, offsetof(StepScalars, grad_scale));
  if (settings_.optimizer == OptimizerKind::kAdamW) {
    weights.update_adamw({settings_.beta1, settings_.beta2, settings_.eps, settings_.weight_decay},
                         scalars_);
  } else {
    weights.update_sgd(settings_.weight_decay, scalars_);
  }
  const int64_t updated = ops_.lanes().stamp();
  weights.zero_gradients();
  const int64_t end = ops_.lanes().stamp();
  stamps->whole = {start, end};
  if (detail_) stamps->steps = {{start, updated}, {updated, end}};
}

}  // namespace shardwright
