#include "planner/lint/shell.h"

#include <gtest/gtest.h>

namespace shardwright {
namespace {

using Words = std::vector<std::string>;

// The words of the last command.
Words last(const std::string& text) {
  const Result<ShellScript> script = read_shell(text, "test");
  EXPECT_TRUE(script.ok()) << script.error().line();
  if (!script.ok() || script->commands.empty()) return {};
  return script->commands.back().words;
}

// Expected values: what bash prints for the same text.
TEST(Shell, ExpandsWhatTheScriptSets) {
  EXPECT_EQ(last("TP=8\nrun --tp $TP --x ${TP}b '$TP' \"$TP\""),
            (Words{"run", "--tp", "8", "--x", "8b", "$TP", "8"}));
  EXPECT_EQ(last("A=(--a 1\n  --b '2 3') # words\nA+=(--c)\nrun \"${A[@]}\""),
            (Words{"run", "--a", "1", "--b", "2 3", "--c"}));
  EXPECT_EQ(last("ARGS=\"\n --a 1 \\\n --b 2\"\nrun $ARGS"),
            (Words{"run", "--a", "1", "--b", "2"}));
  EXPECT_EQ(last("export N=4; G=8\nrun $((N * G / 2)) $(($N+1))"), (Words{"run", "16", "5"}));
  EXPECT_EQ(last("run ${X:-7} ${Y:=a b} $Y"), (Words{"run", "7", "a", "b", "a", "b"}));
  EXPECT_EQ(last("E=()\nrun \"${E[@]}\" end"), (Words{"run", "end"}));
  EXPECT_EQ(last("run a \\\n  b # c\n"), (Words{"run", "a", "b"}));
  EXPECT_EQ(last("cat <<EOF\nrun no\nEOF\nrun yes > out 2>&1"), (Words{"run", "yes"}));
}

TEST(Shell, UnknownStaysUnknown) {
  const Words words = last("run --tp $TP --n $(nproc) $1");
  ASSERT_EQ(words.size(), 6u);
  EXPECT_TRUE(is_unknown(words[2]));
  EXPECT_EQ(shown(words[2]), "$TP");
  EXPECT_TRUE(is_unknown(words[4]));
  EXPECT_TRUE(is_unknown(words[5]));
}

TEST(Shell, DirectivesOfSlurmAreKept) {
  const Result<ShellScript> script = read_shell("#!/bin/sh\n#SBATCH --nodes=4 -J x\nrun\n", "test");
  ASSERT_TRUE(script.ok());
  EXPECT_EQ(script->directives, (Words{"--nodes=4", "-J", "x"}));
}

TEST(Shell, BrokenTextIsRefusedByLine) {
  for (const char* text : {"run 'open", "a\nrun \"open", "A=(1 2", "run ${X", "run $((1+2)"}) {
    const Result<ShellScript> script = read_shell(text, "job.sh");
    ASSERT_FALSE(script.ok()) << text;
    EXPECT_EQ(script.error().line().rfind("job.sh: line ", 0), 0u) << script.error().line();
  }
  // Doubling a variable over and over ends in an error, not in memory.
  std::string bomb = "A=xxxxxxxxxx\n";
  for (int i = 0; i < 40; ++i) bomb += "A=$A$A\n";
  EXPECT_FALSE(read_shell(bomb + "run $A", "test").ok());
}

}  // namespace
}  // namespace shardwright
