// The inside of ThreadWorld: the group boards and mailboxes that its ranks share, made when first
// asked for.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <tuple>
#include <vector>

#include "executor/comm/communicator.h"
#include "executor/comm/mailbox.h"
#include "executor/comm/thread_group.h"

namespace shardwright {

struct ThreadHub {
  GroupBoard& board(const std::vector<int>& members);
  Mailbox& mailbox(int from, int to, int channel);
  void fail(int rank, const std::string& what);

  ThreadWorldState world;
  std::mutex mutex;  // of the two maps
  std::map<std::vector<int>, std::unique_ptr<GroupBoard>> boards;
  std::map<std::tuple<int, int, int>, std::unique_ptr<Mailbox>> mailboxes;
  std::vector<std::unique_ptr<Communicator>> communicators;  // [size]
};

class ThreadCommunicator : public Communicator {
 public:
  // `hub` outlives the communicator.
  ThreadCommunicator(ThreadHub& hub, int rank) : hub_(hub), rank_(rank) {}

  int rank() const override { return rank_; }
  int size() const override { return hub_.world.size; }
  const char* backend() const override { return "threads"; }
  Group& group(const std::vector<int>& members) override;
  Timing send(const void* data, int64_t elements, DataType type, int peer, int channel) override;
  Timing receive(void* data, int64_t elements, DataType type, int peer, int channel) override;
  void check_peers() override;

 private:
  ThreadHub& hub_;
  const int rank_;
  std::mutex mutex_;  // of groups_
  std::map<std::vector<int>, std::unique_ptr<ThreadGroup>> groups_;
};

}  // namespace shardwright
