// The instructions of one rank: the schedule's computes, each with the messages and gathers around
// it, then the reductions and the optimizer. For compile.cc only.
#pragma once

#include <vector>

#include "planner/compile.h"
#include "planner/schedule/schedule.h"

namespace shardwright {

// Groups that a rank of a stage belongs to: indices into Program::groups, or -1.
struct RankGroups {
  int world = -1;
  int replicas = -1;  // dp * cp
  int shards = -1;    // those that share one sharded copy
  int copies = -1;    // those with the same shard of other copies
  int tied = -1;      // the other holder of a tied table
};

class RankEmitter {
 public:
  // All references must outlive this.
  RankEmitter(const Plan& plan, const CompileOptions& options, const Program& program,
              const Coordinates& at, const RankGroups& groups);
  RankProgram run(const std::vector<Slot>& order);

 private:
  // One of the rank's chunks.
  struct Own {
    int chunk = 0;
    int before = -1, next = -1;  // ranks of the neighbouring chunks; -1: this rank, or none
    bool hands_on = false;       // the next chunk is this rank's too
    bool given = false;          // so is the one before
    bool gathers_first = false;  // before its first forward of the step
    int gathered = -1, update = -1, last_backward = -1;
    int left = 0;                              // microbatches whose backward is still to come
    std::vector<int> forward_at, backward_at;  // by microbatch; -1 until then
  };

  Instruction& emit(OpCode op, Lane lane, int chunk, int microbatch);
  int last() const { return static_cast<int>(out_.instructions.size()) - 1; }
  int message(OpCode op, Lane lane, const Own& own, int microbatch, int peer, int wait);
  void computed(int at);
  Lane lane_of(bool beside, Lane lane) const { return beside ? lane : Lane::kCompute; }

  void forward(Own* own, int m);
  void backward(Own* own, int m, OpCode op);
  void backward_weight(Own* own, int m);
  int gather_for_pass(const Own& own, int m);
  void ended(Own* own, int m);
  void wait_for_passes(Instruction* next) const;
  void reduce(Own* own);
  void reduce_late();
  void reduce_tied();
  void finish_step();

  const Plan& plan_;
  const Program& program_;
  const RankGroups groups_;
  // Which communication has a lane of its own.
  const bool messages_beside_, gathers_beside_, reductions_beside_, data_beside_;
  RankProgram out_;
  std::vector<Own> own_;  // in model order
  int last_compute_ = -1, before_last_compute_ = -1, last_data_ = -1;
  int last_serial_message_ = -1;  // on the compute lane
};

}  // namespace shardwright
