// The answers of a build without MPI: nothing that joins an MPI launch gets past its first line.
#include <exception>

#include "executor/comm/mpi_comm.h"
#include "executor/exec_error.h"

namespace shardwright {

MpiSession::MpiSession() : exceptions_at_start_(std::uncaught_exceptions()) {
  throw ExecError(0, "mpi", "this build has no MPI (SHARDWRIGHT_MPI is off): ranks are threads");
}
MpiSession::~MpiSession() = default;
void MpiSession::abort(int) { std::terminate(); }

std::unique_ptr<Communicator> make_mpi_communicator(MpiSession&, std::chrono::nanoseconds,
                                                    int64_t) {
  throw ExecError(0, "mpi", "this build has no MPI");
}

}  // namespace shardwright
