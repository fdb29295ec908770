#include "executor/data/text_data.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <set>

namespace shardwright {
namespace {

class TextDataTest : public ::testing::Test {
 protected:
  std::string file_of(int64_t bytes) {
    const std::string path = ::testing::TempDir() + "text_" + std::to_string(bytes);
    std::ofstream out(path, std::ios::binary);
    for (int64_t i = 0; i < bytes; ++i) out.put(static_cast<char>(i * 7 % 251));
    return path;
  }
};

TEST_F(TextDataTest, TargetsAreTheNextBytes) {
  const auto data = TextData::open(file_of(1001), 10, 4, 256, 1);
  ASSERT_TRUE(data.ok()) << data.error().line();
  EXPECT_EQ((*data)->windows(), 100);
  int32_t tokens[10], targets[10];
  for (int64_t number : {0, 5, 99, 100, 1234}) {
    (*data)->sample(number, tokens, targets);
    const int64_t first = (*data)->window_of(number) * 10;
    for (int64_t t = 0; t < 10; ++t) {
      EXPECT_EQ(tokens[t], (first + t) * 7 % 251);
      EXPECT_EQ(targets[t], (first + t + 1) * 7 % 251);
    }
  }
}

TEST_F(TextDataTest, AnEpochVisitsEveryWindowOnceAndEpochsDiffer) {
  const auto data = TextData::open(file_of(1001), 10, 4, 256, 1);
  std::vector<std::vector<int64_t>> epochs;
  for (int64_t epoch = 0; epoch < 3; ++epoch) {
    epochs.emplace_back();
    for (int64_t i = 0; i < 100; ++i) epochs.back().push_back((*data)->window_of(epoch * 100 + i));
    EXPECT_EQ(std::set<int64_t>(epochs.back().begin(), epochs.back().end()).size(), 100u);
    EXPECT_EQ(*std::max_element(epochs.back().begin(), epochs.back().end()), 99);
  }
  EXPECT_NE(epochs[0], epochs[1]);
  EXPECT_NE(epochs[1], epochs[2]);
}

TEST_F(TextDataTest, RefusesWhatCannotBeTrainedOn) {
  const auto line = [](const auto& result) { return result.ok() ? "" : result.error().line(); };
  EXPECT_NE(line(TextData::open(file_of(40), 10, 4, 256, 1)).find("at least 41"),
            std::string::npos);
  EXPECT_TRUE(TextData::open(file_of(41), 10, 4, 256, 1).ok());
  EXPECT_NE(line(TextData::open(file_of(1000), 10, 4, 255, 1)).find("vocab_size"),
            std::string::npos);
  EXPECT_NE(line(TextData::open("/no/such/file", 10, 4, 256, 1)), "");
  EXPECT_NE(line(TextData::open(::testing::TempDir(), 10, 4, 256, 1)), "");
}

}  // namespace
}  // namespace shardwright
