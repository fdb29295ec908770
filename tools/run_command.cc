#include "tools/run_command.h"

#include <unistd.h>

#include <cstdio>
#include <nlohmann/json.hpp>
#include <thread>

#include "executor/comm/device_sharing.h"
#include "executor/comm/launch.h"
#include "executor/comm/mpi_comm.h"
#include "executor/comm/thread_comm.h"
#include "executor/cpu/cpu_ops.h"
#include "executor/cuda/backend.h"
#include "executor/exec_error.h"
#include "executor/profile/machine_info.h"
#include "executor/run/session.h"
#include "planner/plan_json.h"
#include "tools/exit_codes.h"

namespace shardwright {
namespace {

// A plan is for the machine that it was made for: its prediction means nothing elsewhere.
std::optional<Error> check_device(const RunArguments& arguments, const LoadedPlan& loaded,
                                  const std::string& here) {
  const std::string& device = loaded.cluster.device_of(0).name;
  if (device == here) return std::nullopt;
  return Error{arguments.plan, "cluster", "a plan for " + device,
               "one for " + here + ", this machine (--any-machine runs it all the same)"};
}

std::optional<Error> check_machine(const RunArguments& arguments, const LoadedPlan& loaded) {
  if (arguments.device == RunDevice::kCuda) {
    const auto gpus = find_gpus();
    if (!gpus) return gpus.error();
    if (arguments.any_machine) return std::nullopt;
    return check_device(arguments, loaded, gpus->front().device);
  }
  if (arguments.any_machine) return std::nullopt;
  const std::string here = core_name(read_machine_info().cpu_model);
  if (auto error = check_device(arguments, loaded, here)) return error;
  const int64_t cores = static_cast<int64_t>(std::thread::hardware_concurrency());
  const int64_t ranks = loaded.plan.ranks();
  if (ranks > cores && arguments.hostfile.empty() && !inside_mpi_launch()) {
    return Error{arguments.plan, "ranks", std::to_string(ranks),
                 "at most " + std::to_string(cores) +
                     ", the cores of this machine (--any-machine runs it all the same)"};
  }
  return std::nullopt;
}

// Switches of the GPU backend that would change nothing.
std::optional<Error> check_switches(const RunArguments& arguments, const LoadedPlan& loaded) {
  if (arguments.device == RunDevice::kCpu) {
    for (const auto& [name, on] : {std::pair{"--cuda-graph", arguments.cuda_graph},
                                   {"--fused-gelu", arguments.fused_gelu}}) {
      if (on) return Error{"command line", name, "--device cpu", "--device cuda"};
    }
  }
  if (arguments.fused_gelu && loaded.plan.precision != DataType::kBf16) {
    return Error{"command line", "--fused-gelu",
                 "a plan in " + std::string(name_of(loaded.plan.precision)), "one in bf16"};
  }
  return std::nullopt;
}

class Printer {
 public:
  Printer(const RunArguments& arguments, const Plan& plan, std::ostream& out)
      : arguments_(arguments), plan_(plan), out_(out) {}

  void step(const StepMetrics& metrics) const {
    if (arguments_.json || !isatty(STDOUT_FILENO)) return;
    out_ << "\rstep " << metrics.step + 1 << "/" << arguments_.options.steps << "  loss "
         << metrics.loss << "  " << tokens_per_s(metrics) << " tokens/s   " << std::flush;
    if (metrics.step + 1 == arguments_.options.steps) out_ << "\n";
  }

  void report(const SessionReport& session, const char* backend) const {
    const auto& metrics = session.result.metrics;
    const double step_s = static_cast<double>(plan_.tokens_per_step()) / session.tokens_per_s;
    if (arguments_.json) {
      const Json json = {{"plan", plan_.label()},
                         {"ranks", plan_.ranks()},
                         {"backend", backend},
                         {"steps", arguments_.options.steps},
                         {"loss_first", metrics.front().loss},
                         {"loss_last", metrics.back().loss},
                         {"step_time_s", step_s},
                         {"tokens_per_s", session.tokens_per_s},
                         {"memory_peak_bytes", session.peak_bytes},
                         {"out", arguments_.out}};
      out_ << json.dump(1) << "\n";
      return;
    }
    char line[256];
    std::snprintf(line, sizeof line,
                  "%s on %lld ranks (%s): %lld steps, loss %.4f -> %.4f\n"
                  "step %.2f ms, %.0f tokens/s, peak memory %.1f MiB a rank\n",
                  plan_.label().c_str(), static_cast<long long>(plan_.ranks()), backend,
                  static_cast<long long>(arguments_.options.steps), metrics.front().loss,
                  metrics.back().loss, step_s * 1e3, session.tokens_per_s,
                  static_cast<double>(session.peak_bytes) / (1 << 20));
    out_ << line << "measured: " << arguments_.out << " (shardwright compare " << arguments_.out
         << ")\n";
  }

