#include "planner/program/finished_sends.h"

#include <algorithm>

#include "planner/program/buffers.h"
#include "planner/program/verify.h"
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
  // Nothing is done in between.
  const std::vector<Bytes> under_way = unfinished_send_bytes(program, 0, found);
  EXPECT_EQ(*std::max_element(under_way.begin(), under_way.end()), 0);
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
      const std::vector<Bytes> under_way =
          unfinished_send_bytes(program, at, finished_sends(program, at));
      EXPECT_EQ(*std::max_element(under_way.begin(), under_way.end()),
                (m - 1 + at) * program.chunks[0].message)
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

// Every send before an instruction that is not over when it begins, one by one.
Bytes under_way_at(const Program& program, int at, size_t index, const FinishedSends& over) {
  Bytes sum = 0;
  for (size_t i = 0; i < index; ++i) {
    const Instruction& sent = program.ranks[at].instructions[i];
    const bool gradient = sent.op == OpCode::kSendGradient;
    if (!sent.is_send() || static_cast<int>(i) < (gradient ? over.gradient : over.activation)) {
      continue;
    }
    sum += program.chunks[sent.chunk].message;
  }
  return sum;
}

TEST(FinishedSends, UnfinishedBytesAreTheSumOverTheirSends) {
  const ModelSpec model = shipped_model("tiny-gpt");
  std::mt19937 random(5);
  Bytes most = 0;
  for (int i = 0; i < 20; ++i) {
    const Program program = compile(model, random_chunked_plan(model, &random), {.overlap = true});
    for (int at = 0; at < static_cast<int>(program.ranks.size()); ++at) {
      const std::vector<FinishedSends> finished = finished_sends(program, at);
      const std::vector<Bytes> found = unfinished_send_bytes(program, at, finished);
      ASSERT_EQ(found.size(), finished.size());
      for (size_t index = 0; index < found.size(); ++index) {
        ASSERT_EQ(found[index], under_way_at(program, at, index, finished[index]));
        most = std::max(most, found[index]);
      }
    }
  }
  EXPECT_GT(most, 0);
}

// Down one lane the list is the order in which things happen, and verify's walk goes along it.
TEST(DevicePeaks, AreVerifysWhereThereIsOneLane) {
  const ModelSpec model = shipped_model("tiny-llama");
  std::mt19937 random(6);
  for (int i = 0; i < 40; ++i) {
    const Program program = compile(model, random_plan(model, &random), {.overlap = false});
    const VerifyReport report = verify(program);
    const std::vector<RankPeak> peaks = device_peaks(program);
    for (size_t at = 0; at < peaks.size(); ++at) {
      EXPECT_EQ(peaks[at], (RankPeak{report.peak_bytes[at], report.peak_index[at]}));
    }
  }
}

// Buffer by buffer and message by message, down the list.
TEST(DevicePeaks, CountMessagesUnderWay) {
  const ModelSpec model = shipped_model("tiny-gpt");
  std::mt19937 random(7);
  int more_than_live = 0;
  for (int i = 0; i < 20; ++i) {
    const Program program = compile(model, random_chunked_plan(model, &random), {.overlap = true});
    const std::vector<RankPeak> peaks = device_peaks(program);
    for (int at = 0; at < static_cast<int>(peaks.size()); ++at) {
      const std::vector<Instruction>& list = program.ranks[at].instructions;
      const std::vector<FinishedSends> finished = finished_sends(program, at);
      Bytes live = resident_bytes(program, program.ranks[at]), most = live, most_live = live;
      for (size_t index = 0; index < list.size(); ++index) {
        const Effects effects = effects_of(program, list[index]);
        for (const Buffer& made : effects.allocates) live += bytes_of(program, made);
        most_live = std::max(most_live, live);
        most = std::max(most, live + under_way_at(program, at, index, finished[index]));
        for (const Buffer& gone : effects.frees) live -= bytes_of(program, gone);
      }
      EXPECT_EQ(peaks[at].bytes, most) << "rank " << at;
      more_than_live += most > most_live ? 1 : 0;
    }
  }
  EXPECT_GT(more_than_live, 0);
}

}  // namespace
}  // namespace shardwright
