// Simulated time against the closed forms of GPipe (arXiv 1811.06965) and 1F1B (arXiv 2104.04473),
// and simulated memory against the sums of what must be alive.
#include "planner/simulate.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <tuple>

#include "planner/footprint.h"
#include "planner/program/buffers.h"
#include "tests/planner/support.h"

namespace shardwright {
namespace {

constexpr Nanoseconds kForward = 1000, kBackward = 2003;

// F and B as given, everything else free.
ProgramCosts uniform_costs(const Program& program) {
  ProgramCosts costs;
  for (const RankProgram& rank : program.ranks) {
    costs.instruction.emplace_back();
    for (const Instruction& next : rank.instructions) {
      costs.instruction.back().push_back(next.op == OpCode::kForward    ? kForward
                                         : next.op == OpCode::kBackward ? kBackward
                                                                        : 0);
    }
  }
  return costs;
}

// Most microbatches between the start of their forward and the end of their backward; at equal
// times the end comes first.
int most_in_flight(const Program& program, const Timeline& timeline, size_t at) {
  std::vector<std::pair<Nanoseconds, int>> changes;
  for (size_t i = 0; i < program.ranks[at].instructions.size(); ++i) {
    const OpCode op = program.ranks[at].instructions[i].op;
    if (op == OpCode::kForward) changes.emplace_back(timeline.ranks[at].events[i].start, 1);
    if (op == OpCode::kBackward) changes.emplace_back(timeline.ranks[at].events[i].end, -1);
  }
  std::sort(changes.begin(), changes.end());
  int held = 0, most = 0;
  for (const auto& [time, change] : changes) most = std::max(most, held += change);
  return most;
}

struct Pipeline {
  ScheduleKind schedule;
  int64_t pp, microbatches;
  bool overlap;
};
class ClosedForm : public testing::TestWithParam<Pipeline> {};

TEST_P(ClosedForm, MakespanBubbleAndMicrobatchesInFlight) {
  const Pipeline& c = GetParam();
  const ModelSpec model = shipped_model("tiny-llama");
  const Plan plan = test_plan(model, 1, 1, c.pp, c.microbatches, c.schedule);
  const Program program = compile(model, plan, {c.overlap, false});
  const Timeline timeline = simulate(program, Readiness(program), uniform_costs(program));
  const int64_t p = c.pp, m = c.microbatches;
  EXPECT_EQ(timeline.makespan(), (m + p - 1) * (kForward + kBackward));
  // Each of p ranks stands still for (p-1)(F+B).
  EXPECT_NEAR(timeline.idle_share(program),
              static_cast<double>(p - 1) / static_cast<double>(m + p - 1), 1e-12);
  for (int64_t stage = 0; stage < p; ++stage) {
    EXPECT_EQ(most_in_flight(program, timeline, static_cast<size_t>(stage)),
              c.schedule == ScheduleKind::kGPipe ? m : std::min(m, p - stage));
  }
}
std::vector<Pipeline> pipelines() {
  std::vector<Pipeline> all;
  for (ScheduleKind schedule : {ScheduleKind::kGPipe, ScheduleKind::kOneFOneB}) {
    for (int64_t pp = 1; pp <= 4; ++pp) {
      for (int64_t m : {1, 2, 3, 4, 7, 32}) {
        for (bool overlap : {false, true}) all.push_back({schedule, pp, m, overlap});
      }
    }
  }
  return all;
}
INSTANTIATE_TEST_SUITE_P(All, ClosedForm, testing::ValuesIn(pipelines()), [](const auto& info) {
  const Pipeline& c = info.param;
  return std::string(c.schedule == ScheduleKind::kGPipe ? "gpipe" : "onefoneb") + "_p" +
         std::to_string(c.pp) + "_m" + std::to_string(c.microbatches) +
         (c.overlap ? "_overlap" : "");
});

// Times of one chunk for one microbatch: forward, gradients of inputs, of weights.
struct Units {
  Nanoseconds f, b, w;
};
Nanoseconds makespan_of(ScheduleKind schedule, int64_t pp, int64_t v, int64_t m, const Units& u) {
  ModelSpec model = shipped_model("tiny-llama");
  model.layer_kind.assign(static_cast<size_t>(pp * v), 0);
  Plan plan = test_plan(model, 1, 1, pp, m, schedule);
  plan.virtual_stages = v;
  plan.stage_layers.assign(static_cast<size_t>(pp * v), 1);
  EXPECT_TRUE(check_plan(model, pp, plan).empty()) << plan.label();
  const Program program = compile(model, plan, {true, true});
  ProgramCosts costs;
  for (const RankProgram& rank : program.ranks) {
    costs.instruction.emplace_back();
    for (const Instruction& next : rank.instructions) {
      const Nanoseconds each = next.op == OpCode::kForward          ? u.f
                               : next.op == OpCode::kBackward       ? u.b + u.w
                               : next.op == OpCode::kBackwardInput  ? u.b
                               : next.op == OpCode::kBackwardWeight ? u.w
                                                                    : 0;
      costs.instruction.back().push_back(each);
    }
  }
  return simulate(program, Readiness(program), costs).makespan();
}

// arXiv 2104.04473: with v chunks a stage the bubble is (p - 1)(f + b + w) of a chunk.
TEST(Simulate, InterleavedBubbleIsThatOfAChunk) {
  for (int64_t p : {2, 3, 4}) {
    for (int64_t v : {2, 4}) {
      for (int64_t m : {p, 4 * p}) {
        EXPECT_EQ(makespan_of(ScheduleKind::kOneFOneB, p, v, m, {10, 11, 9}),
                  (v * m + p - 1) * (10 + 11 + 9))
            << p << " " << v << " " << m;
      }
    }
  }
}

// arXiv 2401.10241, table 2: the bubble of ZB-H1 is (p - 1)(F + B - W); that of ZB-V with equal
// times is nothing but the skew of its first forwards, (p - 1) of a chunk.
TEST(Simulate, BubblesOfSplitBackwards) {
  for (int64_t p : {2, 4, 8}) {
    const int64_t m = 4 * p;
    EXPECT_EQ(makespan_of(ScheduleKind::kZbH1, p, 1, m, {10, 10, 10}), m * 30 + (p - 1) * 10);
    EXPECT_EQ(makespan_of(ScheduleKind::kZbH1, p, 1, m, {20, 24, 16}), m * 60 + (p - 1) * 28);
    EXPECT_EQ(makespan_of(ScheduleKind::kZbV, p, 2, m, {10, 10, 10}), m * 60 + (p - 1) * 10);
  }
}

// A message of time c beside compute delays filling and draining of a GPipe pipeline by c per hop.
TEST(Simulate, MessagesBesideComputeDelayOnlyFillingAndDraining) {
  const ModelSpec model = shipped_model("tiny-llama");
  const Plan plan = test_plan(model, 1, 1, 4, 8, ScheduleKind::kGPipe);
  const Program program = compile(model, plan, {true, false});
  ProgramCosts costs = uniform_costs(program);
  for (size_t at = 0; at < program.ranks.size(); ++at) {
    for (size_t i = 0; i < program.ranks[at].instructions.size(); ++i) {
      if (program.ranks[at].instructions[i].is_send()) costs.instruction[at][i] = 100;
    }
  }
  const Timeline timeline = simulate(program, Readiness(program), costs);
  EXPECT_EQ(timeline.makespan(), (8 + 3) * (kForward + kBackward) + 2 * 3 * 100);
}

TEST(Simulate, GivesTheSameBytesTwice) {
  std::mt19937 random(4);
  const ModelSpec model = shipped_model("tiny-gpt");
  const ClusterSpec cluster = test_cluster(4, 2, true);
  for (int i = 0; i < 10; ++i) {
    const Plan plan = random_plan(model, &random);
    std::string first;
    for (int run = 0; run < 2; ++run) {
      const Program program = compile(model, plan, {true, false});
      const StepTable table(model, program, plan.optimizer);
      const Timeline timeline =
          simulate(program, Readiness(program), price(program, table, cluster));
      const std::string bytes = to_json(timeline).dump();
      if (run == 1) {
        EXPECT_EQ(bytes, first);
      }
      first = bytes;
    }
  }
}

TEST(Simulate, ObeysTheReadinessRule) {
  std::mt19937 random(5);
  const ModelSpec model = shipped_model("tiny-llama");
  const ClusterSpec cluster = test_cluster(2, 4, true);
  for (int i = 0; i < 30; ++i) {
    const Plan plan = random_plan(model, &random);
    const Program program = compile(model, plan, {i % 2 == 0, false});
    const Readiness rule(program);
    const StepTable table(model, program, plan.optimizer);
    const Timeline timeline = simulate(program, rule, price(program, table, cluster));
    EXPECT_TRUE(check_order(program, rule, timeline).empty());
  }
}

TEST(Simulate, AnInstructionBeforeItsTurnIsNamed) {
  const ModelSpec model = shipped_model("tiny-gpt");
  const Program program = compile(model, test_plan(model, 1, 1, 2, 2), {false, false});
  const Readiness rule(program);
  const StepTable table(model, program, OptimizerKind::kAdamW);
  const Timeline good = simulate(program, rule, price(program, table, test_cluster(2, 1, true)));
  // On one rank: the second instruction starts before the first has ended.
  Timeline early = good;
  early.ranks[0].events[1].start = early.ranks[0].events[0].end - 1;
  ASSERT_FALSE(check_order(program, rule, early).empty());
  EXPECT_EQ(check_order(program, rule, early).front().where, (Ref{0, 1}));
  // Between ranks: the receive, second on rank 1 after its load, ends before anything was sent.
  early = good;
  EventTime& receive = early.ranks[1].events[1];
  ASSERT_TRUE(program.ranks[1].instructions[1].is_receive());
  receive.start = receive.end = early.ranks[1].events[0].end;
  const auto found = check_order(program, rule, early);
  ASSERT_FALSE(found.empty());
  EXPECT_EQ(found.front().where, (Ref{1, 1}));
}

// An instruction takes as long as its steps, and a timeline reads back as it was written.
TEST(Simulate, StepsAddUpAndTimelinesReadBack) {
  const ModelSpec model = shipped_model("tiny-gpt");
  const Plan plan = test_plan(model, 2, 2, 2, 3);
  const Program program = compile(model, plan, {false, false});
  const StepTable table(model, program, plan.optimizer);
  const ClusterSpec cluster = test_cluster(8, 1, false);
  const Timeline timeline = simulate(program, Readiness(program), price(program, table, cluster));
  for (size_t at = 0; at < timeline.ranks.size(); ++at) {
    for (size_t i = 0; i < timeline.ranks[at].events.size(); ++i) {
      const EventTime& event = timeline.ranks[at].events[i];
      const Instruction& next = program.ranks[at].instructions[i];
      ASSERT_EQ(event.steps.size(), table.steps(next).size());
      Nanoseconds sum = 0;
      for (Nanoseconds step : event.steps) sum += step;
      // Members of a collective wait for the slowest.
      EXPECT_LE(sum, event.duration());
      if (!next.is_collective()) {
        EXPECT_EQ(sum, event.duration());
      }
    }
  }
  const Result<Timeline> again = read_timeline(to_json(timeline), "timeline");
  ASSERT_TRUE(again.ok()) << again.error().line();
  EXPECT_TRUE(*again == timeline);
}

// What simulate says, the slow way: every unit after what the rule puts before it, in the order of
// walk(), and all changes of memory sorted.
Timeline plain_simulation(const Program& program, const Readiness& rule,
                          const ProgramCosts& costs) {
  Timeline out;
  for (const RankProgram& rank : program.ranks) {
    out.ranks.push_back({rank.rank, 0, -1, {}});
    out.ranks.back().events.resize(rank.instructions.size());
  }
  rule.walk([&](std::span<const Ref> unit) {
    Nanoseconds start = 0, duration = 0;
    for (Ref ref : unit) {
      rule.for_each_before(ref, [&](Ref before) {
        start = std::max(start, out.ranks[before.at].events[before.index].end);
      });
      duration = std::max(duration, costs.instruction[ref.at][ref.index]);
    }
    for (Ref ref : unit) out.ranks[ref.at].events[ref.index] = {start, start + duration, {}};
  });
  for (size_t at = 0; at < program.ranks.size(); ++at) {
    RankTimeline& rank = out.ranks[at];
    std::vector<std::tuple<Nanoseconds, int, int, Bytes>> changes;  // time, order, index, bytes
    for (int i = 0; i < static_cast<int>(rank.events.size()); ++i) {
      const EventTime& event = rank.events[i];
      const Effects effects = effects_of(program, program.ranks[at].instructions[i]);
      Bytes made = 0, freed = 0;
      for (const Buffer& buffer : effects.allocates) made += bytes_of(program, buffer);
      for (const Buffer& buffer : effects.frees) freed += bytes_of(program, buffer);
      changes.emplace_back(event.start, 1, i, made);
      changes.emplace_back(event.end, event.start == event.end ? 2 : 0, i, -freed);
    }
    std::sort(changes.begin(), changes.end());
    Bytes live = rank.peak_bytes = resident_bytes(program, program.ranks[at]);
    for (const auto& [time, order, index, bytes] : changes) {
      live += bytes;
      if (live <= rank.peak_bytes) continue;
      rank.peak_bytes = live;
      rank.peak_index = index;
    }
  }
  return out;
}

// Durations of 0 to 3 ns: most instructions start and end together with others.
TEST(Simulate, EqualsThePlainWay) {
  std::mt19937 random(7);
  const ModelSpec gpt = shipped_model("tiny-gpt"), llama = shipped_model("tiny-llama");
  for (int i = 0; i < 200; ++i) {
    const ModelSpec& model = i % 2 == 0 ? gpt : llama;
    const Plan plan = i % 3 == 0 ? random_split(model, &random) : random_plan(model, &random);
    Program program = compile(model, plan, {i % 4 != 0, i % 5 == 0});
    if (i % 7 == 0) program.messages = MessageMode::kRendezvous;
    const Readiness rule(program);
    if (!rule.walk([](std::span<const Ref>) {}).empty()) continue;  // blocked as it is
    ProgramCosts costs;
    for (const RankProgram& rank : program.ranks) {
      costs.instruction.emplace_back();
      for (size_t k = 0; k < rank.instructions.size(); ++k) {
        costs.instruction.back().push_back(static_cast<Nanoseconds>(random() % 4));
      }
    }
    const Timeline fast = simulate(program, rule, costs);
    const Timeline plain = plain_simulation(program, rule, costs);
    for (size_t at = 0; at < program.ranks.size(); ++at) {
      const RankTimeline &a = fast.ranks[at], &b = plain.ranks[at];
      EXPECT_EQ(a.events.size(), b.events.size());
      EXPECT_TRUE(a.events == b.events) << i << " " << plan.label() << " rank " << at;
      EXPECT_EQ(a.peak_bytes, b.peak_bytes) << i << " " << plan.label() << " rank " << at;
      EXPECT_EQ(a.peak_index, b.peak_index) << i << " " << plan.label() << " rank " << at;
    }
  }
}

// Where messages share the compute lane the peak is known without simulation: at the first backward
// all microbatches in flight are held, and the gradients of the output and of the input.
TEST(Simulate, PeakWithoutOverlapIsTheFootprint) {
  std::mt19937 random(6);
  const ModelSpec gpt = shipped_model("tiny-gpt"), llama = shipped_model("tiny-llama");
  const ClusterSpec cluster = test_cluster(8, 1, false);
  for (int i = 0; i < 60; ++i) {
    const ModelSpec& model = i % 2 == 0 ? gpt : llama;
    const Plan plan = random_plan(model, &random);
    for (bool overlap : {false, true}) {
      const Program program = compile(model, plan, {overlap, false});
      const StepTable table(model, program, plan.optimizer);
      const Timeline timeline =
          simulate(program, Readiness(program), price(program, table, cluster));
      const auto least = Footprint(model, cluster, plan).smallest(plan.schedule);
      for (size_t at = 0; at < program.ranks.size(); ++at) {
        const Bytes expected = least[program.ranks[at].stage].peak();
        if (!overlap) {
          EXPECT_EQ(timeline.ranks[at].peak_bytes, expected) << plan.label();
        }
        EXPECT_GE(timeline.ranks[at].peak_bytes, expected) << plan.label();
      }
    }
  }
}

}  // namespace
}  // namespace shardwright
