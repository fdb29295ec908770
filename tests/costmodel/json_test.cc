#include "costmodel/json.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

namespace shardwright {
namespace {

namespace fs = std::filesystem;

// A folder of its own for each test, gone afterwards.
class JsonFiles : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = testing::TempDir() + "json_test_XXXXXX";
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override { fs::remove_all(folder_); }
  std::string path(const std::string& name) const { return (folder_ / name).string(); }
  size_t files() const {
    return static_cast<size_t>(std::distance(fs::directory_iterator(folder_), {}));
  }

  fs::path folder_;
};

std::string error_of(std::string_view text) {
  const Result<Json> json = parse_json(text, "t.json");
  return json.ok() ? "" : json.error().line();
}

TEST(ParseJson, KeepsValuesAndTheOrderOfKeys) {
  const std::string text = R"({"b":[1,-2,2.5,"x\n",null,true],"a":{"z":{},"y":[]}})";
  const Result<Json> json = parse_json(text, "t.json");
  ASSERT_TRUE(json.ok()) << json.error().line();
  EXPECT_EQ(json->dump(), text);
}

TEST(ParseJson, TakesScalarsAndTheLargestIntegers) {
  EXPECT_EQ(*parse_json("-9223372036854775808", "t"), std::numeric_limits<int64_t>::min());
  EXPECT_EQ(*parse_json("18446744073709551615", "t"), std::numeric_limits<uint64_t>::max());
  EXPECT_EQ(*parse_json(" \"\xc3\xa9\" ", "t"), "\xc3\xa9");
}

TEST(ParseJson, RefusesTextThatIsNotJson) {
  for (const char* text :
       {"", " ", "{", "[1,", "[1,]", "{\"a\"}", "{\"a\":1,}", "nul", "{}x", "1 2", "'a'", "// c\n1",
        "NaN", "Infinity", "01", "\"a", "\"\\x\"", "\"\n\""}) {
    EXPECT_NE(error_of(text).find("expected valid JSON"), std::string::npos) << text;
  }
}

TEST(ParseJson, NamesFileAndByte) {
  EXPECT_EQ(error_of("[1, x]"), "t.json: byte 5: found invalid literal, expected valid JSON");
}

TEST(ParseJson, RefusesDuplicateKeys) {
  EXPECT_EQ(error_of(R"({"a":1,"a":2})"),
            "t.json: byte 10: found key \"a\" twice, expected every key once");
  EXPECT_NE(error_of(R"([{"b":{"a":1,"c":3,"a":2}}])"), "");
  EXPECT_EQ(error_of(R"([{"a":1},{"a":{"a":1}}])"), "");
}

TEST(ParseJson, RefusesNumbersThatOverflow) {
  EXPECT_NE(error_of("1e400").find("number overflow"), std::string::npos);
  EXPECT_NE(error_of("18446744073709551616").find("at most 64 bits"), std::string::npos);
  EXPECT_NE(error_of("-9223372036854775809").find("at most 64 bits"), std::string::npos);
  EXPECT_NE(error_of(std::string(100000, '9')), "");
}

TEST(ParseJson, RefusesInvalidUtf8AndZeroBytes) {
  EXPECT_NE(error_of("\"\xff\"").find("UTF-8"), std::string::npos);
  EXPECT_NE(error_of("{\"\xc3\":1}").find("UTF-8"), std::string::npos);
  EXPECT_NE(error_of("\"\xed\xa0\x80\"").find("UTF-8"), std::string::npos) << "a surrogate";
  EXPECT_NE(error_of(std::string_view("{}\0{", 4)).find("byte 2: found a zero"), std::string::npos);
}

TEST(ParseJson, RefusesDeepNestingWithoutRecursion) {
  const auto nested = [](size_t depth) {
    return std::string(depth, '[') + std::string(depth, ']');
  };
  EXPECT_EQ(error_of(nested(64)), "");
  EXPECT_NE(error_of(nested(65)).find("nesting deeper than 64"), std::string::npos);
  EXPECT_NE(error_of(std::string(100000, '[')).find("byte 65: "), std::string::npos);
  std::string objects;
  for (int i = 0; i < 100000; ++i) objects += "{\"a\":";
  EXPECT_NE(error_of(objects).find("nesting deeper"), std::string::npos);
}

TEST(ParseJson, RefusesTextsOver64Mebibytes) {
  EXPECT_NE(error_of(std::string((size_t{64} << 20) + 1, ' ')).find("64 MiB"), std::string::npos);
}

// A linear search for each key would take minutes here.
TEST(ParseJson, TakesManyKeysInOneObject) {
  std::string text = "{";
  for (int i = 0; i < 200000; ++i) text += "\"k" + std::to_string(i) + "\":0,";
  text += "\"last\":1}";
  const Result<Json> json = parse_json(text, "t.json");
  ASSERT_TRUE(json.ok());
  EXPECT_EQ(json->size(), 200001u);
}

TEST(ParseJson, ErrorsAreOneShortLine) {
  for (const std::string& text :
       {std::string("{\"a\n\":1}"), "[\"" + std::string(1 << 20, 'x') + "\n\"]",
        "{\"k\\n\":1,\"k\\n\":2}" + std::string(9, '\n')}) {
    const std::string line = error_of(text);
    EXPECT_FALSE(line.empty());
    EXPECT_LT(line.size(), 300u);
    EXPECT_EQ(line.find('\n'), std::string::npos);
  }
}

TEST_F(JsonFiles, ReadsWhatWasWritten) {
  ASSERT_FALSE(write_file_atomically(path("a.json"), "{\"a\": 1}").has_value());
  ASSERT_FALSE(write_file_atomically(path("a.json"), "{\"a\": 2}").has_value());
  EXPECT_EQ(read_file(path("a.json")).value(), "{\"a\": 2}");
  EXPECT_EQ(read_json_file(path("a.json")).value()["a"], 2);
  EXPECT_EQ(files(), 1u) << "no temporary file stays";
}

TEST_F(JsonFiles, RefusesMissingFilesAndDirectories) {
  EXPECT_EQ(read_file(path("none")).error().found, "No such file or directory");
  EXPECT_EQ(read_file(folder_.string()).error().found, "a directory");
  EXPECT_EQ(read_json_file("").error().found, "No such file or directory");
}

TEST_F(JsonFiles, RefusesFilesOverTheLimit) {
  ASSERT_FALSE(write_file_atomically(path("a"), "12345").has_value());
  EXPECT_TRUE(read_file(path("a"), 5).ok());
  EXPECT_EQ(read_file(path("a"), 4).error().found, "more than 4 bytes");
  EXPECT_FALSE(read_file("/dev/zero", 1000).ok());
}

TEST_F(JsonFiles, WriteLeavesNothingBehindWhenItFails) {
  EXPECT_TRUE(write_file_atomically(path("none/a"), "x").has_value());
  ASSERT_TRUE(fs::create_directory(path("folder")));
  EXPECT_EQ(write_file_atomically(path("folder"), "x")->found, "a directory");
  EXPECT_EQ(write_file_atomically("/dev/null", "x")->found, "not an ordinary file");
  EXPECT_EQ(files(), 1u);
}

TEST(Fields, ReadsEveryType) {
  const Json json = Json::parse(
      R"({"i":3,"n":2.5,"b":true,"t":"x","is":[1,2],"ns":[1,2.5],"o":{"k":1},"a":[{}]})");
  Fields fields(json, "f");
  EXPECT_EQ(fields.integer("i", 0, 3), 3);
  EXPECT_EQ(fields.number("n", 0, 10), 2.5);
  EXPECT_EQ(fields.number("i", 0, 10), 3.0);
  EXPECT_TRUE(fields.boolean("b"));
  EXPECT_EQ(fields.text("t"), "x");
  EXPECT_EQ(fields.integers("is", 0, 9), (std::vector<int64_t>{1, 2}));
  EXPECT_EQ(fields.numbers("ns", 0, 9), (std::vector<double>{1, 2.5}));
  EXPECT_EQ(fields.object("o")["k"], 1);
  EXPECT_EQ(fields.array("a").size(), 1u);
  EXPECT_FALSE(fields.finish().has_value());
}

TEST(Fields, FallsBackWhenAbsentOrNull) {
  const Json json = Json::parse(R"({"n":null})");
  Fields fields(json, "f");
  EXPECT_EQ(fields.integer_or("n", 7, 0, 9), 7);
  EXPECT_EQ(fields.number_or("x", 0.5, 0, 9), 0.5);
  EXPECT_TRUE(fields.boolean_or("x", true));
  EXPECT_EQ(fields.text_or("x", "d"), "d");
  EXPECT_FALSE(fields.has("n"));
  EXPECT_FALSE(fields.finish().has_value());
}

// One wrong read on {"k": VALUE}; gives the error's line.
template <typename Read>
std::string wrong(const char* value, Read read) {
  const Json json = Json::parse(std::string("{\"k\":") + value + "}");
  Fields fields(json, "f", "p.");
  read(fields);
  return fields.error() ? fields.error()->line() : "";
}

TEST(Fields, RefusesWrongTypesAndRanges) {
  const auto integer = [](Fields& f) { EXPECT_EQ(f.integer("k", 1, 9), 1); };
  EXPECT_EQ(wrong("null", integer), "f: p.k: found nothing, expected an integer from 1 to 9");
  EXPECT_EQ(wrong("10", integer), "f: p.k: found 10, expected an integer from 1 to 9");
  EXPECT_EQ(wrong("2.0", integer), "f: p.k: found 2.0, expected an integer from 1 to 9");
  EXPECT_EQ(wrong("\"2\"", integer), "f: p.k: found \"2\", expected an integer from 1 to 9");
  EXPECT_NE(wrong("true", integer), "");
  EXPECT_NE(wrong("18446744073709551615", integer), "");
  EXPECT_NE(wrong("0", [](Fields& f) { f.integer_or("k", 5, 1, 9); }), "") << "present but wrong";
  EXPECT_EQ(wrong("-1.5", [](Fields& f) { f.number("k", 0, 2); }),
            "f: p.k: found -1.5, expected a number from 0 to 2");
  EXPECT_EQ(wrong("1", [](Fields& f) { f.boolean("k"); }),
            "f: p.k: found 1, expected true or false");
  EXPECT_EQ(wrong("[1,2]", [](Fields& f) { f.text("k"); }),
            "f: p.k: found a list of 2 elements, expected a string");
  EXPECT_EQ(wrong("[1,99]", [](Fields& f) { f.integers("k", 0, 9); }),
            "f: p.k[1]: found 99, expected an integer from 0 to 9");
  EXPECT_NE(wrong("[1,\"x\"]", [](Fields& f) { f.numbers("k", 0, 9); }), "");
  EXPECT_EQ(wrong("{\"a\":1}", [](Fields& f) { f.array("k"); }),
            "f: p.k: found an object of 1 key, expected a list");
  EXPECT_NE(wrong("[]", [](Fields& f) { f.object("k"); }), "");
  const std::string longer = '"' + std::string(5000, 'x') + '"';
  EXPECT_NE(wrong(longer.c_str(), [](Fields& f) { f.text("k"); }), "");
}

TEST(Fields, KeepsTheFirstError) {
  const Json json = Json::parse(R"({"a":"x","b":"y"})");
  Fields fields(json, "f");
  fields.integer("b", 0, 1);
  fields.integer("a", 0, 1);
  EXPECT_EQ(fields.finish()->field, "b");
}

TEST(Fields, RefusesUnknownKeysInOneLine) {
  const Json json = Json::parse("{\"a\":1,\"c\":1,\"b\\n\":1}");
  Fields fields(json, "f", "p.");
  fields.integer("a", 0, 1);
  fields.ignore({"c"});
  EXPECT_EQ(fields.finish()->line(), "f: p.b?: found an unknown key, expected only known keys");
}

TEST(Fields, RefusesWhatIsNotAnObject) {
  const Json json = Json::parse("[1]");
  Fields fields(json, "f", "p.");
  EXPECT_EQ(fields.integer("a", 2, 3), 2);
  EXPECT_EQ(fields.finish()->line(), "f: p: found a list of 1 element, expected an object");
}

TEST(Quote, IsShortAndOneLine) {
  EXPECT_EQ(quote(Json("a\nb\xff")), "\"a?b?\"");
  EXPECT_LT(quote(Json(std::string(1000, 'x'))).size(), 100u);
  EXPECT_EQ(quote(Json(1.5)), "1.5");
}

}  // namespace
}  // namespace shardwright
