#include "executor/run/tensorboard.h"

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <sstream>

namespace shardwright {
namespace {

namespace fs = std::filesystem;

TEST(Crc32c, KnownValues) {
  EXPECT_EQ(crc32c("123456789"), 0xE3069283u);            // the check value of CRC-32C
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8A9136AAu);  // RFC 3720, B.4
}

// Reads the records back by the format's description.
TEST(TensorBoardFile, RecordsReadBack) {
  const std::string folder = ::testing::TempDir() + "tensorboard_test";
  fs::remove_all(folder);
  fs::create_directories(folder);
  {
    TensorBoardFile file(folder, 1700000000.5);
    ASSERT_TRUE(file.ok());
    file.scalars(300, 1700000001.0, {{"loss", 2.5f}});
  }
  std::ifstream in(folder + "/events.out.tfevents.1700000000.shardwright", std::ios::binary);
  std::ostringstream whole;
  whole << in.rdbuf();
  const std::string bytes = whole.str();
  std::vector<std::string> records;
  for (size_t at = 0; at < bytes.size();) {
    uint64_t length = 0;
    std::memcpy(&length, bytes.data() + at, 8);
    ASSERT_LE(at + 16 + length, bytes.size());
    records.push_back(bytes.substr(at + 12, length));
    at += 16 + length;
  }
  ASSERT_EQ(records.size(), 2u);
  EXPECT_NE(records[0].find("brain.Event:2"), std::string::npos);
  // 0x09: wall_time; 0x10: step 300 as a varint; 0x2a: summary of one value.
  const std::string& event = records[1];
  EXPECT_EQ(event[0], 0x09);
  double wall_time = 0;
  std::memcpy(&wall_time, event.data() + 1, 8);
  EXPECT_EQ(wall_time, 1700000001.0);
  const std::string rest = event.substr(9);
  const std::string loss("\x0a\x04loss\x15\x00\x00\x20\x40", 11);
  EXPECT_EQ(rest, std::string("\x10\xac\x02\x2a\x0d\x0a\x0b") + loss);
}

}  // namespace
}  // namespace shardwright
