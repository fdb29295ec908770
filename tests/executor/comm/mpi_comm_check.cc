// The program that the tests of the MPI backend start as ranks: `mpi_comm_check MODE`. It returns 0
// when everything was right, 1 with a line on standard error when not, and in the modes that fail
// on purpose kExpectedFailure when the failure was the right one.
#include <csignal>
#include <cstdio>
#include <functional>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "executor/comm/mpi_comm.h"
#include "executor/exec_error.h"
#include "tests/executor/comm/comm_body.h"

namespace shardwright {
namespace {

constexpr int kExpectedFailure = 42;
constexpr std::chrono::seconds kAmple{60};

std::vector<int> everyone(const Communicator& comm) {
  std::vector<int> ranks;
  for (int rank = 0; rank < comm.size(); ++rank) ranks.push_back(rank);
  return ranks;
}

int run_body(MpiSession& session) {
  const auto comm = make_mpi_communicator(session, kAmple);
  if (!inside_mpi_launch()) throw WrongAnswer("the launch is not recognised");
  for (const int64_t elements : {1, 7, 1000, 100003}) check_communicator(*comm, elements);
  return 0;
}

// The paths of data longer than a message may be, with lengths at and around its limit.
int run_pieces(MpiSession& session) {
  const auto comm = make_mpi_communicator(session, kAmple, 64);
  for (const int64_t elements : {63, 64, 65, 128, 5000}) check_communicator(*comm, elements);
  return 0;
}

// Messages too long to leave before the receiver takes them, in both directions.
int run_long_messages(MpiSession& session) {
  const auto comm = make_mpi_communicator(session, kAmple);
  for (int round = 0; round < 3; ++round) check_sends_before_receives(*comm, 1'500'000);
  return 0;
}

// Returns kExpectedFailure when `call` throws an ExecError that contains `part`.
int expect_failure(const std::string& part, const std::function<void()>& call) {
  try {
    call();
  } catch (const ExecError& e) {
    if (std::string(e.what()).find(part) != std::string::npos) return kExpectedFailure;
    throw WrongAnswer("\"" + part + "\" is not in: " + e.what());
  }
  throw WrongAnswer("no failure");
}

int run_late(MpiSession& session) {
  const auto comm = make_mpi_communicator(session, std::chrono::milliseconds(200));
  if (session.rank() == 1) std::this_thread::sleep_for(kAmple);
  Group& group = comm->group(everyone(*comm));
  return expect_failure("not exchanged with rank(s) {1} after", [&] { group.barrier(); });
}

int run_late_message(MpiSession& session) {
  const auto comm = make_mpi_communicator(session, std::chrono::milliseconds(200));
  if (session.rank() == 1) std::this_thread::sleep_for(kAmple);
  float data = 0.0F;
  const int code = expect_failure("deadline: the message is not there after",
                                  [&] { comm->receive(&data, 1, 1, 0); });
  expect_failure("earlier failure", [&] { comm->send(&data, 1, 1, 0); });
  return code;
}

int run_length(MpiSession& session) {
  const auto comm = make_mpi_communicator(session, kAmple);
  float data[8] = {};
  comm->send(data, 8, (session.rank() + 1) % session.size(), 0);
  const int from = (session.rank() + session.size() - 1) % session.size();
  return expect_failure("the message has 8 elements where 5 should be",
                        [&] { comm->receive(data, 5, from, 0); });
}

int run_mismatch(MpiSession& session) {
  const auto comm = make_mpi_communicator(session, kAmple);
  float data[8] = {};
  const int64_t elements = session.rank() == 1 ? 7 : 5;
  Group& group = comm->group(everyone(*comm));
  return expect_failure("rank 1 called all_reduce(sum of float, 7 elements)",
                        [&] { group.all_reduce(data, elements, ReduceOp::kSum); });
}

int run_kill(MpiSession& session) {
  const auto comm = make_mpi_communicator(session, kAmple);
  if (session.rank() == 1) std::raise(SIGKILL);
  comm->group(everyone(*comm)).barrier();
  return 0;
}

int run_throw(MpiSession& session) {
  const auto comm = make_mpi_communicator(session, kAmple);
  if (session.rank() == 1) throw ExecError(1, "kernel", "broken on purpose");
  comm->group(everyone(*comm)).barrier();
  return 0;
}

int run_abort(MpiSession& session) {
  if (session.rank() == 1) session.abort(7);
  std::this_thread::sleep_for(kAmple);
  return 0;
}

// One line of each rank on standard output, to see that nothing else is there.
int run_print(MpiSession& session) {
  std::printf("rank\n");
  if (session.rank() == 0) std::fflush(stdout);
  return 0;
}

// All ranks are on this machine: each is there what it is in all.
int run_local_rank(MpiSession& session) { return local_rank() == session.rank() ? 0 : 1; }

int run(const std::string& mode) {
  const std::map<std::string, int (*)(MpiSession&)> modes = {{"body", run_body},
                                                             {"pieces", run_pieces},
                                                             {"long", run_long_messages},
                                                             {"late", run_late},
                                                             {"late_message", run_late_message},
                                                             {"length", run_length},
                                                             {"mismatch", run_mismatch},
                                                             {"kill", run_kill},
                                                             {"throw", run_throw},
                                                             {"abort", run_abort},
                                                             {"print", run_print},
                                                             {"local_rank", run_local_rank}};
  const auto found = modes.find(mode);
  if (found == modes.end()) {
    std::fprintf(stderr, "mpi_comm_check: unknown mode \"%s\"\n", mode.c_str());
    return 2;
  }
  try {
    MpiSession session;
    return found->second(session);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "mpi_comm_check: %s\n", e.what());
    return 1;
  }
}

}  // namespace
}  // namespace shardwright

int main(int argc, char** argv) { return shardwright::run(argc > 1 ? argv[1] : "body"); }
