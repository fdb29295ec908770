// Starting the ranks of a run as processes: the command calls itself again under mpirun, and knows
// by inside_mpi_launch() that it is one of the ranks.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace shardwright {

// True in a process that mpirun or srun has started as one of several ranks (or as the only one
// under mpirun). Looks at the environment only.
bool inside_mpi_launch();

// Which of the ranks on its own host this process is, from 0, as the launcher says: mpirun of Open
// MPI, srun, or Hydra (MPICH, Intel MPI). Nothing outside of a launch, or under a launcher that
// does not say. Looks at the environment only.
std::optional<int> local_rank();

// Runs `command` (program and arguments) as `ranks` processes and waits until all have ended.
// Returns 0 when every rank returned 0; else a code that is not 0, of the first rank that failed
// (128 + signal for a killed one), with the other ranks ended. The ranks have no standard input;
// their standard output is passed on unchanged, the launcher's own messages go to standard error.
// hostfile: Open MPI's list of hosts and slots; empty for this machine, where there may be more
// ranks than cores. Throws ExecError when mpirun cannot be started.
int launch_mpi(int ranks, const std::vector<std::string>& command, const std::string& hostfile);

// The arguments that launch_mpi gives to mpirun, program name included.
std::vector<std::string> mpirun_arguments(int ranks, const std::vector<std::string>& command,
                                          const std::string& hostfile);

}  // namespace shardwright
