// Starts mpi_comm_check under mpirun, once per way in which a run can end.
#include "executor/comm/launch.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "executor/exec_error.h"

namespace shardwright {
namespace {

constexpr int kExpectedFailure = 42;  // see mpi_comm_check.cc

int check(int ranks, const std::string& mode) {
  return launch_mpi(ranks, {MPI_COMM_CHECK, mode}, "");
}

TEST(Launch, BodyOnAsManyRanksAndMoreThanCores) {
  EXPECT_EQ(check(1, "body"), 0);
  EXPECT_EQ(check(3, "body"), 0);
  EXPECT_EQ(check(8, "body"), 0);
}

TEST(Launch, LongDataGoesInPieces) { EXPECT_EQ(check(3, "pieces"), 0); }

TEST(Launch, LongMessagesInBothDirections) { EXPECT_EQ(check(2, "long"), 0); }

TEST(Launch, RankThatNeverComesMeetsTheDeadline) {
  EXPECT_EQ(check(2, "late"), kExpectedFailure);
  EXPECT_EQ(check(2, "late_message"), kExpectedFailure);
}

TEST(Launch, WrongLengthsAreErrors) {
  EXPECT_EQ(check(2, "length"), kExpectedFailure);
  EXPECT_EQ(check(3, "mismatch"), kExpectedFailure);
}

TEST(Launch, KilledRankEndsTheRun) { EXPECT_EQ(check(2, "kill"), 128 + 9); }

TEST(Launch, ThrowingRankEndsTheRun) { EXPECT_EQ(check(3, "throw"), 1); }

TEST(Launch, AbortGivesItsCode) { EXPECT_EQ(check(2, "abort"), 7); }

TEST(Launch, ProgramThatIsNotThere) { EXPECT_NE(launch_mpi(1, {"/no/such/program"}, ""), 0); }

TEST(Launch, StandardOutputIsTheRanksOnly) {
  for (const char* mode : {"print", "kill"}) {
    ::testing::internal::CaptureStdout();
    check(2, mode);
    const std::string text = ::testing::internal::GetCapturedStdout();
    EXPECT_EQ(text, std::string(mode) == "print" ? "rank\nrank\n" : "");
  }
}

TEST(Launch, NoMpirunIsAnError) {
  const std::string path = std::getenv("PATH");
  setenv("PATH", "/nowhere", 1);
  EXPECT_THROW(launch_mpi(1, {"true"}, ""), ExecError);
  setenv("PATH", path.c_str(), 1);
}

bool contains(const std::vector<std::string>& list, const std::string& item) {
  return std::find(list.begin(), list.end(), item) != list.end();
}

TEST(Launch, HostfileReplacesOversubscription) {
  const auto here = mpirun_arguments(2, {"program", "--flag"}, "");
  EXPECT_TRUE(contains(here, "--oversubscribe"));
  EXPECT_EQ(here.back(), "--flag");
  const auto there = mpirun_arguments(2, {"program"}, "hosts.txt");
  EXPECT_TRUE(contains(there, "hosts.txt"));
  EXPECT_FALSE(contains(there, "--oversubscribe"));
}

TEST(Launch, RecognisesItsOwnRanksOnly) {
  EXPECT_FALSE(inside_mpi_launch());
  setenv("SLURM_PROCID", "0", 1);
  setenv("SLURM_STEP_NUM_TASKS", "1", 1);
  EXPECT_FALSE(inside_mpi_launch());
  setenv("SLURM_STEP_NUM_TASKS", "4", 1);
  EXPECT_TRUE(inside_mpi_launch());
  unsetenv("SLURM_PROCID");
  unsetenv("SLURM_STEP_NUM_TASKS");
}

// Variables of the environment for one test.
class Environment {
 public:
  ~Environment() {
    for (const std::string& name : names_) unsetenv(name.c_str());
  }
  void set(const std::string& name, const std::string& value) {
    setenv(name.c_str(), value.c_str(), 1);
    names_.push_back(name);
  }

 private:
  std::vector<std::string> names_;
};

TEST(LocalRank, NothingOutsideOfALaunch) {
  EXPECT_EQ(local_rank(), std::nullopt);
  Environment batch_script;
  batch_script.set("SLURM_PROCID", "0");
  batch_script.set("SLURM_LOCALID", "0");
  EXPECT_EQ(local_rank(), std::nullopt);
}

TEST(LocalRank, AsEachLauncherSays) {
  {
    Environment open_mpi;
    open_mpi.set("OMPI_COMM_WORLD_LOCAL_RANK", "3");
    EXPECT_EQ(local_rank(), 3);
  }
  {
    Environment hydra;
    hydra.set("MPI_LOCALRANKID", "5");
    EXPECT_EQ(local_rank(), 5);
  }
  Environment srun;
  srun.set("SLURM_PROCID", "10");
  srun.set("SLURM_STEP_NUM_TASKS", "16");
  srun.set("SLURM_LOCALID", "2");
  EXPECT_EQ(local_rank(), 2);
}

TEST(LocalRank, MpirunInsideABatchJobCounts) {
  Environment both;
  both.set("SLURM_PROCID", "0");
  both.set("SLURM_STEP_NUM_TASKS", "2");
  both.set("SLURM_LOCALID", "0");
  both.set("OMPI_COMM_WORLD_LOCAL_RANK", "6");
  EXPECT_EQ(local_rank(), 6);
}

TEST(LocalRank, WhatIsNoNumberIsNotOne) {
  for (const char* value : {"", "x", "1x", "-1", " 1"}) {
    Environment broken;
    broken.set("OMPI_COMM_WORLD_LOCAL_RANK", value);
    EXPECT_EQ(local_rank(), std::nullopt) << value;
  }
}

// What mpirun of this machine really sets.
TEST(LocalRank, UnderMpirun) { EXPECT_EQ(check(3, "local_rank"), 0); }

}  // namespace
}  // namespace shardwright
