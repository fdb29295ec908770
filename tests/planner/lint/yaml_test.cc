#include "planner/lint/yaml.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace shardwright {
namespace {

TEST(Yaml, ReadsWhatLaunchersWrite) {
  const Result<Json> json = parse_yaml(
      "# a comment\n---\na: 1\nb: text # not this\nc: 'it''s'\nd: \"x\\ny\"\ne: null\nf: true\n"
      "g:\n  h: 1.5\n  i:\n  - 1\n  - two\nj: [1, x]\nk: {}\nurl: http://x:1\n",
      "test");
  ASSERT_TRUE(json.ok()) << json.error().line();
  EXPECT_EQ(*json, Json::parse(R"({"a": 1, "b": "text", "c": "it's", "d": "x\ny", "e": null,
    "f": true, "g": {"h": 1.5, "i": [1, "two"]}, "j": [1, "x"], "k": {}, "url": "http://x:1"})"));
}

TEST(Yaml, RefusesTheRestByLine) {
  for (const char* text : {"a: &x 1", "a: *x", "a: |\n  text", "a: 1\na: 2", "a", "a: 1\n   b: 2",
                           "\ta: 1", "a: {b: 1}", "a: 'open", "a: 1\n---\nb: 2", "- a: 1"}) {
    const Result<Json> json = parse_yaml(text, "f.yaml");
    ASSERT_FALSE(json.ok()) << text;
    EXPECT_EQ(json.error().line().rfind("f.yaml: line ", 0), 0u) << json.error().line();
  }
}

}  // namespace
}  // namespace shardwright
