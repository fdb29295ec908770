// Verify: whatever compile makes of a legal plan is right, and one hand-made wrong program of each
// kind is refused, with the golden table that marks the place.
#include "planner/program/verify.h"

#include <set>

#include "planner/program/program_text.h"
#include "tests/planner/support.h"

namespace shardwright {
namespace {

const char kPrograms[] = SHARDWRIGHT_SOURCE_DIR "/tests/planner/programs/";

Program program_of(const std::string& name) {
  Result<Program> parsed = parse_program(read_text(kPrograms + name + ".txt"), name);
  EXPECT_TRUE(parsed.ok()) << parsed.error().line();
  return std::move(parsed).value();
}

TEST(Verify, AcceptsEveryCompiledPlan) {
  std::mt19937 random(3);
  const ModelSpec gpt = shipped_model("tiny-gpt"), llama = shipped_model("tiny-llama");
  for (int i = 0; i < 150; ++i) {
    const ModelSpec& model = i % 2 == 0 ? gpt : llama;
    const Plan plan = random_plan(model, &random);
    const Program program = compile(model, plan, {i % 3 != 0, false});
    const VerifyReport report = verify(program);
    ASSERT_TRUE(report.ok()) << plan.label() << "\n" << problem_table(program, report);
    EXPECT_EQ(problem_table(program, report), "ok\n");
  }
}

TEST(Verify, AcceptsEverySchedule) {
  std::mt19937 random(5);
  const ModelSpec gpt = shipped_model("tiny-gpt"), llama = shipped_model("tiny-llama");
  std::set<ScheduleKind> seen;
  for (int i = 0; i < 400; ++i) {
    const ModelSpec& model = i % 2 == 0 ? gpt : llama;
    const Plan plan = random_pipeline(model, &random);
    seen.insert(plan.schedule);
    const Program program = compile(model, plan, {i % 3 != 0, false});
    const VerifyReport report = verify(program);
    ASSERT_TRUE(report.ok()) << plan.label() << "\n" << problem_table(program, report);
  }
  EXPECT_GE(seen.size(), 8U);
}

TEST(Verify, KnowsTheMicrobatchesOfEveryReplica) {
  const ModelSpec model = shipped_model("tiny-gpt");
  Plan plan = test_plan(model, 2, 1, 2, 4);
  plan.replica_batches = {6, 2};
  Program program = compile(model, plan, {});
  EXPECT_TRUE(verify(program).ok()) << problem_table(program, verify(program));
  program.replica_microbatches = {6, 3};
  EXPECT_FALSE(verify(program).ok());
  program.replica_microbatches = {6, 1};
  EXPECT_FALSE(verify(program).ok());
  program.replica_microbatches = {};
  EXPECT_FALSE(verify(program).ok());
}

TEST(Verify, AcceptsSplitSequencesAndStates) {
  std::mt19937 random(6);
  const ModelSpec gpt = shipped_model("tiny-gpt"), llama = shipped_model("tiny-llama");
  for (int i = 0; i < 300; ++i) {
    const ModelSpec& model = i % 2 == 0 ? gpt : llama;
    const Plan plan = random_split(model, &random);
    const Program program = compile(model, plan, {i % 3 != 0, false});
    const VerifyReport report = verify(program);
    ASSERT_TRUE(report.ok()) << plan.label() << " zero " << plan.zero << "\n"
                             << problem_table(program, report);
  }
}

// What is found when all instructions of one kind are missing from a right program.
std::string problem_after(const Plan& plan, const ModelSpec& model, OpCode left_out) {
  Program program = compile(model, plan, {true, false});
  for (RankProgram& rank : program.ranks) {
    // Waits keep their meaning: the instruction becomes one that does nothing.
    for (Instruction& next : rank.instructions) {
      if (next.op != left_out) continue;
      next.op = OpCode::kClip;
      next.group = -1;
      next.microbatch = -1;
    }
  }
  const VerifyReport report = verify(program);
  return report.ok() ? "" : report.problems.front().what;
}

TEST(Verify, RefusesWhatIsLeftOut) {
  const ModelSpec model = shipped_model("tiny-llama");
  Plan plan = test_plan(model, 2, 1, 2, 4, ScheduleKind::kZbH1);
  EXPECT_EQ(problem_after(plan, model, OpCode::kBackwardWeight),
            "gradient of replica 0 m0 is missing");
  EXPECT_EQ(problem_after(plan, model, OpCode::kBackwardInput), "needs input_grad c1 m0");
  plan.zero = 1;
  EXPECT_EQ(problem_after(plan, model, OpCode::kGatherParameters),
            "c0 is gathered 0 times, not once");
  plan.zero = 3;
  EXPECT_EQ(problem_after(plan, model, OpCode::kGatherParameters), "needs gathered parameters");
  EXPECT_EQ(problem_after(plan, model, OpCode::kScatterGradients),
            "gradient of replica 0 m0 is missing");
}

class RightProgram : public testing::TestWithParam<const char*> {};
TEST_P(RightProgram, IsAccepted) {
  const Program program = program_of(GetParam());
  const VerifyReport report = verify(program);
  EXPECT_TRUE(report.ok()) << problem_table(program, report);
}
INSTANTIATE_TEST_SUITE_P(All, RightProgram,
                         testing::Values("right_pp2", "right_dp2", "right_tied", "right_tp2",
                                         "right_pp3"),
                         [](const auto& info) { return std::string(info.param); });

struct Wrong {
  const char* name;
  const char* problem;
};
const Wrong kWrong[] = {
    {"deadlock", "deadlock: waits for send_activation c0 m0 of rank 0"},
    {"rendezvous_1f1b", "deadlock: waits for send_activation c0 m1 of rank 0"},
    {"no_partner", "nobody receives it"},
    {"content", "the right message at the wrong time: gets send_activation c0 m1"},
    {"missing_backward", "gradient of replica 0 m1 is missing"},
    {"double_forward", "runs a second time"},
    {"backward_first", "needs saved c0 m0"},
    {"reduced_twice", "gradient of replica 0 m0 is counted twice"},
    {"not_reduced", "gradient of replica 1 m0 is missing"},
    {"tied_not_reduced", "head gradient of replica 0 m0 is missing"},
    {"tp_order", "computes in another order than its tp neighbour rank 0"},
    {"memory", "needs 1268 bytes of 1264"},
    {"leak", "tokens c1 m0 is never freed"},
    {"updated_twice", "updates a second time"},
    {"replica", "rank is of replica 3 of 1"},
    {"collective", "deadlock: waits for reduce_gradients c0 of rank 0"},
};
class WrongProgram : public testing::TestWithParam<Wrong> {};

TEST_P(WrongProgram, IsRefusedWithTheMarkedTable) {
  const std::string name = std::string("wrong_") + GetParam().name;
  const Program program = program_of(name);
  const bool limited = name == "wrong_memory";
  const VerifyReport report =
      verify(program, limited ? 1200 + kStepStateBytes : std::numeric_limits<Bytes>::max());
  EXPECT_FALSE(report.ok());
  const std::string table = problem_table(program, report);
  EXPECT_NE(table.find(std::string(": ") + GetParam().problem), std::string::npos) << table;
  EXPECT_NE(table.find("<--"), std::string::npos) << table;
  expect_golden(kPrograms + name + ".table", table);
}
INSTANTIATE_TEST_SUITE_P(All, WrongProgram, testing::ValuesIn(kWrong),
                         [](const auto& info) { return std::string(info.param.name); });

// Posted, the textbook order of 1F1B is fine; with blocking sends it is the classic deadlock.
TEST(Verify, OnlyBlockingSendsMakeTextbook1F1BDeadlock) {
  Program program = program_of("wrong_rendezvous_1f1b");
  EXPECT_FALSE(verify(program).ok());
  program.messages = MessageMode::kPosted;
  EXPECT_TRUE(verify(program).ok());
}

TEST(Verify, PartsOfAWorldAreRefused) {
  const ModelSpec model = shipped_model("tiny-gpt");
  const Program program = compile(model, test_plan(model, 2, 1, 2, 2), {true, true});
  const VerifyReport report = verify(program);
  ASSERT_FALSE(report.ok());
  EXPECT_EQ(report.problems.front().what, "has 2 of 4 ranks");
}

TEST(Verify, AbsurdCountsAreRefusedBeforeAnythingIsSized) {
  Program program = program_of("right_pp2");
  program.replicas = 1 << 28;
  program.microbatches = 1 << 28;
  const VerifyReport report = verify(program);
  ASSERT_GE(report.problems.size(), 2U);
  EXPECT_EQ(report.problems[0].what, "268435456 replicas of 2 ranks");
  EXPECT_EQ(report.problems[1].what, "268435456 microbatches in 24 instructions");
}

// The running sum by hand: 1100 resident; at the second forward of stage 0 two microbatches are
// held (2 tokens + 50 saved each) and one output of 10 has been made and not sent.
TEST(Verify, CountsLiveBuffers) {
  const VerifyReport report = verify(program_of("right_pp2"));
  EXPECT_EQ(report.peak_bytes[0], kStepStateBytes + 1100 + 2 * 52 + 10);
  // Stage 1 holds one: 2 + 10 received + 50 saved, and in its backward the gradient of its input.
  EXPECT_EQ(report.peak_bytes[1], kStepStateBytes + 1100 + 62 + 10);
}

}  // namespace
}  // namespace shardwright
