// Programs as text: printing and parsing are inverses, what is malformed is refused with its line,
// and what compile makes of seven small plans is compared with golden files.
#include "planner/program/program_text.h"

#include "tests/planner/support.h"

namespace shardwright {
namespace {

TEST(ProgramText, ParsesBackWhatItPrints) {
  std::mt19937 random(1);
  const ModelSpec gpt = shipped_model("tiny-gpt"), llama = shipped_model("tiny-llama");
  for (int i = 0; i < 40; ++i) {
    const ModelSpec& model = i % 2 == 0 ? gpt : llama;
    const Program program = compile(model, random_plan(model, &random), {i % 3 == 0, i % 4 == 0});
    const std::string text = print_program(program);
    const Result<Program> parsed = parse_program(text, "program");
    ASSERT_TRUE(parsed.ok()) << parsed.error().line();
    EXPECT_TRUE(*parsed == program);
    EXPECT_EQ(print_program(*parsed), text);
  }
}

TEST(ProgramText, ParsesBackEveryKindOfPlan) {
  std::mt19937 random(2);
  const ModelSpec gpt = shipped_model("tiny-gpt"), llama = shipped_model("tiny-llama");
  for (int i = 0; i < 60; ++i) {
    const ModelSpec& model = i % 2 == 0 ? gpt : llama;
    const Program program = compile(model, random_split(model, &random), {i % 3 == 0, i % 4 == 0});
    const Result<Program> parsed = parse_program(print_program(program), "program");
    ASSERT_TRUE(parsed.ok()) << parsed.error().line();
    EXPECT_TRUE(*parsed == program);
  }
}

struct Malformed {
  const char* name;
  const char* from;  // the first occurrence is replaced
  const char* to;
  const char* error;
};
const Malformed kMalformed[] = {
    {"schema", "shardwright.program/1", "shardwright.program/2", "line 1"},
    {"mode", "posted", "pigeon", "posted or rendezvous"},
    {"missing_number", "world 2", "world", "a whole number"},
    {"negative", "microbatches 2", "microbatches -2", "a whole number"},
    {"overflow", "persistent 1000", "persistent 99999999999999999999", "a whole number"},
    {"chunk_order", "chunk 1", "chunk 7", "chunks numbered from 0"},
    {"type", "type fp32", "type fp33", "a data type"},
    {"axis", "group 0 world", "group 0 moon", "an axis"},
    {"stride", "stride 1", "stride 0", "stride and size"},
    {"rank_order", "rank 1 tp", "rank 0 tp", "ranks in ascending order"},
    {"opcode", "0 load", "0 lode", "an instruction"},
    {"index", "1 forward", "5 forward", "instruction 1"},
    {"word", "c0 m0", "c0 x0", "c<chunk>"},
    {"lane", "@compute", "@sideways", "a lane"},
    {"no_lane", " @compute", "", "another word"},
    {"header", "tied 0", "tied 0 one 1", "cp, of, order, zero or end of line"},
    {"option", "tokens 2\n", "tokens 2 colour 3\n", "an option of a chunk"},
    {"waits", "1 forward c0 m0 @compute", "1 forward c0 m0 @compute wait 0 0 0 0 0 0", "at most 5"},
};
class ProgramTextRejects : public testing::TestWithParam<Malformed> {};

TEST_P(ProgramTextRejects, WithOneLine) {
  std::string text = read_text(SHARDWRIGHT_SOURCE_DIR "/tests/planner/programs/right_pp2.txt");
  ASSERT_TRUE(parse_program(text, "p").ok());
  const size_t at = text.find(GetParam().from);
  ASSERT_NE(at, std::string::npos);
  text.replace(at, std::string(GetParam().from).size(), GetParam().to);
  const Result<Program> parsed = parse_program(text, "p");
  ASSERT_FALSE(parsed.ok());
  EXPECT_NE(parsed.error().line().find(GetParam().error), std::string::npos)
      << parsed.error().line();
  EXPECT_NE(parsed.error().line().find("p: line "), std::string::npos) << parsed.error().line();
}
INSTANTIATE_TEST_SUITE_P(All, ProgramTextRejects, testing::ValuesIn(kMalformed),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(ProgramText, RefusesEveryTruncatedLine) {
  const std::string text =
      read_text(SHARDWRIGHT_SOURCE_DIR "/tests/planner/programs/right_tp2.txt");
  for (size_t length = 0; length < text.size(); ++length) {
    const Result<Program> parsed = parse_program(text.substr(0, length), "p");  // must not crash
    if (parsed.ok()) {
      EXPECT_TRUE(text[length] == '\n' || text[length - 1] == '\n' || length > 60);
    }
  }
  EXPECT_FALSE(parse_program("", "p").ok());
  EXPECT_FALSE(parse_program("0 load c0 m0 @compute", "p").ok());
}

struct Golden {
  const char* name;
  const char* model;
  int64_t dp, tp, pp, microbatches;
  ScheduleKind schedule;
};
const Golden kGolden[] = {
    {"dp2", "tiny-gpt", 2, 1, 1, 2, ScheduleKind::kOneFOneB},
    {"tp2", "tiny-llama", 1, 2, 1, 2, ScheduleKind::kOneFOneB},
    {"pp2_gpipe", "tiny-gpt", 1, 1, 2, 3, ScheduleKind::kGPipe},
    {"pp2_1f1b", "tiny-llama", 1, 1, 2, 3, ScheduleKind::kOneFOneB},
    {"dp2_pp2", "tiny-gpt", 2, 1, 2, 2, ScheduleKind::kOneFOneB},
    {"tp2_pp2", "tiny-gpt", 1, 2, 2, 2, ScheduleKind::kGPipe},
    {"pp4_1f1b", "tiny-llama", 1, 1, 4, 4, ScheduleKind::kOneFOneB},
};
class GoldenProgram : public testing::TestWithParam<Golden> {};

TEST_P(GoldenProgram, IsAsBefore) {
  const Golden& golden = GetParam();
  const ModelSpec model = shipped_model(golden.model);
  const Plan plan =
      test_plan(model, golden.dp, golden.tp, golden.pp, golden.microbatches, golden.schedule);
  for (bool overlap : {false, true}) {
    const std::string path = std::string(SHARDWRIGHT_SOURCE_DIR "/tests/planner/golden/") +
                             golden.name + (overlap ? "_overlap.txt" : ".txt");
    expect_golden(path, print_program(compile(model, plan, {overlap, false})));
  }
}
INSTANTIATE_TEST_SUITE_P(All, GoldenProgram, testing::ValuesIn(kGolden),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace shardwright
