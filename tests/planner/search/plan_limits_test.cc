// Limits as they are read, written, said and obeyed.
#include "planner/search/plan_limits.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace shardwright {
namespace {

PlanLimits some_limits() {
  PlanLimits limits;
  limits.pins = {"tp=2|4", "schedule=1f1b"};
  limits.bans = {"zero=3"};
  limits.maxs = {"pp=4"};
  limits.framework = "any";
  limits.headroom = 0.1;
  limits.memory_limit = Bytes{40} << 30;
  return limits;
}

Result<PlanLimits> read(const std::string& text) {
  return read_limits(Json::parse(text), "plan.json", "limits.");
}

TEST(PlanLimits, RoundTripAndSayThemselves) {
  const PlanLimits limits = some_limits();
  const Result<PlanLimits> again = read_limits(to_json(limits), "plan.json", "limits.");
  ASSERT_TRUE(again.ok()) << again.error().line();
  EXPECT_EQ(*again, limits);
  EXPECT_EQ(limits.line(),
            "--pin tp=2|4 --pin schedule=1f1b --ban zero=3 --max pp=4 --for any "
            "--memory-limit 40 GiB");
  EXPECT_EQ(PlanLimits().line(), "");
}

TEST(PlanLimits, BindARequest) {
  SpaceRequest request;
  ASSERT_FALSE(limit(some_limits(), &request));
  EXPECT_TRUE(request.constraints.allows("tp", int64_t{4}));
  EXPECT_FALSE(request.constraints.allows("tp", int64_t{8}));
  EXPECT_FALSE(request.constraints.allows("zero", int64_t{3}));
  EXPECT_FALSE(request.constraints.allows("pp", int64_t{8}));
  EXPECT_EQ(request.headroom, 0.1);
  EXPECT_EQ(request.memory_limit, Bytes{40} << 30);
}

TEST(PlanLimits, RefuseByFileAndField) {
  const std::pair<const char*, const char*> cases[] = {
      {R"({"pin": "tp=2"})", "plan.json: limits.pin"},
      {R"({"pin": [2]})", "plan.json: limits.pin"},
      {R"({"pin": ["colour=red"]})", "plan.json: limits.pin"},
      {R"({"max": ["schedule=1f1b"]})", "plan.json: limits.max"},
      {R"({"headroom": 1})", "plan.json: limits.headroom"},
      {R"({"memory_limit_bytes": 0})", "plan.json: limits.memory_limit_bytes"},
      {R"({"pins": []})", "plan.json: limits.pins"}};
  for (const auto& [text, says] : cases) {
    const Result<PlanLimits> limits = read(text);
    ASSERT_FALSE(limits.ok()) << text;
    EXPECT_EQ(limits.error().line().rfind(says, 0), 0U) << limits.error().line();
  }
}

}  // namespace
}  // namespace shardwright
