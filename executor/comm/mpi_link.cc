#include "executor/comm/mpi_link.h"

#include <algorithm>
#include <thread>

#include "executor/comm/collective_call.h"
#include "executor/comm/wait.h"
#include "executor/exec_error.h"

namespace shardwright {
namespace {

// Nothing wakes a process that waits for MPI. Among too many ranks a long wait looks only this
// often and leaves the cores to those who compute; a shorter one yields, which costs the others
// less than a late awakening.
constexpr std::chrono::microseconds kNap{20};
constexpr std::chrono::milliseconds kLongWait{1};

std::string text_of(int code) {
  char text[MPI_MAX_ERROR_STRING] = "";
  int length = 0;
  MPI_Error_string(code, text, &length);
  return std::string(text, static_cast<size_t>(length));
}

// Ranks that the unfinished requests are with.
std::vector<int> unfinished_peers(const RequestSet& set) {
  std::vector<int> ranks;
  for (size_t i = 0; i < set.requests.size(); ++i) {
    MPI_Request request = set.requests[i];
    int done = 0;
    MPI_Request_get_status(request, &done, MPI_STATUS_IGNORE);
    if (done == 0) ranks.push_back(set.peers[i]);
  }
  std::sort(ranks.begin(), ranks.end());
  ranks.erase(std::unique(ranks.begin(), ranks.end()), ranks.end());
  return ranks;
}

}  // namespace

MPI_Request* RequestSet::add(int peer) {
  peers.push_back(peer);
  return &requests.emplace_back(MPI_REQUEST_NULL);
}

void RequestSet::clear() {
  requests.clear();
  peers.clear();
}

MpiLink::MpiLink(MpiSession& s, std::chrono::nanoseconds limit, int64_t piece)
    : session(s), deadline(limit), piece_elements(piece) {
  duplicate_world(&messages);
  duplicate_world(&collectives);
  void* value = nullptr;
  int found = 0;
  MPI_Comm_get_attr(MPI_COMM_WORLD, MPI_TAG_UB, &value, &found);
  highest_tag = found != 0 ? *static_cast<int*>(value) : 32767;  // the least that MPI allows
}

MpiLink::~MpiLink() {
  if (session.failed()) return;
  MPI_Comm_free(&messages);
  MPI_Comm_free(&collectives);
}

void MpiLink::duplicate_world(MPI_Comm* into) {
  const Where where = [] { return std::string("start of the communicator"); };
  RequestSet set;
  check(MPI_Comm_idup(MPI_COMM_WORLD, into, set.add(session.rank())), where);
  await(set, "all ranks", where);
  check(MPI_Comm_set_errhandler(*into, MPI_ERRORS_RETURN), where);
}

void MpiLink::check_usable(const Where& where) const {
  if (session.failed()) {
    throw ExecError(session.rank(), where(), "not possible after the earlier failure");
  }
}

void MpiLink::check(int code, const Where& where) {
  if (code != MPI_SUCCESS) fail(where, text_of(code));
}

void MpiLink::fail(const Where& where, const std::string& what) {
  session.mark_failed();
  throw ExecError(session.rank(), where(), what);
}

void MpiLink::poll_until(const std::function<bool()>& poll, const Where& late, const Where& where) {
  if (poll()) return;
  Wait wait(deadline, session.crowded());
  while (!poll()) {
    const Wait::Next next = wait.pause();
    if (next == Wait::Next::kLate) {
      fail(where, "deadline: " + late() + " after " + in_milliseconds(wait.elapsed()));
    }
    if (next != Wait::Next::kSleep) continue;
    if (session.crowded() && wait.elapsed() > kLongWait) {
      std::this_thread::sleep_for(kNap);
    } else {
      std::this_thread::yield();
    }
  }
}

void MpiLink::await(RequestSet& set, const char* what, const Where& where) {
  if (set.requests.empty()) return;
  const int count = static_cast<int>(set.requests.size());
  statuses_.resize(set.requests.size());
  const auto poll = [&] {
    int done = 0;
    const int code = MPI_Testall(count, set.requests.data(), &done, statuses_.data());
    if (code == MPI_ERR_IN_STATUS) {
      for (const MPI_Status& status : statuses_) {
        if (status.MPI_ERROR != MPI_ERR_PENDING) check(status.MPI_ERROR, where);
      }
    }
    check(code, where);
    return done != 0;
  };
  const auto late = [&] {
    return std::string(what) + " not exchanged with rank(s) " + to_string(unfinished_peers(set));
  };
  poll_until(std::cref(poll), std::cref(late), where);
  set.clear();
}

}  // namespace shardwright
