// Ranks as threads of one process: the backend for one machine without a launcher, and for tests.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "executor/comm/communicator.h"

namespace shardwright {

struct ThreadHub;

// The ranks that talk to each other. Each rank's communicator is used by that rank's thread; a rank
// may use more threads as long as no two are in the same group or receive from the same peer and
// channel at once.
class ThreadWorld {
 public:
  // deadline: of every single wait; past it the waiting rank throws ExecError and, having given
  // up in the middle of a collective, must not use that group again.
  ThreadWorld(int size, std::chrono::nanoseconds deadline);
  ~ThreadWorld();
  ThreadWorld(const ThreadWorld&) = delete;
  ThreadWorld& operator=(const ThreadWorld&) = delete;

  // Valid as long as the world. REQUIRES: 0 <= rank < size.
  Communicator& communicator(int rank);

  // Ends all present and future waits with PeerFailed, which carries `what`. The first call counts.
  void fail(int rank, const std::string& what);

 private:
  std::unique_ptr<ThreadHub> hub_;
};

// Runs `body` once per rank, each on its own thread, and returns when all have ended. When one
// throws, the world fails and what it threw is rethrown here: the first that is not a PeerFailed,
// because those only follow from another failure.
void run_ranks(int size, std::chrono::nanoseconds deadline,
               const std::function<void(Communicator&)>& body);

}  // namespace shardwright
