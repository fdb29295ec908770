// Every random legal plan, its communication run for real over the stand-in of NCCL: the same calls
// in the same order at all members of every communicator, the right data to the right instruction,
// and an end that does not depend on posted sends, which NCCL has not.
#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <map>
#include <numeric>
#include <set>

#include "executor/comm/routes.h"
#include "executor/comm/staging.h"
#include "planner/program/readiness.h"
#include "planner/program/step_table.h"
#include "tests/executor/comm/nccl_rank.h"
#include "tests/planner/support.h"

namespace shardwright::testing {
namespace {

// A few elements instead of the real bytes, different for different sizes.
int64_t few(Bytes bytes) { return 1 + bytes % 61; }

// The communication of one rank's Program, with every instruction on its lane.
class DryRun {
 public:
  DryRun(const Program& program, const StepTable& steps, NcclRank& rank)
      : program_(program),
        steps_(steps),
        rank_(rank),
        own_(program.ranks[rank.comm->rank()]),
        channels_(wire_channels(program, own_)) {
    // As the interpreter does: groups in the order of the program, then tp, then the routes.
    for (size_t g = 0; g < program.groups.size(); ++g) {
      if (!program.groups[g].has(own_.rank)) continue;
      groups_[static_cast<int>(g)] = &rank.comm->group(program.groups[g].members());
    }
    const int tp = program.chunks.front().tp;
    if (tp > 1) {
      std::vector<int> members(static_cast<size_t>(tp));
      std::iota(members.begin(), members.end(), own_.rank - own_.tp);
      tp_ = &rank.comm->group(members);
    }
    rank.comm->connect(routes_of(own_, channels_));
  }

  void step() {
    rank_.device.start_step(false);
    for (int i = 0; i < static_cast<int>(own_.instructions.size()); ++i) {
      const Instruction& next = own_.instructions[i];
      rank_.device.begin(i, next.lane, next.waits);
      for (const Step& step : steps_.steps(next)) {
        if (const auto* work = std::get_if<CollectiveWork>(&step.work)) communicate(next, *work);
      }
      rank_.device.end(i);
    }
    rank_.device.finish_step();
    check();
  }

 private:
  // A number that names the sender, the channel and which message of them it is.
  static float name_of_message(const Route& route, int number) {
    return static_cast<float>(route.from * 2000 + route.channel * 1000 + number);
  }

  void communicate(const Instruction& next, const CollectiveWork& work) {
    if (next.is_message()) return message(next, work);
    Group& group = work.axis == Axis::kTp ? *tp_ : *groups_.at(next.group);
    const float own = static_cast<float>(group.members()[group.index()] + 1);
    float sum = 0;
    for (const int member : group.members()) sum += static_cast<float>(member + 1);
    const int64_t count = few(work.bytes);
    if (work.kind == CollectiveKind::kAllGather) {
      // What is gathered is compared by the sum of all places.
      std::vector<float>& all = keep(count * group.size(), 0, next, -1);
      std::vector<float>& mine = keep(count, own, next, own);
      group.all_gather(mine.data(), all.data(), count);
      gathered_.push_back({&all, sum * static_cast<float>(count)});
    } else {
      ASSERT_EQ(work.kind, CollectiveKind::kAllReduce) << label_of(next);
      group.all_reduce(keep(count, own, next, sum).data(), count, ReduceOp::kSum);
    }
  }

  void message(const Instruction& next, const CollectiveWork& work) {
    const int64_t count = few(work.bytes);
    if (next.is_send()) {
      const Route route{own_.rank, next.peer, next.channel()};
      const float name = name_of_message(route, numbers_[route]++);
      rank_.comm->send(keep(count, name, next, name).data(), count, next.peer,
                       channels_.at(route.channel));
    } else {
      const Route route{next.peer, own_.rank, next.channel()};
      const float name = name_of_message(route, numbers_[route]++);
      rank_.comm->receive(keep(count, -1, next, name).data(), count, next.peer,
                          channels_.at(route.channel));
    }
  }