 private:
  int64_t tokens_per_s(const StepMetrics& metrics) const {
    return static_cast<int64_t>(static_cast<double>(plan_.tokens_per_step()) / metrics.seconds);
  }
  const RunArguments& arguments_;
  const Plan& plan_;
  std::ostream& out_;
};

SessionRequest request_of(const RunArguments& arguments, const LoadedPlan& loaded) {
  SessionRequest request;
  request.model = loaded.model;
  request.plan = loaded.plan;
  request.plan_text = loaded.text;
  request.data = arguments.data;
  request.out = arguments.out;
  request.options = arguments.options;
  request.options.settings.optimizer = loaded.plan.optimizer;
  request.device = arguments.device;
  request.deadline = std::chrono::nanoseconds(static_cast<int64_t>(arguments.deadline_s * 1e9));
  return request;
}

// How the ranks of a run compute and talk, and what that is called.
class RankSetup {
 public:
  // `bootstrap`: "threads" or "mpi".
  RankSetup(const RunArguments& arguments, const SessionRequest& request, std::string bootstrap)
      : request_(request), name_(std::move(bootstrap)) {
    if (request.device != RunDevice::kCuda) return;
    gpus_ = static_cast<int>(find_gpus()->size());
    gpu_.type = request.plan.precision;
    gpu_.graph = arguments.cuda_graph;
    gpu_.fused_gelu = arguments.fused_gelu;
    gpu_.deadline = request.deadline;
    parse_gpu_comm(arguments.gpu_comm, &gpu_.comm);
    name_ = "cuda, " + arguments.gpu_comm + " over " + name_;
  }

  const char* name() const { return name_.c_str(); }

  // One rank, which talks over `host` or uses it to find the others; `local` counts on this host.
  void run_rank(Communicator& host, int local, Bytes peak_bytes, const RankBody& body) const {
    if (request_.device == RunDevice::kCpu) {
      const std::unique_ptr<Ops> ops = make_cpu_ops(host.rank());
      return body(host, *ops);
    }
    GpuRankOptions options = gpu_;
    options.gpu = device_for(local, gpus_);
    // Blocks are rounded up to 256 bytes and leave gaps between them.
    options.arena_bytes = peak_bytes + peak_bytes / 16 + (Bytes{64} << 20);
    const std::unique_ptr<GpuRank> rank = make_gpu_rank(host, options);
    body(rank->comm(), rank->ops());
  }

 private:
  const SessionRequest& request_;
  std::string name_;
  int gpus_ = 0;
  GpuRankOptions gpu_;
};

int run_threads(const RunArguments& arguments, const SessionRequest& request, std::ostream& out,
                std::ostream& err) {
  const Printer printer(arguments, request.plan, out);
  const RankSetup setup(arguments, request, "threads");
  const auto start = [&](const std::vector<Bytes>& peaks, const RankBody& body) {
    run_ranks(static_cast<int>(request.plan.ranks()), request.deadline, [&](Communicator& host) {
      setup.run_rank(host, host.rank(), peaks[host.rank()], body);
    });
  };
  const auto session = run_session(request, setup.name(), true, start,
                                   [&](const StepMetrics& m) { printer.step(m); });
  if (!session) {
    err << session.error().line() << "\n";
    return kExitBadInput;
  }
  printer.report(*session, setup.name());
  return kExitOk;
}

// This process is one rank of an MPI launch.
int run_joined(const RunArguments& arguments, const SessionRequest& request, std::ostream& out,
               std::ostream& err) {
  MpiSession mpi;
  const bool first = mpi.rank() == 0;
  if (mpi.size() != request.plan.ranks()) {
    if (first) {
      err << Error{arguments.plan, "ranks", std::to_string(request.plan.ranks()),
                   std::to_string(mpi.size()) + ", the processes of this launch"}
                 .line()
          << "\n";
    }
    return kExitBadInput;
  }
  const Printer printer(arguments, request.plan, out);
  const RankSetup setup(arguments, request, "mpi");
  const auto start = [&](const std::vector<Bytes>& peaks, const RankBody& body) {
    const auto host = make_mpi_communicator(mpi, request.deadline);
    setup.run_rank(*host, local_rank().value_or(mpi.rank()), peaks[host->rank()], body);
  };
  try {
    const auto session = run_session(request, setup.name(), first, start,
                                     [&](const StepMetrics& m) { printer.step(m); });
    if (session) {
      if (first) printer.report(*session, setup.name());
      return kExitOk;
    }
    if (first) err << session.error().line() << std::endl;
    mpi.abort(kExitBadInput);
  } catch (const ExecError& error) {
    err << error.what() << std::endl;
    mpi.abort(kExitRunFailed);
  }
}

}  // namespace

int run_run(const RunArguments& arguments, std::ostream& out, std::ostream& err) {
  const auto loaded = load_plan(arguments.plan, default_profiles_dir());
  std::optional<Error> error;
  if (!loaded) error = loaded.error();
  if (!error && !loaded->stack.empty()) {
    error = Error{arguments.plan, "stack", loaded->stack,
                  "a plan for this program's own executor (plan --stack shardwright)"};
  }
  if (!error) error = check_switches(arguments, *loaded);
  if (!error) error = check_machine(arguments, *loaded);
  if (error) {
    err << error->line() << "\n";
    return kExitBadInput;
  }
  const SessionRequest request = request_of(arguments, *loaded);
  if (inside_mpi_launch()) return run_joined(arguments, request, out, err);
  if (arguments.ranks_as == "processes") {
    return launch_mpi(static_cast<int>(request.plan.ranks()), arguments.command_line,
                      arguments.hostfile);
  }
  return run_threads(arguments, request, out, err);
}

}  // namespace shardwright
