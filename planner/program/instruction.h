// Instruction and Program: what every rank does in one training step, as flat lists.
//
// A Program is the one description that is simulated, verified and executed. It prints as text, one
// instruction a line, and parses back exactly (program_text.h).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "costmodel/steps.h"
#include "costmodel/units.h"
#include "planner/program/wait_list.h"
#include "planner/rank_order.h"

namespace shardwright {

enum class OpCode : uint8_t {
  kLoad,               // tokens and targets of a microbatch
  kForward,            // of a chunk on a microbatch
  kBackward,           // both gradients of a chunk on a microbatch
  kBackwardInput,      // the gradients that the chunk before waits for
  kBackwardWeight,     // the rest: products that give gradients of weights, which nobody waits for
  kSendActivation,     // the chunk's output to the rank of the next chunk
  kReceiveActivation,  // the chunk's input from the rank of the chunk before
  kSendGradient,       // the gradient of the chunk's input to the rank of the chunk before
  kReceiveGradient,    // the gradient of the chunk's output from the rank of the next chunk
  kGatherParameters,   // sharded weights of the chunk made whole
  kScatterGradients,   // zero 3: gradients of one pass summed, each replica keeps its shard
  kReduceGradients,    // sum of the chunk's gradients over the replicas
  kReduceTied,         // sum of a tied embedding's gradient over its two chunks
  kClip,               // squares of the chunk's gradients; with a group: norm and loss of all ranks
  kOptimizerStep,      // update the chunk's parameters, zero the gradients
  kCount
};
const char* name_of(OpCode op);  // "forward", "send_activation", ...

// Instructions of one lane run one after another in program order; lanes run beside each other.
// A device that cannot overlap communication has everything on the compute lane.
enum class Lane : uint8_t {
  kCompute,
  kActivationOut,
  kActivationIn,
  kGradientOut,
  kGradientIn,
  kData,
  kCount
};
const char* name_of(Lane lane);  // "compute", "activation_out", ..., "data"

struct Instruction {
  OpCode op = OpCode::kLoad;
  Lane lane = Lane::kCompute;
  WaitList waits;       // indices of earlier instructions of the same rank, ascending
  int chunk = -1;       // in model order: the chunk that the instruction works for; -1: none
  int microbatch = -1;  // within the replica; -1: none
  int peer = -1;        // rank at the other end of a send or receive
  int group = -1;       // index into Program::groups, of a collective

