#include "planner/program/readiness.h"

#include <set>

#include "planner/program/program_text.h"
#include "tests/planner/support.h"

namespace shardwright {
namespace {

Program program_of(const std::string& name) {
  Result<Program> parsed = parse_program(
      read_text(SHARDWRIGHT_SOURCE_DIR "/tests/planner/programs/" + name + ".txt"), name);
  EXPECT_TRUE(parsed.ok()) << parsed.error().line();
  return std::move(parsed).value();
}

TEST(Readiness, MatchesMessagesInIssueOrderPerChannel) {
  const Program program = program_of("right_pp2");
  const Readiness rule(program);
  EXPECT_TRUE(rule.mismatches().empty());
  // rank 0: 2 and 5 send activations, 6 and 8 receive gradients; rank 1: 1, 6 and 4, 9.
  EXPECT_EQ(rule.partner({0, 2}), (Ref{1, 1}));
  EXPECT_EQ(rule.partner({0, 5}), (Ref{1, 6}));
  EXPECT_EQ(rule.partner({0, 6}), (Ref{1, 4}));
  EXPECT_EQ(rule.partner({0, 8}), (Ref{1, 9}));
  EXPECT_EQ(rule.partner({0, 1}), (Ref{-1, -1}));
}

TEST(Readiness, OneLaneOrdersARankCompletely) {
  const Program program = program_of("right_pp2");
  const Readiness rule(program);
  for (int i = 1; i < static_cast<int>(program.ranks[0].instructions.size()); ++i) {
    EXPECT_EQ(rule.local_before({0, i}), std::vector<int>{i - 1});
  }
}

TEST(Readiness, LanesRunBesideEachOther) {
  const ModelSpec model = shipped_model("tiny-llama");
  const Program program = compile(model, test_plan(model, 1, 1, 2, 2), {true, false});
  const Readiness rule(program);
  // rank 0: load 0, forward 1, send 2, load 3, forward 4, send 5, ...
  EXPECT_EQ(rule.local_before({0, 2}), std::vector<int>{1});
  EXPECT_EQ(rule.local_before({0, 3}), std::vector<int>{1});
  EXPECT_EQ(rule.local_before({0, 5}), (std::vector<int>{2, 4}));
}

TEST(Readiness, CollectivesAreOneUnit) {
  const Program program = program_of("right_dp2");
  const Readiness rule(program);
  const auto members = rule.members_of(rule.unit_of({0, 3}));
  ASSERT_EQ(members.size(), 2U);
  EXPECT_EQ(members[0], (Ref{0, 3}));
  EXPECT_EQ(members[1], (Ref{1, 3}));
}

// Every instruction is visited once, after everything that the rule puts before it: in both orders.
TEST(Readiness, WalksRespectTheRule) {
  std::mt19937 random(2);
  const ModelSpec model = shipped_model("tiny-gpt");
  for (int i = 0; i < 60; ++i) {
    const Plan plan = i < 20 ? random_plan(model, &random) : random_split(model, &random);
    const Program program = compile(model, plan, {i % 2 == 0, i % 3 == 0});
    const Readiness rule(program);
    size_t total = 0;
    for (const RankProgram& rank : program.ranks) total += rank.instructions.size();
    for (bool lists : {false, true}) {
      std::set<Ref> done;
      const auto visit = [&](std::span<const Ref> unit) {
        for (Ref ref : unit) {
          rule.for_each_before(ref, [&](Ref before) { EXPECT_TRUE(done.count(before)); });
        }
        for (Ref ref : unit) EXPECT_TRUE(done.insert(ref).second);
      };
      EXPECT_TRUE(lists ? rule.walk_lists(visit) : rule.walk(visit).empty()) << plan.label();
      EXPECT_EQ(done.size(), total) << plan.label();
    }
  }
}

// Two ranks that list what they receive before what they send, each on a lane of its own.
TEST(Readiness, ListsThatWaitForEachOtherAreLeftToWalk) {
  Program program;
  program.world = 2;
  program.chunks.resize(3);
  for (int rank : {0, 1}) {
    program.ranks.push_back({rank, 0, 0, rank, 0, {}});
    Instruction receive;
    receive.op = rank == 0 ? OpCode::kReceiveGradient : OpCode::kReceiveActivation;
    receive.lane = rank == 0 ? Lane::kGradientIn : Lane::kActivationIn;
    receive.chunk = rank;
    receive.peer = 1 - rank;
    Instruction send = receive;
    send.op = rank == 0 ? OpCode::kSendActivation : OpCode::kSendGradient;
    send.lane = rank == 0 ? Lane::kActivationOut : Lane::kGradientOut;
    program.ranks.back().instructions = {receive, send};
  }
  const Readiness rule(program);
  ASSERT_TRUE(rule.mismatches().empty()) << rule.mismatches().front().what;
  EXPECT_FALSE(rule.walk_lists([](std::span<const Ref>) {}));
  EXPECT_TRUE(rule.walk([](std::span<const Ref>) {}).empty());
  // Meeting changes nothing, but on one lane there is no way at all.
  program.messages = MessageMode::kRendezvous;
  const Readiness meeting(program);
  EXPECT_TRUE(meeting.walk([](std::span<const Ref>) {}).empty());
  for (RankProgram& rank : program.ranks) {
    for (Instruction& next : rank.instructions) next.lane = Lane::kCompute;
  }
  const Readiness blocked(program);
  EXPECT_FALSE(blocked.walk_lists([](std::span<const Ref>) {}));
  EXPECT_EQ(blocked.walk([](std::span<const Ref>) {}).size(), 4U);
}

TEST(Readiness, ReportsWhatCannotMatch) {
  Program program = program_of("right_pp2");
  program.ranks[0].instructions[1].waits = {4};
  program.ranks[0].instructions[2].peer = 9;
  program.ranks[1].instructions[10].group = 5;
  const Readiness rule(program);
  ASSERT_EQ(rule.mismatches().size(), 5U);
  EXPECT_EQ(rule.mismatches()[0].what, "waits for 4, which is not earlier");
  EXPECT_EQ(rule.mismatches()[1].what, "peer 9 is no other rank");
  EXPECT_EQ(rule.mismatches()[2].what, "nobody sends it");
  EXPECT_EQ(rule.mismatches()[3].what, "not every member of group 0 joins it");
  EXPECT_EQ(rule.mismatches()[4].what, "rank is no member of group 5");
}

}  // namespace
}  // namespace shardwright
