#include "tools/models_command.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <sstream>

#include "costmodel/json.h"

namespace shardwright {
namespace {

class ModelsShow : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(::setenv("SHARDWRIGHT_PROFILES", SHARDWRIGHT_SOURCE_DIR "/profiles", 1), 0);
  }
  int show(const std::string& path, bool json) { return run_models_show(path, json, out_, err_); }

  std::ostringstream out_, err_;
};

TEST_F(ModelsShow, PrintsAnAlignedTable) {
  ASSERT_EQ(show("tiny-gpt", false), 0);
  EXPECT_EQ(err_.str(), "");
  EXPECT_EQ(out_.str(),
            "tiny-gpt (gpt2): 4 layers, hidden 128, vocab 256\n"
            "\n"
            "part                    parameters    share\n"
            "embedding                   65,536    7.63%\n"
            "attention                  264,192   30.76%\n"
            "mlp                        526,848   61.34%\n"
            "norms                        2,048    0.24%\n"
            "final_norm                     256    0.03%\n"
            "total                      858,880  100.00%\n"
            "The head shares the embedding's weights.\n"
            "\n"
            "layers      heads   kv_heads   head_dim     window ffn_hidden    experts      top_k"
            " shared_ffn\n"
            "     4          4          4         32          -        512          -          -"
            "          -\n");
}

TEST_F(ModelsShow, FitsAHundredColumns) {
  for (const char* model : {"deepseek-v3", "llama-3.1-405b", "gpt-oss-20b"}) show(model, false);
  std::istringstream lines(out_.str());
  for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 100u) << line;
  EXPECT_NE(out_.str().find("active              37,552,297,472    5.60%"), std::string::npos);
}

TEST_F(ModelsShow, PrintsJsonWhosePartsAddUp) {
  ASSERT_EQ(show("mixtral-8x7b", true), 0);
  const Result<Json> json = parse_json(out_.str(), "output");
  ASSERT_TRUE(json.ok()) << json.error().line();
  EXPECT_EQ((*json)["name"], "mixtral-8x7b");
  EXPECT_EQ((*json)["model_type"], "mixtral");
  EXPECT_EQ((*json)["parameters_total"], 46'702'792'704);
  EXPECT_EQ((*json)["parameters_active"], 12'879'925'248);
  EXPECT_EQ((*json)["layers"], 32);
  EXPECT_EQ((*json)["hidden"], 4096);
  int64_t sum = 0;
  for (const auto& part : (*json)["parts"].items()) sum += part.value().get<int64_t>();
  EXPECT_EQ(sum, 46'702'792'704);
}

TEST_F(ModelsShow, AnswersBadInputWithOneLine) {
  for (const char* path : {"", "none", "/", "a\nb", SHARDWRIGHT_SOURCE_DIR "/CMakeLists.txt"}) {
    std::ostringstream err;
    EXPECT_EQ(run_models_show(path, false, out_, err), 2) << path;
    const std::string line = err.str();
    EXPECT_EQ(std::count(line.begin(), line.end(), '\n'), 1) << line;
    EXPECT_GT(line.size(), 10u);
  }
  EXPECT_EQ(out_.str(), "");
}

}  // namespace
}  // namespace shardwright
