// Ranks as processes under Open MPI: the backend for real runs on one machine or several. No MPI
// header is needed to use it.
//
// Any ExecError of this backend is final: data may still be on its way into memory that the caller
// has freed, so every later call throws and the session ends without MPI_Finalize. The process
// should then return a code that is not 0, or call abort(); mpirun ends the other ranks. A rank
// never sees PeerFailed here: when another one dies, mpirun ends it.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>

#include "executor/comm/communicator.h"
#include "executor/comm/launch.h"

namespace shardwright {

// MPI from initialisation to finalisation; one per process, and MPI cannot be started again.
class MpiSession {
 public:
  MpiSession();  // throws ExecError
  // Finalises, which waits for all ranks; not after a failure or while an exception is on its way.
  ~MpiSession();
  MpiSession(const MpiSession&) = delete;
  MpiSession& operator=(const MpiSession&) = delete;

  int rank() const { return rank_; }
  int size() const { return size_; }
  // More ranks on this machine than cores that they may run on together.
  bool crowded() const { return crowded_; }

  // Ends all ranks; mpirun returns `code`.
  [[noreturn]] void abort(int code);

  void mark_failed() { failed_ = true; }
  bool failed() const { return failed_; }

 private:
  int rank_ = 0;
  int size_ = 1;
  bool crowded_ = false;
  bool failed_ = false;
  int exceptions_at_start_;
};

// Elements in one MPI message: longer data goes in pieces, so that counts fit an int and the
// scratch memory of a reduction is (members - 1) pieces.
inline constexpr int64_t kMpiPieceElements = int64_t{1} << 20;

// All ranks of the session must call this together; the session must outlive the communicator.
// Used by one thread at a time.
//
// A posted message reaches a receiver while its sender computes only when it is shorter than 4 KiB
// or Open MPI may copy from the other process (the usual case on one machine); else it leaves
// during later calls of the sender.
//
// deadline: of every single wait. Its destructor waits for posted
// messages to leave, at most that long.
//
// Timing.start_ns of a collective is when the announcements of all members, which go ahead of the
// data, have arrived; of a receive, when the message has (a long one: its first part).
std::unique_ptr<Communicator> make_mpi_communicator(MpiSession& session,
                                                    std::chrono::nanoseconds deadline,
                                                    int64_t piece_elements = kMpiPieceElements);

}  // namespace shardwright
