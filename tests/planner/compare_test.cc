#include "planner/compare.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <nlohmann/json.hpp>

#include "costmodel/hf_config.h"
#include "planner/compile.h"

namespace shardwright {
namespace {

ModelSpec tiny_gpt() {
  const Json config = {{"model_type", "gpt2"}, {"n_embd", 16},     {"n_layer", 2},
                       {"n_head", 2},          {"n_positions", 8}, {"vocab_size", 32}};
  return read_hf_config(config, "tiny").value();
}

Plan make_plan(int64_t dp, int64_t pp, int64_t global_batch) {
  Plan plan;
  plan.dp = dp;
  plan.pp = pp;
  plan.global_batch = global_batch;
  plan.seq = 8;
  plan.stage_layers = std::vector<int64_t>(pp, 2 / pp);
  return plan;
}

// A program and a timeline of it in which every instruction of a rank follows the one before it.
struct Case {
  explicit Case(const Plan& plan, bool overlap = false)
      : program(compile(model, plan, {.overlap = overlap})),
        table(model, program, OptimizerKind::kAdamW) {}

  // Every step takes step_ns(kind), every instruction rest_ns more, and gap_ns lie before each.
  template <typename StepNs>
  Timeline timeline(const StepNs& step_ns, Nanoseconds rest_ns, Nanoseconds gap_ns) const {
    Timeline out;
    for (const RankProgram& rank : program.ranks) {
      out.ranks.push_back({rank.rank, 1000 + rank.rank, 0, {}});
      Nanoseconds now = 0;
      for (const Instruction& instruction : rank.instructions) {
        EventTime event;
        event.start = event.end = now + gap_ns;
        for (const Step& step : table.steps(instruction)) {
          event.steps.push_back(step_ns(kind_of(step)));
          event.end += event.steps.back();
        }
        now = event.end += rest_ns;
        out.ranks.back().events.push_back(std::move(event));
      }
    }
    return out;
  }
  Timeline even(Nanoseconds step_ns, Nanoseconds rest_ns, Nanoseconds gap_ns) const {
    return timeline([&](const std::string&) { return step_ns; }, rest_ns, gap_ns);
  }

