#include "planner/records/record.h"

#include <gtest/gtest.h>

#include "tests/planner/records/sample.h"

namespace shardwright {
namespace {

std::string refusal(const std::string& line) {
  const Result<Record> record = read_record(line, "f:1");
  return record ? "" : record.error().line();
}
std::string refusal_of(const Json& json) { return refusal(json.dump()); }

TEST(ReadRecord, KeepsWhatIsPrintedAndLeavesTheRestEmpty) {
  const Result<Record> record = read_record(sample_record().dump(), "f:1");
  ASSERT_TRUE(record) << record.error().line();
  EXPECT_EQ(record->id, "sample-7b");
  EXPECT_EQ(record->source, "Sample runs");
  EXPECT_EQ(record->model.layers, 32);
  EXPECT_FALSE(record->model.moe);
  EXPECT_FALSE(record->parallel.vpp);
  EXPECT_EQ(record->parallel.sp, true);
  EXPECT_EQ(record->measured.iteration_s, 4.0);
  EXPECT_FALSE(record->measured.tflops_per_gpu);
}

// What sources say beside the form grows: features and extra may hold anything.
TEST(ReadRecord, CollectsFactsOfAnyName) {
  Json json = sample_record();
  json["extra"] = {{"perf_config", {{"scope", {"attn", "moe"}}}}, {"head_dim", 128}};
  const Result<Record> record = read_record(json.dump(), "f:1");
  ASSERT_TRUE(record) << record.error().line();
  EXPECT_TRUE(record->is("features.flash_attention"));
  EXPECT_EQ(record->fact("features.something_new"), "1 two");
  EXPECT_EQ(record->fact("extra.perf_config.scope"), "attn moe");
  EXPECT_EQ(record->fact("extra.absent"), "");
  EXPECT_EQ(record->model.head_dim, 128);
}

TEST(ReadRecord, RefusesAnUnknownFieldByName) {
  Json json = sample_record();
  json["parallel"]["tpp"] = 3;
  EXPECT_EQ(refusal_of(json), "f:1: parallel.tpp: found an unknown key, expected only known keys");
}

TEST(ReadRecord, RefusesWrongTypesAndRangesByField) {
  Json json = sample_record();
  json["model"]["layers"] = "32";
  EXPECT_NE(refusal_of(json).find("model.layers: found \"32\""), std::string::npos);
  json = sample_record();
  json["model"]["layers"] = -1;
  EXPECT_NE(refusal_of(json).find("model.layers: found -1"), std::string::npos);
  json = sample_record();
  json["cluster"]["gpus"] = int64_t{1} << 60;
  EXPECT_NE(refusal_of(json).find("cluster.gpus"), std::string::npos);
  json = sample_record();
  json["measured"]["iteration_s"] = 0;
  EXPECT_NE(refusal_of(json).find("measured.iteration_s"), std::string::npos);
  json = sample_record();
  json["model"] = {1, 2};
  EXPECT_NE(refusal_of(json).find("model: found a list"), std::string::npos);
  json = sample_record();
  json["id"] = "";
  EXPECT_NE(refusal_of(json).find("id"), std::string::npos);
}

TEST(ReadRecord, RefusesLinesThatAreNoJson) {
  const std::string whole = sample_record().dump();
  for (size_t cut = 0; cut < whole.size(); cut += 7) {
    EXPECT_NE(refusal(whole.substr(0, cut)), "") << cut;
  }
  std::string nan = whole;
  nan.replace(nan.find("4.0"), 3, "NaN");
  EXPECT_NE(refusal(nan), "");
  std::string huge = whole;
  huge.replace(huge.find("\"layers\":32"), 11, "\"layers\":99999999999999999999999");
  EXPECT_NE(refusal(huge), "");
  EXPECT_NE(refusal(std::string(100000, '[')), "");
  EXPECT_NE(refusal("null"), "");
  EXPECT_NE(refusal("[]"), "");
  EXPECT_NE(refusal("{}"), "");
}

TEST(ReadRecordFiles, FailsOnlyWhenAPathCannotBeRead) {
  EXPECT_FALSE(read_record_files({"/nonexistent/file.jsonl"}));
  const std::string folder = SHARDWRIGHT_SOURCE_DIR "/tests/tools/records";
  const Result<std::vector<RecordRow>> rows = read_record_files({folder});
  ASSERT_TRUE(rows) << rows.error().line();
  ASSERT_EQ(rows->size(), 9u);
  EXPECT_TRUE(rows->front().record);
  EXPECT_FALSE(rows->back().record);
}

}  // namespace
}  // namespace shardwright
