#include "tests/bench/choice_run.h"

#include <algorithm>
#include <memory>

#include "costmodel/check.h"
#include "executor/comm/thread_comm.h"
#include "executor/cpu/cpu_ops.h"
#include "executor/run/trainer.h"
#include "planner/evaluate.h"
#include "planner/program/verify.h"
#include "tests/bench/machine_load.h"

namespace shardwright {
namespace {

Nanoseconds median(std::vector<Nanoseconds> values) {
  std::sort(values.begin(), values.end());
  return values.at(values.size() / 2);
}

// Tokens of no meaning: the time of a step does not depend on them.
void random_sample(int64_t vocab, int64_t seq, int64_t number, int32_t* tokens, int32_t* targets) {
  uint64_t state = static_cast<uint64_t>(number) + 1;
  const auto next = [&] {
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    return static_cast<int32_t>((state >> 33) % static_cast<uint64_t>(vocab));
  };
  for (int64_t t = 0; t < seq; ++t) {
    tokens[t] = next();
    targets[t] = next();
  }
}

// One plan, ready to be run again and again. The weights live only while it runs.
class PlanRunner {
 public:
  PlanRunner(const ModelSpec& model, const ClusterSpec& cluster, const Plan& plan)
      : model_(model),
        plan_(plan),
        program_(compile(model, plan, options_for(cluster, plan, true))),
        steps_(model, program_, plan.optimizer),
        predicted_(simulate(program_, Readiness(program_), price(program_, steps_, cluster))) {
    const VerifyReport report = verify(program_);
    SW_CHECK(report.ok(), plan.label() << "\n" << problem_table(program_, report));
  }
  PlanRunner(const PlanRunner&) = delete;
  PlanRunner& operator=(const PlanRunner&) = delete;

  // Returns whether other programs left the run alone.
  bool run_round(int round, const ChoiceSettings& settings) {
    rounds_.resize(settings.rounds);
    const OtherLoad load;
    TrainResult result = train(settings);
    Round& slot = rounds_[round];
    if (const double share = load.share(); share < slot.load) {
      slot = {share, median(result.makespans), std::move(result)};
    }
    return slot.load <= settings.most_load;
  }

  // REQUIRES: every round has run.
  PlanOutcome outcome(const ChoiceSettings& settings) {
    PlanOutcome out;
    out.plan = plan_;
    out.predicted_ns = predicted_.makespan();
    for (const Round& round : rounds_) {
      const std::vector<Nanoseconds>& steps = round.result.makespans;
      out.measured_steps.insert(out.measured_steps.end(), steps.begin(), steps.end());
      out.disturbed_rounds += round.load > settings.most_load;
    }
    std::sort(out.measured_steps.begin(), out.measured_steps.end());
    std::stable_sort(rounds_.begin(), rounds_.end(),
                     [](const Round& a, const Round& b) { return a.median_ns < b.median_ns; });
    const Timeline& typical = rounds_.at(rounds_.size() / 2).result.measured;
    out.comparison = compare_timelines(program_, steps_, predicted_, typical);
    return out;
  }

 private:
  struct Round {
    double load = 2;  // more than any share: not run yet
    Nanoseconds median_ns = 0;
    TrainResult result;
  };

  TrainResult train(const ChoiceSettings& settings) const {
    TrainOptions options;
    options.unrecorded_steps = 1;
    options.steps = options.unrecorded_steps + settings.steps;
    const SampleSource samples = [&](int64_t number, int32_t* tokens, int32_t* targets) {
      random_sample(model_.vocab, plan_.seq, number, tokens, targets);
    };
    TrainResult result;
    run_ranks(static_cast<int>(plan_.ranks()), std::chrono::seconds(60), [&](Communicator& comm) {
      const std::unique_ptr<Ops> ops = make_cpu_ops(comm.rank());
      TrainResult mine = train_rank(model_, program_, steps_, *ops, comm, options, samples);
      if (comm.rank() == 0) result = std::move(mine);
    });
    return result;
  }

  const ModelSpec& model_;
  const Plan plan_;
  const Program program_;
  const StepTable steps_;
  const Timeline predicted_;
  std::vector<Round> rounds_;
};

// Each round starts elsewhere and every other one goes backwards: a machine that is slow for a
// while is slow for different plans in each round, and nobody always follows the same neighbour.
std::vector<size_t> order_of(int round, int rounds, size_t count) {
  std::vector<size_t> order;
  for (size_t i = 0; i < count; ++i) {
    const size_t turn = round % 2 == 0 ? i : count - 1 - i;
    order.push_back((turn + count * round / rounds) % count);
  }
  return order;
}

}  // namespace

double PlanOutcome::error_pct() const {
  return 100 * (to_seconds(predicted_ns) / to_seconds(measured_ns()) - 1);
}

std::vector<PlanOutcome> run_plans(const ModelSpec& model, const ClusterSpec& cluster,
                                   const std::vector<Plan>& plans, const ChoiceSettings& settings,
                                   const RoundProgress& progress) {
  std::vector<std::unique_ptr<PlanRunner>> runners;
  for (const Plan& plan : plans) {
    runners.push_back(std::make_unique<PlanRunner>(model, cluster, plan));
  }
  for (int round = 0; round < settings.rounds; ++round) {
    std::vector<size_t> waiting = order_of(round, settings.rounds, runners.size());
    for (int pass = 0; pass <= settings.most_repeats && !waiting.empty(); ++pass) {
      std::vector<size_t> disturbed;
      for (size_t i : waiting) {
        if (!runners[i]->run_round(round, settings)) disturbed.push_back(i);
        progress(round, disturbed.size());
      }
      waiting = std::move(disturbed);
    }
  }
  std::vector<PlanOutcome> outcomes;
  for (const auto& runner : runners) outcomes.push_back(runner->outcome(settings));
  return outcomes;
}

}  // namespace shardwright
