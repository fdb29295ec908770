#include "executor/comm/mpi_comm.h"

#include <mpi.h>
#include <sched.h>

#include <cstdlib>
#include <exception>
#include <map>
#include <vector>

#include "costmodel/check.h"
#include "executor/comm/collective_call.h"
#include "executor/comm/host_data.h"
#include "executor/comm/mpi_group.h"
#include "executor/comm/mpi_messages.h"
#include "executor/exec_error.h"

namespace shardwright {
namespace {

// Whether the ranks of this machine outnumber the cores that at least one of them may run on;
// mpirun may have bound each to a core of its own.
bool more_ranks_than_cores() {
  MPI_Comm machine = MPI_COMM_NULL;
  MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &machine);
  int ranks = 1;
  MPI_Comm_size(machine, &ranks);
  cpu_set_t cores;
  CPU_ZERO(&cores);
  sched_getaffinity(0, sizeof(cores), &cores);
  MPI_Allreduce(MPI_IN_PLACE, &cores, sizeof(cores), MPI_BYTE, MPI_BOR, machine);
  MPI_Comm_free(&machine);
  return ranks > CPU_COUNT(&cores);
}

class MpiCommunicator : public Communicator {
 public:
  MpiCommunicator(MpiSession& session, std::chrono::nanoseconds deadline, int64_t piece_elements)
      : link_(session, deadline, piece_elements), messages_(link_) {}

  int rank() const override { return link_.session.rank(); }
  int size() const override { return link_.session.size(); }
  const char* backend() const override { return "mpi"; }

  Group& group(const std::vector<int>& members) override {
    const int index = checked_index(members, rank(), size());
    auto& group = groups_[members];
    if (!group) group = std::make_unique<MpiGroup>(members, index, link_);
    return *group;
  }

  Timing send(const void* data, int64_t elements, DataType type, int peer, int channel) override {
    SW_CHECK(peer >= 0 && peer < size(), "send to rank " << peer << " of " << size());
    const int64_t start_ns = monotonic_ns();
    messages_.post(host_fp32(data, type), elements, peer, channel);
    return {start_ns, monotonic_ns()};
  }

  Timing receive(void* data, int64_t elements, DataType type, int peer, int channel) override {
    SW_CHECK(peer >= 0 && peer < size(), "receive from rank " << peer << " of " << size());
    const int64_t start_ns = messages_.receive(host_fp32(data, type), elements, peer, channel);
    return {start_ns, monotonic_ns()};
  }

 private:
  MpiLink link_;  // first: the others use it until they are gone
  MpiMessages messages_;
  std::map<std::vector<int>, std::unique_ptr<MpiGroup>> groups_;
};

}  // namespace

MpiSession::MpiSession() : exceptions_at_start_(std::uncaught_exceptions()) {
  int provided = MPI_THREAD_SINGLE;
  // Kernels run threads of their own, but only the rank's own thread calls MPI.
  if (MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided) != MPI_SUCCESS ||
      provided < MPI_THREAD_FUNNELED) {
    throw ExecError(0, "start of MPI", "MPI does not start with support for threads");
  }
  MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank_);
  MPI_Comm_size(MPI_COMM_WORLD, &size_);
  crowded_ = more_ranks_than_cores();
}

MpiSession::~MpiSession() {
  // MPI_Finalize waits for all ranks and has no deadline. Without it mpirun takes the end of this
  // process for a failure and ends the others.
  if (failed_ || std::uncaught_exceptions() > exceptions_at_start_) return;
  MPI_Finalize();
}

void MpiSession::abort(int code) {
  MPI_Abort(MPI_COMM_WORLD, code);
  std::_Exit(code);
}

std::unique_ptr<Communicator> make_mpi_communicator(MpiSession& session,
                                                    std::chrono::nanoseconds deadline,
                                                    int64_t piece_elements) {
  SW_CHECK(piece_elements >= 1 && piece_elements <= (int64_t{1} << 30),
           "piece of " << piece_elements << " elements");
  return std::make_unique<MpiCommunicator>(session, deadline, piece_elements);
}

}  // namespace shardwright
