#include "executor/run/session.h"

#include <algorithm>

#include "costmodel/check.h"
#include "executor/data/text_data.h"
#include "executor/exec_error.h"
#include "executor/model/chunk_runner.h"
#include "planner/evaluate.h"
#include "planner/program/finished_sends.h"
#include "planner/program/verify.h"

namespace shardwright {
namespace {

// A failed write of the folder while training ends the run like any other failure of rank 0.
void require_written(const std::optional<Error>& error) {
  if (error) throw ExecError(0, "run folder", error->line());
}

}  // namespace

Result<SessionReport> run_session(const SessionRequest& request, const char* backend, bool writes,
                                  const RankStarter& start, const StepDone& done) {
  const Plan& plan = request.plan;
  if (auto error = check_executable(request.model, plan, request.device)) {
    return *error;
  }
  const auto data = TextData::open(request.data, plan.seq, plan.global_batch, request.model.vocab,
                                   request.options.settings.init.seed);
  if (!data) return data.error();
  // CPU ranks move messages only while somebody copies them; devices have a stream for every lane.
  const bool on_gpus = request.device != RunDevice::kCpu;
  const ModelSpec model = own_model(request.model, on_gpus);
  const Program program = compile(model, plan, {.overlap = on_gpus});
  const VerifyReport report = verify(program);
  SW_CHECK(report.ok(), plan.label() << "\n" << problem_table(program, report));
  const StepTable steps(model, program, plan.optimizer);

  std::optional<RunFolder> folder;
  if (writes) {
    Result<RunFolder> made = RunFolder::create(request.out, request.plan_text);
    if (!made) return made.error();
    folder.emplace(std::move(made).value());
  }
  const SampleSource samples = [&](int64_t number, int32_t* tokens, int32_t* targets) {
    (*data)->sample(number, tokens, targets);
  };
  const StepDone write_and_tell = [&](const StepMetrics& metrics) {
    if (folder) require_written(folder->add(metrics, plan.tokens_per_step()));
    if (done) done(metrics);
  };
  std::vector<Bytes> peaks = report.peak_bytes;
  if (on_gpus) {
    const std::vector<RankPeak> held = device_peaks(program);
    std::transform(held.begin(), held.end(), peaks.begin(),
                   [](const RankPeak& peak) { return peak.bytes; });
  }
  SessionReport session;
  start(peaks, [&](Communicator& comm, Ops& ops) {
    TrainResult result =
        train_rank(model, program, steps, ops, comm, request.options, samples, write_and_tell);
    if (comm.rank() == 0) session.result = std::move(result);
  });
  if (!writes) return session;
  const RunSummary summary{plan.ranks(), request.options.steps, plan.tokens_per_step(), backend,
                           session.result.makespans};
  if (auto error = folder->finish(summary, session.result.measured)) return *error;
  session.peak_bytes = session.result.measured.peak_bytes();
  session.tokens_per_s =
      static_cast<double>(plan.tokens_per_step()) / to_seconds(summary.median_makespan());
  return session;
}

}  // namespace shardwright
