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

namespace shardwright {

enum class OpCode : uint8_t {
  kLoad,               // tokens and targets of a microbatch
  kForward,            // of a chunk on a microbatch
  kBackward,           // both gradients of a chunk on a microbatch
  kSendActivation,     // the chunk's output to the rank of the next chunk
  kReceiveActivation,  // the chunk's input from the rank of the chunk before
  kSendGradient,       // the gradient of the chunk's input to the rank of the chunk before
  kReceiveGradient,    // the gradient of the chunk's output from the rank of the next chunk
  kReduceGradients,    // sum of the chunk's gradients over the replicas
  kReduceTied,         // sum of a tied embedding's gradient over its two stages
  kClip,               // norm of all gradients and the loss, over all ranks
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
  int chunk = -1;          // the chunk of THIS rank that the instruction works for; -1: none
  int microbatch = -1;     // within the replica; -1: none
  int peer = -1;           // rank at the other end of a send or receive
  int group = -1;          // index into Program::groups, of a reduction
  std::vector<int> waits;  // indices of earlier instructions of the same rank, ascending

  bool is_send() const { return op == OpCode::kSendActivation || op == OpCode::kSendGradient; }
  bool is_receive() const {
    return op == OpCode::kReceiveActivation || op == OpCode::kReceiveGradient;
  }
  bool is_message() const { return is_send() || is_receive(); }
  // Messages match in issue order per pair of ranks and channel.
  int channel() const {
    return op == OpCode::kSendGradient || op == OpCode::kReceiveGradient ? 1 : 0;
  }
  bool is_collective() const { return group >= 0; }
  friend bool operator==(const Instruction&, const Instruction&) = default;
};
// "forward c0 m3", for errors and traces.
std::string label_of(const Instruction& instruction);

// size ranks from first on, stride apart.
struct GroupInfo {
  Axis axis = Axis::kDp;
  int first = 0, stride = 1, size = 1;
  bool has(int rank) const {
    return rank >= first && (rank - first) % stride == 0 && (rank - first) / stride < size;
  }
  std::vector<int> members() const;
  friend bool operator==(const GroupInfo&, const GroupInfo&) = default;
};

// A chunk and the bytes it needs on each of its ranks.
struct ChunkInfo {
  int first_layer = 0, num_layers = 0;
  bool embedding = false, head = false, recompute = false;
  int tp = 1, micro_batch = 1, seq = 0;
  DataType type = DataType::kFp32;
  Bytes persistent = 0, scratch = 0;         // for the whole step
  Bytes saved = 0, message = 0, tokens = 0;  // per microbatch in flight
  ChunkShape shape() const;
  friend bool operator==(const ChunkInfo&, const ChunkInfo&) = default;
};

struct RankProgram {
  int rank = 0;  // global
  int tp = 0, dp = 0, stage = 0;
  std::vector<Instruction> instructions;
  friend bool operator==(const RankProgram&, const RankProgram&) = default;
};

// How messages move. Posted: a send completes without its receiver. Rendezvous: both sides must
// have arrived before either goes on, as with blocking sends; textbook 1F1B deadlocks under it.
enum class MessageMode : uint8_t { kPosted, kRendezvous };

struct Program {
  MessageMode messages = MessageMode::kPosted;
  int world = 1;                  // ranks of the plan
  int microbatches = 1;           // per replica
  int replicas = 1;               // dp
  bool tied = false;              // embedding and head share one table
  std::vector<ChunkInfo> chunks;  // in model order
  std::vector<GroupInfo> groups;
  // Ascending by rank. May be a part of the world (one rank per stage stands for its tp and dp
  // neighbours, which do the same at the same time); groups then wait only for members present.
  std::vector<RankProgram> ranks;

  // Position of a global rank in `ranks`, or -1.
  int position_of(int rank) const;
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
