#include "executor/comm/launch.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdlib>
#include <cstring>

#include "executor/comm/wait.h"
#include "executor/exec_error.h"

namespace shardwright {
namespace {

// Open MPI copies between processes with process_vm_readv when it can; where the system forbids the
// call it warns on every start. The launcher asks first, on its own memory.
bool single_copy_permitted() {
  char from = 1, to = 0;
  const iovec local{&to, 1}, remote{&from, 1};
  return process_vm_readv(getpid(), &local, 1, &remote, 1, 0) == 1;
}

[[noreturn]] void fail(const std::string& what) { throw ExecError(0, "launch of mpirun", what); }

// Between fork and exec only async-signal-safe calls: other threads may hold any lock.
[[noreturn]] void become(char* const* argv, pid_t parent, int report) {
  // A launcher that is killed takes its run along.
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (getppid() != parent) _exit(128 + SIGTERM);
  execvp(argv[0], argv);
  const int error = errno;
  const ssize_t ignored = write(report, &error, sizeof(error));
  _exit(ignored == sizeof(error) ? 127 : 126);
}

// Starts the program and returns its process once it runs.
pid_t start(char* const* argv) {
  int report[2];  // carries errno of a failed exec; closed by a successful one
  if (pipe2(report, O_CLOEXEC) != 0) fail(std::strerror(errno));
  const pid_t parent = getpid();
  const pid_t child = fork();
  if (child == 0) become(argv, parent, report[1]);
  int error = child < 0 ? errno : 0;
  close(report[1]);
  if (child > 0 && read(report[0], &error, sizeof(error)) == sizeof(error)) {
    waitpid(child, nullptr, 0);
  }
  close(report[0]);
  if (error != 0) fail(std::strerror(error));
  return child;
}

int exit_code_of(pid_t child) {
  int status = 0;
  while (waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) fail(std::strerror(errno));
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

// A batch job sets SLURM_PROCID also for the script that has yet to start the ranks.
bool inside_srun() {
  const char* tasks = std::getenv("SLURM_STEP_NUM_TASKS");
  return std::getenv("SLURM_PROCID") != nullptr && tasks != nullptr && std::atoi(tasks) > 1;
}

// The value of an environment variable, if it is a whole number that is not negative.
std::optional<int> whole_number(const char* name) {
  const char* text = std::getenv(name);
  if (text == nullptr) return std::nullopt;
  int value = 0;
  const char* const end = text + std::strlen(text);
  const auto parsed = std::from_chars(text, end, value);
  if (parsed.ec != std::errc() || parsed.ptr != end || value < 0) return std::nullopt;
  return value;
}

}  // namespace

bool inside_mpi_launch() {
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK"}) {
    const char* value = std::getenv(name);
    if (value != nullptr && *value != 0) return true;
  }
  return inside_srun();
}

std::optional<int> local_rank() {
  // mpirun inside a batch job: what mpirun says is about its ranks, what Slurm says is not.
  for (const char* name : {"OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID"}) {
    if (const auto rank = whole_number(name)) return rank;
  }
  return inside_srun() ? whole_number("SLURM_LOCALID") : std::nullopt;
}

std::vector<std::string> mpirun_arguments(int ranks, const std::vector<std::string>& command,
                                          const std::string& hostfile) {
  // No binding: a rank's own threads need the cores that are free, and Open MPI would bind two
  // ranks of different runs to the same core.
  std::vector<std::string> arguments = {
      "mpirun", "-n", std::to_string(ranks), "--bind-to", "none", "--stdin", "none"};
  const auto add = [&](std::initializer_list<const char*> more) {
    arguments.insert(arguments.end(), more.begin(), more.end());
  };
  if (!hostfile.empty()) {
    add({"--hostfile", hostfile.c_str()});
  } else {
    // Always: Open MPI's count of cores differs from ours on machines with hardware threads.
    add({"--oversubscribe", "--mca", "mpi_yield_when_idle", ranks > usable_cores() ? "1" : "0"});
  }
  if (!single_copy_permitted()) add({"--mca", "btl_vader_single_copy_mechanism", "none"});
  arguments.insert(arguments.end(), command.begin(), command.end());
  return arguments;
}

int launch_mpi(int ranks, const std::vector<std::string>& command, const std::string& hostfile) {
  std::vector<std::string> arguments = mpirun_arguments(ranks, command, hostfile);
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  if (geteuid() == 0) {  // containers; elsewhere Open MPI's refusal is kept
    setenv("OMPI_ALLOW_RUN_AS_ROOT", "1", 1);
    setenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1", 1);
  }
  return exit_code_of(start(argv.data()));
}

}  // namespace shardwright
