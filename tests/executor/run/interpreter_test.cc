#include "executor/run/interpreter.h"

#include <gtest/gtest.h>

#include "executor/comm/thread_comm.h"
#include "executor/cpu/cpu_ops.h"
#include "executor/exec_error.h"
#include "planner/compile.h"
#include "tests/executor/run/train_support.h"

namespace shardwright {
namespace {

constexpr int64_t kSeq = 16;

TEST(Interpreter, StepTimesAreParallelToTheStepList) {
  const ModelSpec model = small_model("llama", false);
  TrainOptions options;
  options.steps = 3;
  const Plan plan = make_plan(model, 1, 2, 2, 2, 8, kSeq);
  const TestRun run = train(model, plan, options);
  const StepTable steps(model, run.program, plan.optimizer);
  for (size_t at = 0; at < run.program.ranks.size(); ++at) {
    const auto& events = run.result.measured.ranks[at].events;
    ASSERT_EQ(events.size(), run.program.ranks[at].instructions.size());
    for (size_t i = 0; i < events.size(); ++i) {
      const Instruction& next = run.program.ranks[at].instructions[i];
      EXPECT_EQ(events[i].steps.size(), steps.steps(next).size()) << label_of(next);
      EXPECT_GE(events[i].start, 0);
      EXPECT_GE(events[i].end, events[i].start);
    }
  }
}

TEST(Interpreter, LanesDoNotChangeTheMathematics) {
  const ModelSpec model = small_model("gpt2", true);
  TrainOptions options;
  options.steps = 3;
  const Plan plan = make_plan(model, 2, 1, 2, 1, 8, kSeq);
  const TestRun one_lane = train(model, plan, options);
  const TestRun lanes = train(model, plan, options, {}, true);
  for (int step = 0; step < 3; ++step) {
    EXPECT_EQ(one_lane.result.metrics[step].loss, lanes.result.metrics[step].loss);
  }
}

TEST(Interpreter, SameRunTwiceGivesTheSameBits) {
  const ModelSpec model = small_model("llama", false);
  TrainOptions options;
  options.steps = 5;
  const Plan plan = make_plan(model, 2, 2, 1, 2, 8, kSeq);
  const TestRun first = train(model, plan, options);
  const TestRun second = train(model, plan, options);
  EXPECT_EQ(first.weights, second.weights);
}

// A rank that fails ends the run on all of them with its own error, named by rank and instruction.
TEST(Interpreter, AFailingRankEndsTheRun) {
  const ModelSpec model = small_model("gpt2", false);
  const Plan plan = make_plan(model, 2, 1, 1, 2, 8, kSeq);
  const SampleSource samples = [](int64_t number, int32_t* tokens, int32_t* targets) {
    if (number == 5) throw ExecError(1, "sample 5", "the disk is gone");
    std::fill(tokens, tokens + kSeq, 1);
    std::fill(targets, targets + kSeq, 2);
  };
  try {
    train(model, plan, TrainOptions{.steps = 2, .settings = {}}, samples);
    FAIL() << "ran to its end";
  } catch (const ExecError& error) {
    EXPECT_EQ(error.rank(), 1);
    EXPECT_NE(std::string(error.what()).find("load c0 m0"), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find("the disk is gone"), std::string::npos);
  }
}

TEST(Interpreter, AProgramForAnotherWorldIsRefused) {
  const ModelSpec model = small_model("gpt2", false);
  const Plan plan = make_plan(model, 2, 1, 1, 2, 8, kSeq);
  const Program program = compile(model, plan, {});
  const StepTable steps(model, program, plan.optimizer);
  run_ranks(1, std::chrono::seconds(5), [&](Communicator& comm) {
    const auto ops = make_cpu_ops(0);
    EXPECT_THROW(Interpreter(model, program, steps, *ops, comm, {}, {}), BrokenInvariant);
  });
}

// What is said about the model and the plan; "" when they can be trained.
std::string refusal(const ModelSpec& model, const Plan& plan) {
  const auto error = check_executable(model, plan, RunDevice::kCpu);
  return error ? error->line() : "";
}

TEST(CheckExecutable, NamesWhatItCannotTrain) {
  const ModelSpec good = small_model("llama", false);
  const Plan plan = make_plan(good, 2, 1, 2, 1, 8, kSeq);
  EXPECT_EQ(refusal(good, plan), "");
  Plan other = plan;
  other.precision = DataType::kBf16;
  EXPECT_NE(refusal(good, other).find("precision"), std::string::npos);
  ModelSpec model = good;
  model.kinds[0].attention.window = 8;
  EXPECT_NE(refusal(model, plan).find("sliding_window"), std::string::npos);
  model = good;
  model.kinds[0].moe.experts = 4;
  EXPECT_NE(refusal(model, plan).find("experts"), std::string::npos);
}

TEST(CheckExecutable, NamesTheChoiceThatIsPricedOnly) {
  const ModelSpec model = small_model("llama", false);
  const Plan plan = make_plan(model, 2, 1, 2, 1, 8, kSeq);
  const auto with = [&](auto&& change) {
    Plan other = plan;
    change(&other);
    return refusal(model, other);
  };
  EXPECT_EQ(with([](Plan* p) { p->split.cp = 2; }),
            "plan: cp: found 2, expected 1 (the executor knows dp, tp, pp and virtual stages)");
  EXPECT_NE(with([](Plan* p) { p->schedule = ScheduleKind::kZbH1; }).find("found zb-h1"),
            std::string::npos);
  EXPECT_EQ(with([](Plan* p) {
              p->virtual_stages = 2;
              p->stage_layers = {1, 1, 1, 1};
            }),
            "");
  EXPECT_NE(with([](Plan* p) {
              p->virtual_stages = 2;
              p->stage_layers = {0, 2, 2, 0};
            }).find("virtual_stages: found 2"),
            std::string::npos);
  EXPECT_NE(with([](Plan* p) { p->zero = 3; }).find("zero: found 3"), std::string::npos);
  EXPECT_NE(with([](Plan* p) { p->recompute_layers = 1; }).find("recompute_layers"),
            std::string::npos);
  EXPECT_NE(with([](Plan* p) { p->activation_offload = 0.5; }).find("offload"), std::string::npos);
}

}  // namespace
}  // namespace shardwright
