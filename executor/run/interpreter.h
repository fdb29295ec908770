// The interpreter: executes one rank's instructions of a Program for real and records when each
// ran.
//
// It has one routine per opcode and no order of its own: the list is the order, the readiness rule
// is checked, buffers come and go as effects_of() says, and compute instructions perform exactly
// the steps of their list. On a device the calls of a step are given to lanes and run later.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "executor/comm/communicator.h"
#include "executor/comm/routes.h"
#include "executor/model/chunk_runner.h"
#include "planner/program/buffers.h"
#include "planner/program/finished_sends.h"
#include "planner/program/step_table.h"
#include "planner/program/timeline.h"

namespace shardwright {

struct TrainSettings {
  OptimizerKind optimizer = OptimizerKind::kAdamW;
  float lr = 1e-3f, beta1 = 0.9f, beta2 = 0.95f, eps = 1e-8f, weight_decay = 0.1f;
  float clip_norm = 1.0f;
  int64_t warmup_steps = 0;  // learning rate rises linearly over these
  InitSettings init;
};

// Gives sample `number` of the run: tokens and targets, [seq] each.
using SampleSource = std::function<void(int64_t number, int32_t* tokens, int32_t* targets)>;

struct StepResult {
  double loss = 0;       // mean over the step's tokens, the same on all ranks
  double grad_norm = 0;  // before clipping, the same on all ranks
};

class Interpreter {
 public:
  // All references must outlive this. Allocates weights and scratch.
  // REQUIRES: the program is verified and holds every rank of the communicator.
  Interpreter(const ModelSpec& model, const Program& program, const StepTable& steps, Ops& ops,
              Communicator& comm, const TrainSettings& settings, SampleSource samples);
  ~Interpreter();

  // Executes the list once, as training step `step` (from 0). `detail`: also times every single
  // Step, which costs time where stamps are not free. Throws ExecError naming rank and instruction.
  StepResult run_step(int64_t step, bool detail = true);

  // Of the last run_step: absolute monotonic times, by instruction index. Without detail `steps` is
  // empty.
  const std::vector<EventTime>& events() const { return events_; }
  Bytes peak_bytes() const { return peak_bytes_; }  // since construction
  int peak_index() const { return peak_index_; }
  const Weights& weights(int chunk) const { return *chunks_.at(chunk).weights; }
  const RankProgram& rank_program() const { return rank_; }

 private:
  struct ChunkState {
    std::unique_ptr<Weights> weights;
    std::unique_ptr<ChunkRunner> runner;
  };
  // A buffer alive: plain memory, or the named tensors of a microbatch.
  struct Live {
    void* block = nullptr;
    std::unique_ptr<SavedSet> saved;
  };
  // Stamps of the lanes: of an instruction and of its Steps.
  struct Stamps {
    Timing whole;
    std::vector<Timing> steps;
  };
  // What the host and the device tell each other about a step. On the device: the squares of all
  // gradients, the loss, and a place for what must not count twice.
  enum Sum { kSquares, kLoss, kUncounted, kSums };

  void make_state();
  void make_chunks();
  void make_groups();
  void issue(int index);
  void allocate(const Buffer& buffer);
  void release(const Buffer& buffer);
  void note_peak(int index);
  void* block_of(BufferKind kind, const Instruction& next);
  MicrobatchView view_of(const Instruction& next);
  void perform(const Instruction& next, Stamps* stamps);
  void compute(const Instruction& next, Stamps* stamps);
  int32_t* draw(const Instruction& next);
  void load(const Instruction& next, Stamps* stamps);
  void message(const Instruction& next, Stamps* stamps);
  void reduce(const Instruction& next, Stamps* stamps);
  void clip(const Instruction& next, Stamps* stamps);
  void update(const Instruction& next, Stamps* stamps);
  void record(const Timing& timing, Stamps* stamps) const;  // of a single Step
  void set_scalars();
  void read_times();
  StepResult read_result() const;

  const ModelSpec& model_;
  const Program& program_;
  const StepTable& steps_;
  Ops& ops_;
  Communicator& comm_;
  const TrainSettings settings_;
  SampleSource samples_;
  const RankProgram& rank_;
  Readiness rule_;
  const WireChannels channels_;
  std::vector<FinishedSends> finished_sends_;  // by instruction; empty: not needed
  std::unique_ptr<ScratchSet> scratch_;
  std::map<int, ChunkState> chunks_;
  std::map<int, Group*> groups_;  // by Program's group index
  Group* tp_ = nullptr;
  std::map<Buffer, Live> live_;
  std::map<std::pair<int, int>, int32_t*> samples_host_;  // by chunk and microbatch
  std::byte* state_ = nullptr;           // device, kStepStateBytes: sums_, then scalars_
  double* sums_ = nullptr;               // device, [kSums]
  StepScalars* scalars_ = nullptr;       // device
  double* sums_host_ = nullptr;          // [kSums], as of the last clip
  StepScalars* scalars_host_ = nullptr;  // grad_scale is the device's own
  std::vector<EventTime> events_;
  std::vector<Stamps> stamps_;
  std::vector<bool> finished_;
  int64_t step_ = 0;
  bool detail_ = true;
  Bytes peak_bytes_ = 0;
  int peak_index_ = -1;
};

}  // namespace shardwright
