#include "executor/profile/machine_info.h"

#include <gtest/gtest.h>

namespace shardwright {
namespace {

TEST(CoreName, PlainAndShort) {
  EXPECT_EQ(core_name("AMD EPYC"), "cpu-amd-epyc-core");
  EXPECT_EQ(core_name("Intel(R) Xeon(R) Gold 6248 CPU @ 2.50GHz"),
            "cpu-intel-r-xeon-r-gold-6248-cpu-2-50ghz-core");
  EXPECT_EQ(core_name("  ***  "), "cpu-unknown-core");
  EXPECT_EQ(core_name("\xc3\xa9t\xc3\xa9"), "cpu-t-core");
  EXPECT_EQ(core_name(std::string(500, 'x')).size(), 80u);
}

TEST(ValueOfKey, FindsTheFirst) {
  const std::string text =
      "processor\t: 0\nmodel name\t: A: B \nMemAvailable:  123 kB\nmodel name\t: C\n";
  EXPECT_EQ(value_of_key(text, "model name"), "A: B");
  EXPECT_EQ(value_of_key(text, "MemAvailable"), "123 kB");
  EXPECT_EQ(value_of_key(text, "model"), "");
}

TEST(MachineInfo, SaysSomethingOfThisMachine) {
  const MachineInfo info = read_machine_info();
  EXPECT_GE(info.cores, 1);
  EXPECT_GT(info.memory_bytes, Bytes{1} << 20);
  EXPECT_NE(describe_source(info).find(info.cpu_model), std::string::npos);
}

}  // namespace
}  // namespace shardwright
