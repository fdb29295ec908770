// Ranks that are GPUs over NCCL. A host communicator (threads or MPI) is the bootstrap: it carries
// the ids of NCCL's communicators, barriers, and the news that a peer has failed.
//
// Which NCCL communicators there are: one per group, and one per route of messages (from, to,
// channel). A channel lies on one lane at either end, so the calls of one communicator of messages
// all lie on one stream and can neither overtake one another nor wait for another lane's. With one
// communicator per pair of ranks, activations and gradients would be ordered among each other in
// the order in which the host gave them, which differs between the two ends. A pipeline rank has at
// most two neighbours and two directions, so this costs four small communicators: with several
// chunks a stage too, whose messages share a channel where both ends agree on the order (routes.h).
//
// Calls of two groups with the same members (say dp and all ranks) share a communicator; the
// Program orders them.
//
// NCCL's kernels wait on the device for their peers, so all that may be under way at once must fit
// on the device together: kGroupCtas on each of the two lanes with collectives and kMessageCtas on
// each of the four with messages are 96 blocks, and an A100 has 108 processors.
//
// What differs from host communicators:
// - send() is over when the receiver has the data, not when the data is copied; until then the data
//   must stay. Work given to the same lane later comes after it. A Program that has communication
//   on its compute lane deadlocks here as it would with blocking sends: compile with overlap.
// - Lengths of messages and collectives must agree; that the Program is verified is the check.
// - all_reduce adds in an order of NCCL's own, the same in every run on the same ranks.
// - Timing is two stamps around the call: waiting for the others is inside it. Between steps it is
// of
//   the host's clock, and of giving the call to the device only.
//
// Any failure is final: all NCCL communicators of the rank are aborted, every later call throws.
#pragma once

#include <chrono>
#include <memory>

#include "executor/comm/nccl_api.h"
#include "executor/comm/stream_source.h"
#include "executor/ops.h"

namespace shardwright {

// Blocks that a call may occupy on the device. Whether 8 reach the full rate of NVLink for messages
// is not measured.
struct NcclLimits {
  int group_ctas = 32;
  int message_ctas = 8;
};
// Where several ranks share a GPU they all have to fit.
inline constexpr NcclLimits kSharedGpuLimits{2, 1};

// All references must outlive the communicator, which is used by the rank's own thread only, with
// its device current. Groups and connect() wait for all their members and are used between steps.
// Until each call has been made once in a step, it may connect further and make the host wait for
// the other members: leave out the first step when measuring or recording.
std::unique_ptr<Communicator> make_nccl_communicator(std::shared_ptr<NcclApi> api,
                                                     Communicator& host, Ops& ops,
                                                     StreamSource& streams,
                                                     std::chrono::nanoseconds deadline,
                                                     NcclLimits limits = {});

}  // namespace shardwright
