// A training session on this machine: starts the ranks of a plan (as threads, or as one of the
// processes of an MPI launch), trains, and leaves a run folder behind.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "executor/run/run_folder.h"
#include "executor/run/trainer.h"
#include "planner/plan.h"

namespace shardwright {

struct SessionRequest {
  ModelSpec model;
  Plan plan;
  std::string plan_text;  // written to the run folder as it is
  std::string data;       // path of the text
  std::string out;        // run folder
  TrainOptions options;
  RunDevice device = RunDevice::kCpu;
  std::chrono::nanoseconds deadline{std::chrono::seconds(120)};  // of every single wait
};

struct SessionReport {
  TrainResult result;
  Bytes peak_bytes = 0;
  double tokens_per_s = 0;  // from the median step
};

// Starts all ranks of a session and calls the body on each, with its communicator and kernels;
// throws what failed. Given by the caller, so that this file knows neither threads nor MPI nor
// devices. `peak_bytes`: what the Program says that each rank will hold at once (on GPUs:
// device_peaks() in finished_sends.h).
using RankBody = std::function<void(Communicator&, Ops&)>;
using RankStarter = std::function<void(const std::vector<Bytes>& peak_bytes, const RankBody&)>;

// Everything that can be refused is refused before a rank starts and before the folder is made: the
// model, the data, a program that does not verify. `writes`: this process holds rank 0 and owns the
// folder. Throws ExecError when a rank fails while running.
Result<SessionReport> run_session(const SessionRequest& request, const char* backend, bool writes,
                                  const RankStarter& start, const StepDone& done);

}  // namespace shardwright