  ModelSpec model = tiny_gpt();
  Program program;
  StepTable table;
};

const CompareRow& row_of(const std::vector<CompareRow>& rows, const std::string& name) {
  static const CompareRow kNone{"none", -1, -1, -1, -1};
  for (const CompareRow& row : rows) {
    if (row.name == name) return row;
  }
  ADD_FAILURE() << "no row " << name;
  return kNone;
}

bool has_row(const std::vector<CompareRow>& rows, const std::string& name) {
  for (const CompareRow& row : rows) {
    if (row.name == name) return true;
  }
  return false;
}

void expect_additive(const Comparison& c) {
  for (const auto* rows : {&c.by_instruction, &c.by_step}) {
    Nanoseconds predicted = 0, measured = 0;
    double share = 0;
    for (const CompareRow& row : *rows) {
      predicted += row.predicted_ns;
      measured += row.measured_ns;
      share += c.share_pct(row);
    }
    EXPECT_EQ(predicted, c.predicted_step_ns * c.ranks);
    EXPECT_EQ(measured, c.measured_step_ns * c.ranks);
    EXPECT_NEAR(share, 100, 1e-9);
  }
}

void expect_sorted(const std::vector<CompareRow>& rows) {
  for (size_t i = 1; i < rows.size(); ++i) {
    const Nanoseconds before = std::abs(rows[i - 1].miss_ns()), here = std::abs(rows[i].miss_ns());
    EXPECT_TRUE(before > here || (before == here && rows[i - 1].name < rows[i].name))
        << rows[i - 1].name << " before " << rows[i].name;
  }
}

TEST(Compare, ErrorIsNegativeWhenThePredictionIsTooLow) {
  EXPECT_DOUBLE_EQ(error_pct(80, 100).value(), -20);
  EXPECT_DOUBLE_EQ(error_pct(150, 100).value(), 50);
  EXPECT_EQ(error_pct(0, 0), 0);
  EXPECT_EQ(error_pct(1, 0), std::nullopt);
}

TEST(Compare, EqualTimelinesHaveNoError) {
  const Case c(make_plan(2, 1, 8));
  const Timeline timeline = c.even(10, 0, 3);
  const Comparison comparison = compare_timelines(c.program, c.table, timeline, timeline);
  EXPECT_EQ(comparison.step_error_pct(), 0);
  EXPECT_EQ(comparison.peak_error_pct(), 0);
  for (const CompareRow& row : comparison.by_step) EXPECT_EQ(row.miss_ns(), 0) << row.name;
  expect_additive(comparison);
  expect_sorted(comparison.by_instruction);
}

// Two replicas of one stage, four microbatches each: every sum is known by counting.
TEST(Compare, RowsHaveTheSumsOfAllRanks) {
  const Case c(make_plan(2, 1, 8));
  const Timeline predicted = c.even(10, 0, 0);
  const Timeline measured =
      c.timeline([](const std::string& kind) { return kind == "qkv.forward" ? 25 : 10; }, 0, 0);
  const Comparison comparison = compare_timelines(c.program, c.table, predicted, measured);

  // 2 layers x 4 microbatches x 2 ranks.
  const CompareRow& qkv = row_of(comparison.by_step, "qkv.forward");
  EXPECT_EQ(qkv.count, 16);
  EXPECT_EQ(qkv.predicted_ns, 160);
  EXPECT_EQ(qkv.measured_ns, 400);
  const CompareRow& forward = row_of(comparison.by_instruction, "forward c0");
  EXPECT_EQ(forward.count, 8);
  EXPECT_EQ(forward.miss_ns(), -240);
  EXPECT_EQ(forward.measured_waiting_ns, 0);
  EXPECT_EQ(row_of(comparison.by_instruction, "clip c0").count, 2);

  // Only these differ: they come first, and the rest follows by name.
  EXPECT_EQ(comparison.by_step.front().name, "qkv.forward");
  EXPECT_EQ(comparison.by_instruction.front().name, "forward c0");
  expect_sorted(comparison.by_step);
  expect_sorted(comparison.by_instruction);
  EXPECT_EQ(comparison.measured_step_ns - comparison.predicted_step_ns, 120);
  EXPECT_LT(comparison.step_error_pct().value(), 0);
  expect_additive(comparison);
}

TEST(Compare, TimeInsideInstructionsButInNoStepIsShownApart) {
  const Case c(make_plan(1, 2, 4));
  const Comparison comparison =
      compare_timelines(c.program, c.table, c.even(10, 0, 0), c.even(10, 7, 0));
  int64_t instructions = 0, collectives = 0;
  for (const RankProgram& rank : c.program.ranks) {
    for (const Instruction& next : rank.instructions) {
      ++(next.is_collective() ? collectives : instructions);
    }
  }
  const CompareRow& row = row_of(comparison.by_step, kWaitingInStepsRow);
  EXPECT_EQ(row.predicted_ns, 0);
  EXPECT_EQ(row.measured_ns, 7 * instructions);
  // Members of a collective wait for one another as they do between instructions.
  EXPECT_GE(row_of(comparison.by_step, kWaitingRow).measured_ns, 7 * collectives);
  EXPECT_EQ(row_of(comparison.by_instruction, "clip c0").miss_ns(), 0);
  // Four microbatches on the first stage; the instruction itself keeps its whole time.
  const CompareRow& forward = row_of(comparison.by_instruction, "forward c0");
  EXPECT_EQ(forward.measured_waiting_ns, 4 * 7);
  EXPECT_EQ(forward.miss_ns(), -4 * 7);
  expect_additive(comparison);
}

TEST(Compare, WaitingIsRankTimeWithoutInstructions) {
  const Case c(make_plan(2, 1, 4));
  const Comparison comparison =
      compare_timelines(c.program, c.table, c.even(10, 0, 5), c.even(10, 0, 2));
  const int64_t each = static_cast<int64_t>(c.program.ranks[0].instructions.size());
  const CompareRow& waiting = row_of(comparison.by_step, kWaitingRow);
  EXPECT_EQ(waiting.predicted_ns, 2 * 5 * each);
  EXPECT_EQ(waiting.measured_ns, 2 * 2 * each);
  EXPECT_EQ(row_of(comparison.by_instruction, kWaitingRow), waiting);
  EXPECT_FALSE(has_row(comparison.by_step, kOverlapRow));
  expect_additive(comparison);
}

TEST(Compare, LanesSideBySideStillAddUp) {
  const Case c(make_plan(1, 2, 4), true);
  Timeline predicted = c.even(10, 0, 0);
  // The first send runs beside what came before it.
  auto& events = predicted.ranks[0].events;
  for (size_t i = 1; i < events.size(); ++i) {
    if (c.program.ranks[0].instructions[i].op != OpCode::kSendActivation) continue;
    events[i].start = events[i - 1].start;
    events[i].end = events[i].start + events[i].steps[0];
    break;
  }
  const Comparison comparison = compare_timelines(c.program, c.table, predicted, c.even(10, 0, 0));
  EXPECT_EQ(row_of(comparison.by_instruction, kOverlapRow).predicted_ns, -10);
  EXPECT_EQ(row_of(comparison.by_instruction, kOverlapRow).measured_ns, 0);
  expect_additive(comparison);
}

TEST(Compare, WithoutStepsInstructionsCountAsAWhole) {
  const Case c(make_plan(1, 2, 4));
  Timeline measured = c.even(10, 7, 1);
  for (RankTimeline& rank : measured.ranks) {
    for (EventTime& event : rank.events) event.steps.clear();
  }
  const Comparison comparison = compare_timelines(c.program, c.table, c.even(10, 0, 1), measured);
  const CompareRow& forward = row_of(comparison.by_step, "forward");
  EXPECT_EQ(forward.count, 8);  // four microbatches, two stages
  EXPECT_EQ(forward.miss_ns(), -8 * 7);
  EXPECT_FALSE(has_row(comparison.by_step, kWaitingInStepsRow));
  EXPECT_FALSE(has_row(comparison.by_step, "qkv.forward"));
  EXPECT_EQ(row_of(comparison.by_instruction, "forward c0").measured_waiting_ns, 0);
  expect_additive(comparison);
}

TEST(Compare, PeakIsThatOfTheFullestRank) {
  const Case c(make_plan(1, 2, 4));
  Timeline predicted = c.even(10, 0, 0), measured = predicted;
  predicted.ranks[0].peak_bytes = 750;
  predicted.ranks[1].peak_bytes = 700;
  measured.ranks[0].peak_bytes = 600;
  measured.ranks[1].peak_bytes = 1000;
  const Comparison comparison = compare_timelines(c.program, c.table, predicted, measured);
  EXPECT_EQ(comparison.predicted_peak_bytes, 750);
  EXPECT_EQ(comparison.measured_peak_bytes, 1000);
  EXPECT_DOUBLE_EQ(comparison.peak_error_pct().value(), -25);
}

TEST(CheckShape, NamesTheFieldThatDoesNotFit) {
  const Case c(make_plan(1, 2, 4));
  const Timeline good = c.even(10, 0, 0);
  const auto field_of = [&](auto&& change) {
    Timeline timeline = good;
    change(timeline.ranks);
    const auto error = check_shape(c.program, c.table, timeline, "t.json");
    return error ? error->file + " " + error->field + " " + error->found : "";
  };
  using Ranks = std::vector<RankTimeline>;
  EXPECT_EQ(field_of([](Ranks&) {}), "");
  EXPECT_EQ(field_of([](Ranks& r) { r[0].events[0].steps.clear(); }), "");
  EXPECT_EQ(field_of([](Ranks& r) { r.pop_back(); }), "t.json ranks 1");
  EXPECT_EQ(field_of([](Ranks& r) { r[1].rank = 5; }), "t.json ranks[1].rank 5");
  EXPECT_EQ(field_of([](Ranks& r) { r[0].events.clear(); }), "t.json ranks[0].events 0");
  EXPECT_EQ(field_of([](Ranks& r) {
              r[1].events[0].steps = {1, 2, 3};
            }),
            "t.json ranks[1].events[0] steps 3");
}

}  // namespace
}  // namespace shardwright
