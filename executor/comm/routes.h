// Which ways the messages of a rank take, as its Program says.
#pragma once

#include <map>
#include <vector>

#include "executor/comm/communicator.h"
#include "planner/program/instruction.h"

namespace shardwright {

// By channel of the rank's messages (Instruction::channel) the one on which they travel. Every two
// neighbouring chunks have channels of their own, and over NCCL each is a communicator, with some
// MiB of the device and time to connect. Messages of one kind from one rank to another may share
// the lowest of theirs where both ends take them in the same order, chunk by chunk and microbatch
// by microbatch: each end has them on one lane, so they wait for each other anyway. Where the
// orders differ, every channel stays as it is. Both ends come to the same answer.
using WireChannels = std::map<int, int>;
WireChannels wire_channels(const Program& program, const RankProgram& rank);

// Ascending, each once. `channels`: of the rank.
std::vector<Route> routes_of(const RankProgram& rank, const WireChannels& channels);

}  // namespace shardwright
