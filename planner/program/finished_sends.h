// What a device may count on: which of its own sends are over when an instruction begins, and what
// its memory holds meanwhile.
//
// A send over NCCL is over when the other end has received, so its memory stays in use for longer
// than the Program says. An instruction that takes that memory waits for the send. Where the send
// comes before the instruction anyway, by way of other ranks, that wait holds nobody up; where it
// does not, ranks with several chunks a stage can come to wait for each other's memory for ever.
#pragma once

#include <vector>

#include "planner/program/timeline.h"

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

// By instruction of the rank: bytes of messages that the Program calls sent when it begins and that
// may still be under way. `finished`: of the rank, as above.
std::vector<Bytes> unfinished_send_bytes(const Program& program, int at,
                                         const std::vector<FinishedSends>& finished);

// The most that a rank's tensors hold at once.
struct RankPeak {
  Bytes bytes = 0;
  int index = -1;  // of the instruction at which it stands; -1: before the first
  friend bool operator==(const RankPeak&, const RankPeak&) = default;
};
// Of every rank on a device. Its memory is given out down the list, because the calls of a step are
// given to its lanes long before they run: who gets the memory of somebody who is not done yet
// waits for him. Messages that may be under way count where they have to be kept.
std::vector<RankPeak> device_peaks(const Program& program);
// Sets the peaks of a timeline of the program to those.
void set_device_peaks(const Program& program, Timeline* timeline);

}  // namespace shardwright
