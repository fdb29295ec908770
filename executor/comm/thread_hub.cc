#include "executor/comm/thread_hub.h"

#include "costmodel/check.h"
#include "executor/comm/host_data.h"
#include "executor/comm/wait.h"
#include "executor/exec_error.h"

namespace shardwright {

GroupBoard& ThreadHub::board(const std::vector<int>& members) {
  const std::lock_guard<std::mutex> lock(mutex);
  auto& board = boards[members];
  if (!board) board = std::make_unique<GroupBoard>(static_cast<int>(members.size()), world.crowded);
  return *board;
}

Mailbox& ThreadHub::mailbox(int from, int to, int channel) {
  const std::lock_guard<std::mutex> lock(mutex);
  auto& mailbox = mailboxes[{from, to, channel}];
  if (!mailbox) mailbox = std::make_unique<Mailbox>(world.crowded);
  return *mailbox;
}

void ThreadHub::fail(int rank, const std::string& what) {
  world.alarm.raise(rank, what);
  // What is made after this is not woken, and need not be: its waiters look at the alarm first.
  const std::lock_guard<std::mutex> lock(mutex);
  for (auto& [members, board] : boards) board->arrived.wake();
  for (auto& [route, mailbox] : mailboxes) mailbox->wake();
}

Group& ThreadCommunicator::group(const std::vector<int>& members) {
  const int index = checked_index(members, rank_, size());
  const std::lock_guard<std::mutex> lock(mutex_);
  auto& group = groups_[members];
  if (!group) {
    group = std::make_unique<ThreadGroup>(members, index, hub_.world, hub_.board(members));
  }
  return *group;
}

void ThreadCommunicator::check_peers() {
  if (hub_.world.alarm.raised()) throw PeerFailed(rank_, "wait", hub_.world.alarm.reason());
}

Timing ThreadCommunicator::send(const void* data, int64_t elements, DataType type, int peer,
                                int channel) {
  SW_CHECK(peer >= 0 && peer < size(), "send to rank " << peer << " of " << size());
  Timing timing;
  timing.start_ns = monotonic_ns();
  hub_.mailbox(rank_, peer, channel).post(host_fp32(data, type), elements);
  timing.end_ns = monotonic_ns();
  return timing;
}

namespace {

std::string describe_receive(int64_t elements, int peer, int channel) {
  return "receive(" + std::to_string(elements) + " elements) from rank " + std::to_string(peer) +
         " on channel " + std::to_string(channel);
}

}  // namespace

Timing ThreadCommunicator::receive(void* data, int64_t elements, DataType type, int peer,
                                   int channel) {
  SW_CHECK(peer >= 0 && peer < size(), "receive from rank " << peer << " of " << size());
  Mailbox& mailbox = hub_.mailbox(peer, rank_, channel);
  const int64_t since_ns = monotonic_ns();
  const auto outcome = mailbox.await(hub_.world.deadline, hub_.world.alarm);
  Timing timing;
  timing.start_ns = monotonic_ns();
  const auto where = [&] { return describe_receive(elements, peer, channel); };
  if (outcome == Signal::Outcome::kFailed) {
    throw PeerFailed(rank_, where(), hub_.world.alarm.reason());
  }
  if (outcome != Signal::Outcome::kReached) {
    const auto waited = std::chrono::nanoseconds(timing.start_ns - since_ns);
    throw ExecError(rank_, where(),
                    "deadline: message " + std::to_string(mailbox.taken()) +
                        " is not there after " + in_milliseconds(waited));
  }
  const int64_t found = mailbox.take(host_fp32(data, type), elements);
  if (found != elements) {
    throw ExecError(rank_, where(), "the message has " + std::to_string(found) + " elements");
  }
  timing.end_ns = monotonic_ns();
  return timing;
}

}  // namespace shardwright
