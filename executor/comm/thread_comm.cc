#include "executor/comm/thread_comm.h"

#include <exception>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "costmodel/check.h"
#include "executor/comm/bind.h"
#include "executor/comm/thread_hub.h"
#include "executor/comm/wait.h"
#include "executor/exec_error.h"

namespace shardwright {

ThreadWorld::ThreadWorld(int size, std::chrono::nanoseconds deadline)
    : hub_(std::make_unique<ThreadHub>()) {
  SW_CHECK_GE(size, 1, "ranks of a world");
  hub_->world.size = size;
  hub_->world.deadline = deadline;
  hub_->world.crowded = size > usable_cores();
  for (int rank = 0; rank < size; ++rank) {
    hub_->communicators.push_back(std::make_unique<ThreadCommunicator>(*hub_, rank));
  }
}

ThreadWorld::~ThreadWorld() = default;

Communicator& ThreadWorld::communicator(int rank) {
  SW_CHECK(rank >= 0 && rank < hub_->world.size, "rank " << rank << " of " << hub_->world.size);
  return *hub_->communicators[static_cast<size_t>(rank)];
}

void ThreadWorld::fail(int rank, const std::string& what) { hub_->fail(rank, what); }

namespace {

// The failure to report of those that the ranks end with.
class RootCause {
 public:
  // Called inside a catch block. Returns what the failure says.
  std::string add_current() {
    const std::exception_ptr error = std::current_exception();
    try {
      throw;
    } catch (const PeerFailed& e) {
      keep(error, false);
      return e.what();
    } catch (const std::exception& e) {
      keep(error, true);
      return e.what();
    } catch (...) {
      keep(error, true);
      return "an exception of unknown type";
    }
  }

  void rethrow() {
    if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
  }

 private:
  void keep(const std::exception_ptr& error, bool is_root) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (error_ && (is_root_ || !is_root)) return;
    error_ = error;
    is_root_ = is_root;
  }

  std::mutex mutex_;
  std::exception_ptr error_;
  bool is_root_ = false;
};

}  // namespace

void run_ranks(int size, std::chrono::nanoseconds deadline,
               const std::function<void(Communicator&)>& body) {
  ThreadWorld world(size, deadline);
  RootCause cause;
  // Ranks that fill the machine get a core each; fewer leave the choice to the scheduler, because
  // another job may want the others.
  const bool bind = size > 1 && size == usable_cores();
  const auto run = [&](int rank) {
    try {
      if (bind) bind_to_core(rank);
      body(world.communicator(rank));
    } catch (...) {
      world.fail(rank, cause.add_current());
    }
  };
  {
    std::vector<std::jthread> threads;  // join at the end of the block
    for (int rank = 0; rank < size; ++rank) threads.emplace_back(run, rank);
  }
  cause.rethrow();
}

}  // namespace shardwright
