// Whose value a factor has when its owner has none, and the files that say so.
#include "costmodel/factors.h"

#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

namespace shardwright {
namespace {

constexpr auto kStack = static_cast<size_t>(FactorOwner::kStack);
constexpr auto kPass = static_cast<size_t>(Factor::kPass);

// A family "fused" of "one" and "two", of which only "one" was seen.
FactorTable table_of_a_family() {
  FactorTable table;
  table.family[kStack] = {{"one", "fused"}, {"two", "fused"}};
  table.of[kStack]["fused"][Factor::kPass] = 2.5;
  table.of[kStack]["one"][Factor::kPass] = 3;
  table.uncertainty[kStack]["fused"][Factor::kPass] = 0.3;
  table.uncertainty[kStack]["one"][Factor::kPass] = 0.1;
  table.within[kPass] = 0.4;
  table.spread[kPass] = 0.7;
  table.usual[kPass] = 1.5;
  return table;
}

TEST(Factors, AnOwnersOwnThenItsFamilysThenTheUsual) {
  const FactorTable table = table_of_a_family();
  EXPECT_EQ(table.value(Factor::kPass, "one"), 3);
  EXPECT_EQ(table.value(Factor::kPass, "two"), 2.5);
  EXPECT_EQ(table.value(Factor::kPass, "three"), 1.5);
  EXPECT_EQ(table.value(Factor::kPace, "one"), info_of(Factor::kPace).usual);
}

// An owner that was not seen differs from its family by `within`, one without a family by `spread`.
TEST(Factors, DoubtGrowsWithWhatIsNotKnown) {
  const FactorTable table = table_of_a_family();
  EXPECT_EQ(table.doubt(Factor::kPass, "one"), 0.1);
  EXPECT_NEAR(table.doubt(Factor::kPass, "two"), 0.5, 1e-12);  // (0.3, 0.4, 0.5)
  EXPECT_EQ(table.doubt(Factor::kPass, "three"), 0.7);
}

TEST(Factors, JsonKeepsAllButTheFamilies) {
  const FactorTable table = table_of_a_family();
  const Result<FactorTable> again = read_factors(to_json(table), "again");
  ASSERT_TRUE(again.ok()) << again.error().line();
  EXPECT_EQ(again->of, table.of);
  EXPECT_EQ(again->uncertainty, table.uncertainty);
  EXPECT_EQ(again->usual, table.usual);
  EXPECT_EQ(again->spread, table.spread);
  EXPECT_EQ(again->within, table.within);
  EXPECT_TRUE(again->family[kStack].empty());
}

TEST(Factors, RefusesAnUncertaintyThatIsNone) {
  Json json = to_json(table_of_a_family());
  json["uncertainty"]["stack"]["one"]["pass"] = -1;
  const Result<FactorTable> again = read_factors(json, "f.json");
  ASSERT_FALSE(again.ok());
  EXPECT_NE(again.error().line().find("f.json: uncertainty.stack.one.pass"), std::string::npos)
      << again.error().line();
}

Json families(const std::string& stack) {
  return Json::parse(R"({"schema": "shardwright.families/1", "device": [], "stack": )" + stack +
                     "}");
}

TEST(Families, GiveEveryMemberItsFamily) {
  FactorTable table;
  const auto error =
      read_families(families(R"([{"family": "fused", "reason": "r", "members": ["one", "two"]},
                   {"family": "eager", "reason": "r", "members": ["three"]}])"),
                    "families.json", &table);
  ASSERT_FALSE(error) << error->line();
  EXPECT_EQ(table.family_of(FactorOwner::kStack, "two"), "fused");
  EXPECT_EQ(table.family_of(FactorOwner::kStack, "three"), "eager");
  EXPECT_EQ(table.family_of(FactorOwner::kStack, "four"), "");
  EXPECT_EQ(table.family_of(FactorOwner::kDevice, "two"), "");
}

TEST(Families, RefuseWhatTheyDoNotKnowInOneLine) {
  for (const auto& [stack, says] : std::vector<std::pair<std::string, std::string>>{
           {R"([{"family": "f", "reason": "r", "members": [1]}])", "members"},
           {R"([{"family": "f", "members": ["one"]}])", "reason"},
           {R"([{"family": "f", "reason": "r", "members": ["one"], "colour": 1}])", "colour"},
           {R"([{"family": "f", "reason": "r", "members": ["one"]},
                {"family": "g", "reason": "r", "members": ["one"]}])",
            "one"},
           {R"([{"family": "f", "reason": "r", "members": ["f"]}])", "f"},
           {"7", "stack"}}) {
    FactorTable table;
    const auto error = read_families(families(stack), "families.json", &table);
    ASSERT_TRUE(error) << stack;
    EXPECT_NE(error->line().find("families.json"), std::string::npos) << error->line();
    EXPECT_NE(error->line().find(says), std::string::npos) << error->line();
    EXPECT_EQ(error->line().find('\n'), std::string::npos);
  }
}

}  // namespace
}  // namespace shardwright
