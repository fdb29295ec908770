#include "executor/run/interpreter.h"

#include <algorithm>
#include <cmath>

#include "costmodel/check.h"
#include "executor/exec_error.h"

namespace shardwright {
namespace {

const RankProgram& own_program(const Program& program, const Communicator& comm) {
  SW_CHECK_EQ(program.world, comm.size(), "ranks of the program and of the communicator");
  const int at = program.position_of(comm.rank());
  SW_CHECK_GE(at, 0, "rank " << comm.rank() << " is not in the program");
  return program.ranks[at];
}

}  // namespace

Interpreter::Interpreter(const ModelSpec& model, const Program& program, const StepTable& steps,
                         Ops& ops, Communicator& comm, const TrainSettings& settings,
                         SampleSource samples)
    : model_(model),
      program_(program),
      steps_(steps),
      ops_(ops),
      comm_(comm),
      settings_(settings),
      samples_(std::move(samples)),
      rank_(own_program(program, comm)),
      rule_(program),
      channels_(wire_channels(program, rank_)) {
  if (keeps_sent_memory(program_)) {
    finished_sends_ = finished_sends(program_, program_.position_of(rank_.rank));
  }
  make_groups();
  make_state();
  make_chunks();
  events_.resize(rank_.instructions.size());
  stamps_.resize(rank_.instructions.size());
}

Interpreter::~Interpreter() {
  for (auto& [buffer, live] : live_) {
    if (live.block != nullptr) ops_.free(live.block);
  }
  ops_.free(state_);
}

void Interpreter::make_state() {
  static_assert(kSums * sizeof(double) + sizeof(StepScalars) <= kStepStateBytes);
  state_ = static_cast<std::byte*>(ops_.allocate(kStepStateBytes));
  ops_.zero(state_, kStepStateBytes);
  sums_ = reinterpret_cast<double*>(state_);
  scalars_ = reinterpret_cast<StepScalars*>(state_ + kSums * sizeof(double));
  sums_host_ = static_cast<double*>(ops_.host_block(kSums * sizeof(double)));
  scalars_host_ = static_cast<StepScalars*>(ops_.host_block(sizeof(StepScalars)));
}

void Interpreter::make_groups() {
  // Every rank asks for its groups in the order of the program, then for its tp group.
  for (size_t g = 0; g < program_.groups.size(); ++g) {
    if (!program_.groups[g].has(rank_.rank)) continue;
    groups_[static_cast<int>(g)] = &comm_.group(program_.groups[g].members());
  }
  const int tp = program_.chunks.front().tp;
  if (tp > 1) {
    std::vector<int> members(tp);
    for (int i = 0; i < tp; ++i) members[i] = rank_.rank - rank_.tp + i;
    tp_ = &comm_.group(members);
  }
  comm_.connect(routes_of(rank_, channels_));
}

void Interpreter::make_chunks() {
  std::vector<ChunkShape> shapes;
  for (int chunk : chunks_of(rank_)) shapes.push_back(program_.chunks.at(chunk).shape());
  scratch_ = std::make_unique<ScratchSet>(ops_, model_, shapes);
  for (int chunk : chunks_of(rank_)) {
    const ChunkInfo& info = program_.chunks.at(chunk);
    const ChunkShape shape = info.shape();
    const double tokens = static_cast<double>(shape.tokens()) *
                          static_cast<double>(program_.microbatches_before(program_.replicas));
    ChunkState& state = chunks_[chunk];
    state.weights = std::make_unique<Weights>(ops_, model_, shape, rank_.tp, settings_.optimizer,
                                              settings_.init);
    state.runner = std::make_unique<ChunkRunner>(ops_, model_, shape, *state.weights, *scratch_,
                                                 tp_, static_cast<float>(1.0 / tokens));
  }
}

StepResult Interpreter::run_step(int64_t step, bool detail) {
  step_ = step;
  detail_ = detail;
  finished_.assign(rank_.instructions.size(), false);
  set_scalars();
  const int count = static_cast<int>(rank_.instructions.size());
  if (ops_.lanes().start_step(!detail)) {
    for (int i = 0; i < count; ++i) issue(i);
  } else {
    // The device repeats its calls; only what the host gives to it is new.
    for (const Instruction& next : rank_.instructions) {
      if (next.op == OpCode::kLoad) draw(next);
    }
  }
  ops_.lanes().finish_step();
  read_times();
  return read_result();
}

void Interpreter::issue(int index) {
  const Instruction& next = rank_.instructions[index];
  for (int before : rule_.local_before({program_.position_of(rank_.rank), index})) {
    SW_CHECK(finished_[before], label_of(next) << " is ready before instruction " << before);
  }
  const Effects effects = effects_of(program_, next);
  stamps_[index].steps.clear();
  try {
    // First: where memory comes from depends on the lane that it is for.
    ops_.lanes().begin(index, next.lane, next.waits);
    if (!finished_sends_.empty()) {
      const FinishedSends& over = finished_sends_[static_cast<size_t>(index)];
      ops_.keep_sent_after(over.activation, over.gradient);
    }
    for (const Buffer& buffer : effects.allocates) allocate(buffer);
    note_peak(index);
    perform(next, &stamps_[index]);
    ops_.lanes().end(index);
  } catch (const PeerFailed&) {
    throw;
  } catch (const ExecError& error) {
    throw error.inside(label_of(next));
  }
  for (const Buffer& buffer : effects.frees) release(buffer);
  finished_[index] = true;
}

void Interpreter::allocate(const Buffer& buffer) {
  Live& live = live_[buffer];
  const ChunkShape shape = program_.chunks.at(buffer.chunk).shape();
  if (buffer.kind == BufferKind::kSaved) {
    live.saved = std::make_unique<SavedSet>(ops_, saved_tensors(model_, shape));
  } else {
    live.block = ops_.allocate(bytes_of(program_, buffer));
  }
}

void Interpreter::release(const Buffer& buffer) {
  const auto found = live_.find(buffer);
  SW_CHECK(found != live_.end(), "frees " << label_of(buffer) << ", which is not there");
  if (found->second.block != nullptr) ops_.free(found->second.block);
  live_.erase(found);
}

void Interpreter::read_times() {
  const Lanes& lanes = ops_.lanes();
  for (size_t i = 0; i < events_.size(); ++i) {
    events_[i].start = lanes.ns_of(stamps_[i].whole.start_ns);
    events_[i].end = lanes.ns_of(stamps_[i].whole.end_ns);
    events_[i].steps.clear();
    for (const Timing& step : stamps_[i].steps) {
      events_[i].steps.push_back(lanes.ns_of(step.end_ns) - lanes.ns_of(step.start_ns));
    }
  }
}

void Interpreter::note_peak(int index) {
  if (ops_.live_bytes() <= peak_bytes_) return;
  peak_bytes_ = ops_.live_bytes();
  peak_index_ = index;
}

void* Interpreter::block_of(BufferKind kind, const Instruction& next) {
  const auto found = live_.find(Buffer{kind, next.chunk, next.microbatch});
  return found == live_.end() ? nullptr : found->second.block;
}

MicrobatchView Interpreter::view_of(const Instruction& next) {
  MicrobatchView view;
  const auto* tokens = static_cast<const int32_t*>(block_of(BufferKind::kTokens, next));
  if (tokens != nullptr) {
    view.tokens = tokens;
    view.targets = tokens + program_.chunks[next.chunk].shape().tokens();
  }
  view.input = block_of(BufferKind::kInput, next);
  view.output = block_of(BufferKind::kOutput, next);
  view.output_grad = block_of(BufferKind::kOutputGrad, next);
  view.input_grad = block_of(BufferKind::kInputGrad, next);
  view.saved = live_.at(Buffer{BufferKind::kSaved, next.chunk, next.microbatch}).saved.get();
  // The ranks of a tp group compute the same loss: the first one's counts.
  view.loss_sum = &sums_[rank_.tp == 0 ? kLoss : kUncounted];
  return view;
}

}  // namespace shardwright
