#include "planner/program/finished_sends.h"

#include "tests/planner/support.h"

namespace shardwright {
namespace {

Plan two_stages(const ModelSpec& model, int64_t microbatches) {
  Plan plan = test_plan(model, 1, 1, 2, 1);
  plan.micro_batch = 1;
  plan.global_batch = microbatches;
  return plan;
}

// The gradient comes back from where the activation went: what receives it knows that the send is
// over, what is before does not.
TEST(FinishedSends, AnAnswerTellsThatTheSendIsOver) {
  const ModelSpec model = shipped_model("tiny-gpt");
  const Program program = compile(model, two_stages(model, 1), {.overlap = true});
  EXPECT_FALSE(keeps_sent_memory(program));
  const std::vector<FinishedSends> found = finished_sends(program, 0);
  const std::vector<Instruction>& list = program.ranks[0].instructions;
  int sent = -1;
  bool answered = false;
  for (size_t i = 0; i < list.size(); ++i) {
    answered = answered || list[i].op == OpCode::kReceiveGradient;
    EXPECT_EQ(found[i], (FinishedSends{answered ? sent + 1 : 0, 0})) << label_of(list[i]);
    if (list[i].is_send()) sent = static_cast<int>(i);
  }
  EXPECT_TRUE(answered);
  EXPECT_EQ(unfinished_send_bytes(program, 0), 0);
}

// Breadth-first on two stages: a rank sends all m microbatches of its first chunk before anything
// comes back, which then tells of the first send only. On rank 0 the answer is the next
// instruction: m - 1 messages are under way; rank 1 loads the targets of its second chunk, the
// head, first: m.
TEST(FinishedSends, BreadthFirstHasThemAllUnderWay) {
  const ModelSpec model = shipped_model("tiny-gpt");
  for (const int64_t m : {2, 4, 6}) {
    Plan plan = two_stages(model, m);
    plan.virtual_stages = 2;
    plan.stage_layers = {1, 1, 1, 1};
    plan.schedule = ScheduleKind::kBreadthFirst;
    const Program program = compile(model, plan, {.overlap = true});
    EXPECT_TRUE(keeps_sent_memory(program));
    for (int at : {0, 1}) {
      EXPECT_EQ(unfinished_send_bytes(program, at), (m - 1 + at) * program.chunks[0].message)
          << m << " microbatches, rank " << at;
    }
  }
}

// On one lane blocking sends deadlock: nothing is known.
TEST(FinishedSends, NothingIsKnownOfAProgramThatDeadlocks) {
  const ModelSpec model = shipped_model("tiny-gpt");
  const Program program = compile(model, two_stages(model, 4), {.overlap = false});
  EXPECT_TRUE(finished_sends(program, 0).empty());
}

}  // namespace
}  // namespace shardwright
