// What a device may count on: which of its own sends are over when an instruction begins.
//
// A send over NCCL is over when the other end has received, so its memory stays in use for longer
// than the Program says. An instruction that takes that memory waits for the send. Where the send
// comes before the instruction anyway, by way of other ranks, that wait holds nobody up; where it
// does not, ranks with several chunks a stage can come to wait for each other's memory for ever.
#pragma once

#include <vector>

#include "planner/program/instruction.h"

namespace shardwright {

// By lane of sends: 1 + index of the last send of the rank that is over; 0: none is known to be.
struct FinishedSends {
  int activation = 0, gradient = 0;
  friend bool operator==(const FinishedSends&, const FinishedSends&) = default;
};

// Whether the memory of sends has to be kept until they are known to be over: stages of several
// chunks.
bool keeps_sent_memory(const Program& program);

// For every instruction of the rank at position `at` of program.ranks. Waits within the rank's
// pipeline are followed (messages between ranks of the same tp, dp and cp), others only make more
// known. Empty when the program deadlocks without posted sends.
std::vector<FinishedSends> finished_sends(const Program& program, int at);

// The most bytes at once of messages that the Program calls sent and that may still be under way.
Bytes unfinished_send_bytes(const Program& program, int at);

}  // namespace shardwright