  bool is_send() const { return op == OpCode::kSendActivation || op == OpCode::kSendGradient; }
  bool is_receive() const {
    return op == OpCode::kReceiveActivation || op == OpCode::kReceiveGradient;
  }
  bool is_message() const { return is_send() || is_receive(); }
  bool is_backward() const {
    return op == OpCode::kBackward || op == OpCode::kBackwardInput || op == OpCode::kBackwardWeight;
  }
  bool is_compute() const { return op == OpCode::kForward || is_backward(); }
  // Messages match in issue order per pair of ranks and channel. Two neighbouring chunks have a
  // channel for activations and one for gradients: several chunks of the same two ranks may then
  // take turns as each side likes. 2 * (the lower of the two chunks), + 1 for gradients.
  int channel() const {
    const bool lower = op == OpCode::kSendActivation || op == OpCode::kReceiveGradient;
    const bool gradient = op == OpCode::kSendGradient || op == OpCode::kReceiveGradient;
    return 2 * (lower ? chunk : chunk - 1) + (gradient ? 1 : 0);
  }
  bool is_collective() const { return group >= 0; }
  friend bool operator==(const Instruction&, const Instruction&) = default;
};
// A number for all that have chunk, opcode and lane in common: ((chunk + 1) * opcodes + opcode) *
// lanes + lane.
inline int kind_of(const Instruction& instruction) {
  return ((instruction.chunk + 1) * static_cast<int>(OpCode::kCount) +
          static_cast<int>(instruction.op)) *
             static_cast<int>(Lane::kCount) +
         static_cast<int>(instruction.lane);
}
// "forward c0 m3", for errors and traces.
std::string label_of(const Instruction& instruction);

// size ranks from first on, stride apart; with a run above 0 in runs of so many, jump apart
// (GroupPlacement).
struct GroupInfo {
  Axis axis = Axis::kDp;
  int first = 0, stride = 1, size = 1;
  int run = 0, jump = 0;
  bool has(int rank) const;
  std::vector<int> members() const;
  friend bool operator==(const GroupInfo&, const GroupInfo&) = default;
};

// A chunk and the bytes it needs on each of its ranks.
struct ChunkInfo {
  int first_layer = 0, num_layers = 0;
  bool embedding = false, head = false, recompute = false;
  int tp = 1, micro_batch = 1, seq = 0;
  DataType type = DataType::kFp32;
  int stage = 0;
  Split split;
  bool split_backward = false;  // backward is two instructions
  int recompute_layers = 0, mtp_layers = 0;
  uint32_t recompute_modules = 0;
  Bytes persistent = 0;  // for the whole step
  Bytes scratch = 0;     // for the whole step, shared by the chunks of a rank
  // Per microbatch in flight: `saved` from the forward to the backward. When that is split (Kept in
  // costmodel/memory.h): `saved` to its first part, `operands` from the forward to its second part,
  // `deferred` from the first to the second.
  Bytes saved = 0, operands = 0, deferred = 0;
  Bytes message = 0, tokens = 0;
  ChunkShape shape() const;
  friend bool operator==(const ChunkInfo&, const ChunkInfo&) = default;
};

struct RankProgram {
  int rank = 0;  // global
  int tp = 0, dp = 0, stage = 0, cp = 0;
  std::vector<Instruction> instructions;
  friend bool operator==(const RankProgram&, const RankProgram&) = default;
};

// How messages move. Posted: a send completes without its receiver. Rendezvous: both sides must
// have arrived before either goes on, as with blocking sends; textbook 1F1B deadlocks under it.
enum class MessageMode : uint8_t { kPosted, kRendezvous };

// How parameters, gradients and optimizer state lie on the replicas of a stage.
struct StateInfo {
  int zero = 0;           // sharded: 1 optimizer state, 2 and gradients, 3 and weights
  int shards = 1;         // replicas that share one sharded copy
  int expert_shards = 1;  // the same for routed experts
  DataType gradient_type = DataType::kFp32, moment_type = DataType::kFp32;
  double offload = 0;  // share of the optimizer state and its update on the host
  friend bool operator==(const StateInfo&, const StateInfo&) = default;
};

struct Program {
  MessageMode messages = MessageMode::kPosted;
  int world = 1;                          // ranks of the plan
  int microbatches = 1;                   // per replica, or of the one that has most
  std::vector<int> replica_microbatches;  // [replicas] where they differ
  int replicas = 1;                       // dp
  int cp = 1;                             // ranks that share each sequence of a replica
  RankOrder rank_order = RankOrder::kTpCpDpPp;
  StateInfo state;
  bool tied = false;              // embedding and head share one table
  std::vector<ChunkInfo> chunks;  // in model order
  std::vector<GroupInfo> groups;
  // Ascending by rank. May be a part of the world (one rank per stage stands for its tp and dp
  // neighbours, which do the same at the same time); groups then wait only for members present.
  std::vector<RankProgram> ranks;

  int microbatches_of(int replica) const {
    const bool known = replica >= 0 && replica < static_cast<int>(replica_microbatches.size());
    return known ? replica_microbatches[replica] : microbatches;
  }
  // Of the replicas before this one; of all for `replicas`.
  int64_t microbatches_before(int replica) const;

  // Position of a global rank in `ranks`, or -1.
  int position_of(int rank) const;
  // Whether chunk + 1 is a chunk of the same stage, so that what passes between them is handed over
  // without a message.
  bool hands_over(int chunk) const {
    return chunk >= 0 && chunk + 1 < static_cast<int>(chunks.size()) &&
           chunks[chunk].stage == chunks[chunk + 1].stage;
  }
  friend bool operator==(const Program&, const Program&) = default;
};

// Position in Program::ranks and index in its list.
struct Ref {
  int at = 0, index = 0;
  friend bool operator==(const Ref&, const Ref&) = default;
  friend auto operator<=>(const Ref&, const Ref&) = default;
};
inline const Instruction& instruction_at(const Program& program, Ref ref) {
  return program.ranks[ref.at].instructions[ref.index];
}

}  // namespace shardwright