  // A buffer that lives until the step is over and must then hold `expected` (-1: not compared).
  std::vector<float>& keep(int64_t count, float value, const Instruction& next, float expected) {
    kept_.push_back(
        {std::vector<float>(static_cast<size_t>(count), value), expected, label_of(next)});
    return kept_.back().values;
  }

  void check() {
    for (const Kept& kept : kept_) {
      for (const float value : kept.values) {
        if (kept.expected >= 0) {
          EXPECT_EQ(value, kept.expected) << "rank " << own_.rank << ", " << kept.label;
        }
      }
    }
    for (const auto& [all, sum] : gathered_) {
      EXPECT_EQ(std::accumulate(all->begin(), all->end(), 0.0F), sum) << "rank " << own_.rank;
    }
  }

  struct Kept {
    std::vector<float> values;
    float expected;
    std::string label;
  };

  const Program& program_;
  const StepTable& steps_;
  NcclRank& rank_;
  const RankProgram& own_;
  const WireChannels channels_;
  std::map<int, Group*> groups_;
  Group* tp_ = nullptr;
  std::map<Route, int> numbers_;
  std::deque<Kept> kept_;
  std::vector<std::pair<const std::vector<float>*, float>> gathered_;
};

using Calls = std::vector<RecordedCall>;

std::map<int, Calls> by_communicator(const Calls& calls) {
  std::map<int, Calls> sorted;
  for (const RecordedCall& call : calls) sorted[call.communicator].push_back(call);
  return sorted;
}

// All members of a communicator made the same calls on it in the same order, and of a message one
// end sends what the other receives.
void expect_same_orders(const std::vector<std::map<int, Calls>>& ranks, const std::string& label) {
  std::map<int, const Calls*> first;
  for (const auto& rank : ranks) {
    for (const auto& [communicator, calls] : rank) {
      const auto [seen, fresh] = first.try_emplace(communicator, &calls);
      if (fresh) continue;
      const Calls& other = *seen->second;
      ASSERT_EQ(calls.size(), other.size()) << label;
      for (size_t i = 0; i < calls.size(); ++i) {
        EXPECT_EQ(calls[i].what, other[i].what) << label << " call " << i;
        EXPECT_EQ(calls[i].bytes, other[i].bytes) << label << " call " << i;
        if (calls[i].what.starts_with("send")) {
          EXPECT_NE(calls[i].sends, other[i].sends) << label << " call " << i;
        }
      }
    }
  }
}

// Which instructions of a rank must have finished before each, directly or not.
std::vector<std::set<int>> all_before(const Readiness& rule, int at, size_t instructions) {
  std::vector<std::set<int>> before(instructions);
  for (size_t i = 0; i < instructions; ++i) {
    for (const int direct : rule.local_before({at, static_cast<int>(i)})) {
      before[i].insert(direct);
      before[i].insert(before[direct].begin(), before[direct].end());
    }
  }
  return before;
}

// Where a communicator is used from two lanes, the Program itself puts the calls in order: NCCL
// sees each begin when the one before is over.
void expect_lanes_do_not_cross(const std::map<int, Calls>& rank,
                               const std::vector<std::set<int>>& before, const std::string& label) {
  for (const auto& [communicator, calls] : rank) {
    for (size_t i = 1; i < calls.size(); ++i) {
      if (calls[i].instruction < 0 || calls[i - 1].instruction < 0) continue;
      if (calls[i].stream == calls[i - 1].stream) continue;
      if (calls[i].instruction < calls[i - 1].instruction) continue;  // the next step
      EXPECT_FALSE(calls[i].what.starts_with("send")) << label << ": messages on two lanes";
      EXPECT_TRUE(before[calls[i].instruction].contains(calls[i - 1].instruction)) << label;
    }
  }
}

// The first use of a group may make the host wait for all members: with every collective taken as
// such a wait, and messages as none, all hosts must come to the end.
void expect_hosts_may_wait(const std::vector<Calls>& ranks, const std::string& label) {
  std::map<int, int> members;
  for (const Calls& calls : ranks) {
    for (const auto& [communicator, own] : by_communicator(calls)) ++members[communicator];
  }
  std::vector<size_t> next(ranks.size(), 0);
  for (bool moved = true; moved;) {
    moved = false;
    std::map<int, std::vector<size_t>> waiting;
    for (size_t r = 0; r < ranks.size(); ++r) {
      while (next[r] < ranks[r].size() && ranks[r][next[r]].what.starts_with("send")) ++next[r];
      if (next[r] < ranks[r].size()) waiting[ranks[r][next[r]].communicator].push_back(r);
    }
    for (const auto& [communicator, those] : waiting) {
      if (static_cast<int>(those.size()) < members[communicator]) continue;
      for (const size_t r : those) ++next[r];
      moved = true;
    }
  }
  for (size_t r = 0; r < ranks.size(); ++r) EXPECT_EQ(next[r], ranks[r].size()) << label;
}

void check_plan(const ModelSpec& model, const Plan& plan) {
  const std::string label = model.name + " " + plan.label();
  SCOPED_TRACE(label);
  Program program = compile(model, plan, {.overlap = true});
  const StepTable steps(model, program, plan.optimizer);
  // NCCL's sends are over when they are received.
  program.messages = MessageMode::kRendezvous;
  const Readiness rule(program);
  ASSERT_TRUE(rule.mismatches().empty());
  ASSERT_TRUE(rule.walk([](std::span<const Ref>) {}).empty()) << "deadlocks without posted sends";

  // One communicator for each neighbour, kind and direction, however many chunks.
  for (const RankProgram& rank : program.ranks) {
    EXPECT_LE(routes_of(rank, wire_channels(program, rank)).size(), 4);
  }
  NcclWorld world(program.world);
  run_nccl_ranks(world, program.world, std::chrono::seconds(30), [&](NcclRank& rank) {
    DryRun run(program, steps, rank);
    run.step();
    run.step();  // the second makes no connection any more
  });
  EXPECT_EQ(world.open_handles(), 0);
  EXPECT_EQ(world.aborted_handles(), 0);
  EXPECT_TRUE(world.mismatches().empty()) << world.mismatches().front();
  std::vector<std::map<int, Calls>> sorted;
  std::vector<Calls> all;
  for (int rank = 0; rank < program.world; ++rank) {
    all.push_back(world.calls(rank));
    sorted.push_back(by_communicator(all.back()));
    expect_lanes_do_not_cross(
        sorted.back(), all_before(rule, rank, program.ranks[rank].instructions.size()), label);
  }
  expect_same_orders(sorted, label);
  expect_hosts_may_wait(all, label);
}

TEST(NcclOrder, AgreesBetweenAllRanksOfRandomPlans) {
  std::mt19937 random(20);
  for (const char* name : {"tiny-gpt", "tiny-llama"}) {
    const ModelSpec model = shipped_model(name);
    for (int i = 0; i < 60; ++i) check_plan(model, random_plan(model, &random));
  }
}

// Several chunks a stage: interleaved 1F1B, breadth-first, GPipe.
TEST(NcclOrder, AgreesBetweenAllRanksOfChunkedPlans) {
  std::mt19937 random(21);
  for (const char* name : {"tiny-gpt", "tiny-llama"}) {
    const ModelSpec model = shipped_model(name);
    for (int i = 0; i < 60; ++i) check_plan(model, random_chunked_plan(model, &random));
  }
}

// Plans in which groups have the same members: tp and all ranks, dp and all ranks, the tied table
// and all ranks.
TEST(NcclOrder, GroupsOfTheSameMembers) {
  const ModelSpec model = shipped_model("tiny-gpt");
  check_plan(model, test_plan(model, 2, 1, 1, 4));
  check_plan(model, test_plan(model, 1, 2, 1, 4));
  check_plan(model, test_plan(model, 1, 1, 2, 4));
}

// With communication on the compute lane the same messages wait for each other: the check above can
// fail.
TEST(NcclOrder, OneLaneDeadlocksWithoutPostedSends) {
  const ModelSpec model = shipped_model("tiny-gpt");
  Program program = compile(model, test_plan(model, 1, 1, 2, 4), {.overlap = false});
  program.messages = MessageMode::kRendezvous;
  EXPECT_FALSE(Readiness(program).walk([](std::span<const Ref>) {}).empty());
}

}  // namespace
}  // namespace shardwright::testing
