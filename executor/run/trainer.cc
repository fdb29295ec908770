#include "executor/run/trainer.h"

#include "executor/run/recorder.h"

namespace shardwright {

TrainResult train_rank(const ModelSpec& model, const Program& program, const StepTable& steps,
                       Ops& ops, Communicator& comm, const TrainOptions& options,
                       const SampleSource& samples, const StepDone& done, const RankEnd& at_end) {
  // Where stamps are not free, most steps are timed by instruction only: every Step of a kernel in
  // one of four tells as much.
  const auto detail = [&](int64_t step) { return ops.lanes().stamps_are_free() || step % 4 == 3; };
  Interpreter interpreter(model, program, steps, ops, comm, options.settings, samples);
  Recorder recorder;
  TrainResult result;
  for (int64_t step = 0; step < options.steps; ++step) {
    const int64_t start = monotonic_ns();
    const StepResult outcome = interpreter.run_step(step, detail(step));
    const bool record =
        step >= options.unrecorded_steps || options.steps <= options.unrecorded_steps;
    if (record && static_cast<int64_t>(recorder.steps()) < options.most_recorded) {
      recorder.add(interpreter.events());
    }
    if (comm.rank() != 0) continue;
    result.metrics.push_back(
        {step, outcome.loss, outcome.grad_norm, to_seconds(monotonic_ns() - start)});
    if (done) done(result.metrics.back());
  }
  recorder.gather(program, comm, interpreter.peak_bytes(), interpreter.peak_index(),
                  &result.measured, &result.makespans);
  if (at_end) at_end(interpreter);
  return result;
}

}  // namespace shardwright
