// What groups and messages of one rank under MPI share: communicators, errors, and the one way to
// wait. MPI makes progress only inside its calls, so every wait tests until done; each test moves
// all outstanding messages of the rank, posted sends too.
#pragma once

#include <mpi.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "executor/comm/mpi_comm.h"

namespace shardwright {

// Describes the operation under way; called only when it fails.
using Where = std::function<std::string()>;

template <typename T>
MPI_Datatype mpi_type();
template <>
inline MPI_Datatype mpi_type<float>() {
  return MPI_FLOAT;
}
template <>
inline MPI_Datatype mpi_type<double>() {
  return MPI_DOUBLE;
}

// Requests that are awaited together. Keeps its memory between uses.
struct RequestSet {
  std::vector<MPI_Request> requests;
  std::vector<int> peers;  // rank at the other end of each

  MPI_Request* add(int peer);
  void clear();
};

struct MpiLink {
  // The two communicators are duplicates of the world's: nothing else can match their messages.
  MpiLink(MpiSession& session, std::chrono::nanoseconds deadline, int64_t piece_elements);
  ~MpiLink();
  MpiLink(const MpiLink&) = delete;
  MpiLink& operator=(const MpiLink&) = delete;

  // Throws when an earlier call has failed.
  void check_usable(const Where& where) const;
  void check(int code, const Where& where);
  // Marks the session failed and throws ExecError.
  [[noreturn]] void fail(const Where& where, const std::string& what);

  // Tests until all are done and clears the set. `what`, e.g. "data", is named when it fails.
  void await(RequestSet& set, const char* what, const Where& where);
  // Calls `poll` until it returns true; past the deadline calls `late`, which describes it.
  void poll_until(const std::function<bool()>& poll, const Where& late, const Where& where);

  MpiSession& session;
  const std::chrono::nanoseconds deadline;
  const int64_t piece_elements;
  MPI_Comm messages = MPI_COMM_NULL;
  MPI_Comm collectives = MPI_COMM_NULL;
  int highest_tag = 0;

 private:
  void duplicate_world(MPI_Comm* into);
  std::vector<MPI_Status> statuses_;
};

}  // namespace shardwright
