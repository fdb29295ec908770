#include "planner/rank_order.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "costmodel/parameters.h"
#include "planner/estimate.h"
#include "planner/simulate.h"
#include "tests/planner/support.h"

namespace shardwright {
namespace {

constexpr RankOrder kNear = RankOrder::kTpCpPpDp;

Plan numbered(RankOrder order, int64_t dp, int64_t tp, int64_t cp, int64_t pp) {
  Plan plan;
  plan.dp = dp;
  plan.tp = tp;
  plan.pp = pp;
  plan.split.cp = cp;
  plan.rank_order = order;
  return plan;
}

// The orders say it themselves: the axis named first is the fastest.
TEST(RankOrder, AxesAreNestedAsTheNameSays) {
  const Plan far = numbered(RankOrder::kTpCpDpPp, 3, 2, 2, 5);
  const Plan near = numbered(kNear, 3, 2, 2, 5);
  for (int64_t rank = 0; rank < far.ranks(); ++rank) {
    const Coordinates a = coordinates_of(far, rank), b = coordinates_of(near, rank);
    EXPECT_EQ(a.tp + 2 * (a.cp + 2 * (a.dp + 3 * a.stage)), rank);
    EXPECT_EQ(b.tp + 2 * (b.cp + 2 * (b.stage + 5 * b.dp)), rank);
    EXPECT_EQ(rank_at(far, a), rank);
    EXPECT_EQ(rank_at(near, b), rank);
  }
}

// A regular group has the ranks of its places; an irregular one cannot be written as runs.
TEST(RankOrder, GroupsAreTheRanksOfTheirPlaces) {
  int runs = 0, irregular = 0;
  for (int64_t together : {1, 2, 4, 6, 12}) {
    const RankNumbering numbering{together, 3};
    for (int64_t stride : {1, 2, 3, 4, 6, 12, 24}) {
      for (int64_t size : {1, 2, 3, 4, 8, 12}) {
        if (!numbering.is_regular(stride, size)) {
          ++irregular;
          continue;
        }
        for (int64_t first = 0; first < stride; ++first) {
          const int64_t start = 2 * stride * size + first;
          const GroupPlacement group = numbering.group(1, start, stride, size);
          runs += group.run > 0;
          for (int64_t i = 0; i < size; ++i) {
            ASSERT_EQ(group.member(i), numbering.rank(1, start + i * stride))
                << together << " together, " << size << " places " << stride << " apart";
          }
        }
      }
    }
  }
  EXPECT_GT(runs, 20);
  EXPECT_GT(irregular, 20);
}

// Whatever the order, a group of a Program holds exactly the ranks that differ in its axes alone.
TEST(RankOrder, GroupsOfAProgramAreThoseOfTheCoordinates) {
  const ModelSpec model = shipped_model("tiny-gpt");
  std::mt19937 random(5);
  int crossing = 0;
  for (int i = 0; i < 200; ++i) {
    const Plan plan = random_split(model, &random);
    const Program program = compile(model, plan, {});
    for (const RankProgram& rank : program.ranks) {
      const Coordinates at = coordinates_of(plan, rank.rank);
      EXPECT_EQ(rank.stage, at.stage);
      EXPECT_EQ(rank.dp, at.dp);
      for (const Instruction& next : rank.instructions) {
        if (next.op != OpCode::kReduceGradients || plan.zero == 3) continue;
        std::vector<int> expected;
        for (int other = 0; other < plan.ranks(); ++other) {
          const Coordinates there = coordinates_of(plan, other);
          if (there.tp == at.tp && there.stage == at.stage) expected.push_back(other);
        }
        const GroupInfo& group = program.groups[static_cast<size_t>(next.group)];
        std::vector<int> members = group.members();
        EXPECT_EQ(members, expected) << plan.label();
        for (int other = 0; other < plan.ranks(); ++other) {
          EXPECT_EQ(group.has(other), std::count(members.begin(), members.end(), other) == 1);
        }
        crossing += group.run > 0;
      }
    }
  }
  EXPECT_GT(crossing, 20);
}

Nanoseconds cost_of(const Program& program, const ProgramCosts& costs, int stage, OpCode op) {
  for (size_t at = 0; at < program.ranks.size(); ++at) {
    if (program.ranks[at].stage != stage) continue;
    for (size_t i = 0; i < program.ranks[at].instructions.size(); ++i) {
      if (program.ranks[at].instructions[i].op == op) return costs.instruction[at][i];
    }
  }
  return -1;
}

// Two stages x two replicas on two nodes of two: 10 GB/s and 1 us inside, 1 GB/s and 10 us between.
// With dp outside pp the messages stay in a node and the gradients cross; else the other way round.
TEST(RankOrder, DecidesWhichLinkMessagesAndGradientsTake) {
  const ModelSpec model = shipped_model("tiny-llama");
  const ClusterSpec cluster = test_cluster(2, 2, true);
  for (RankOrder order : {RankOrder::kTpCpDpPp, kNear}) {
    Plan plan = test_plan(model, 2, 1, 2, 3);
    plan.rank_order = order;
    const bool near = order == kNear;
    const Program program = compile(model, plan, {.overlap = true});
    const ProgramCosts costs = price(program, StepTable(model, program, plan.optimizer), cluster);
    const double message = 16 * 128 * 4;  // tokens, hidden, bytes
    EXPECT_NEAR(cost_of(program, costs, 0, OpCode::kSendActivation),
                near ? 1e3 + message / 10 : 1e4 + message, 1);
    // Of two members all-reduce sends its bytes once, in two messages.
    const auto gradients =
        static_cast<double>(4 * rank_parameters(model, chunk_shape(plan, 0)).dense);
    EXPECT_NEAR(cost_of(program, costs, 0, OpCode::kReduceGradients),
                near ? 2e4 + gradients : 2e3 + gradients / 10, 2);

    Factors factors = neutral_factors();
    plan.overlap.gradients = false;
    Estimator estimator(model, cluster, Kernels(), factors);
    const PlanPrices& prices = estimator.prices(plan);
    EXPECT_NEAR(prices.messages[0], near ? 1e-6 + message / 1e10 : 1e-5 + message / 1e9, 1e-12);
    EXPECT_NEAR(prices.stages[0].reduction, near ? 2e-5 + gradients / 1e9 : 2e-6 + gradients / 1e10,
                1e-9);
  }
}

// Replicas of three ranks on nodes of four: only the first replica's first two stages share a node
// with each other and so do others later; some message between stages 0 and 1 always crosses.
TEST(RankOrder, AMessageCostsWhatItDoesInTheSlowestReplica) {
  const ModelSpec model = shipped_model("tiny-llama");
  const ClusterSpec cluster = test_cluster(4, 3, true);
  Plan plan = test_plan(model, 4, 1, 3, 3);
  plan.rank_order = kNear;
  Estimator estimator(model, cluster, Kernels(), neutral_factors());
  const double message = 16 * 128 * 4;
  // Replica 1 has ranks 3, 4, 5: its first message crosses; replica 2 has 6, 7, 8: its second does.
  for (double seconds : estimator.prices(plan).messages) {
    EXPECT_NEAR(seconds, 1e-5 + message / 1e9, 1e-12);
  }
  // Alone, the first replica's ranks 0, 1, 2 share a node.
  plan.dp = 1;
  plan.global_batch = 3;
  for (double seconds : estimator.prices(plan).messages) {
    EXPECT_NEAR(seconds, 1e-6 + message / 1e10, 1e-12);
  }
}

TEST(RankOrder, RefusesGroupsThatItCutsUnevenly) {
  const ModelSpec model = shipped_model("tiny-gpt");
  Plan plan = test_plan(model, 3, 1, 2, 2);
  plan.split.cp = 2;
  plan.zero = 1;
  plan.shard_group = 3;  // of 3 x 2 replicas; runs of two
  EXPECT_TRUE(check_plan(model, plan.ranks(), plan).empty());
  plan.rank_order = kNear;
  const std::vector<Rejection> rejections = check_plan(model, plan.ranks(), plan);
  ASSERT_EQ(rejections.size(), 1u);
  EXPECT_EQ(rejections[0].rule, "rank_order");
  plan.shard_group = 2;
  EXPECT_TRUE(check_plan(model, plan.ranks(), plan).empty());
}

TEST(RankOrder, NamesParse) {
  for (RankOrder order : {RankOrder::kTpCpDpPp, kNear}) {
    RankOrder parsed{};
    EXPECT_TRUE(parse_rank_order(name_of(order), &parsed));
    EXPECT_EQ(parsed, order);
  }
  RankOrder parsed{};
  EXPECT_FALSE(parse_rank_order("pp-tp", &parsed));
}

}  // namespace
}  // namespace shardwright
