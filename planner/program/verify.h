// Verify: follows a whole Program symbolically, before anything runs.
//
// Refused are: deadlock; messages without a partner or with the wrong content; a microbatch that
// does not pass forward and backward exactly once through every chunk; data used before it is there
// or after it is gone; buffers left over; gradients of a (replica, microbatch) that enter the
// optimizer twice or not at all; sharded weights that are used or left without being gathered;
// tensor-parallel neighbours that compute in different orders; more memory than there is.
//
// Values are followed as (tensor, chunk, contributions): a gradient is the multiset of (replica,
// microbatch) that flowed into it, and a reduction unites the multisets of its members.
#pragma once

#include <limits>
#include <string>
#include <vector>

#include "planner/program/readiness.h"

namespace shardwright {

struct Problem {
  Ref where{-1, -1};  // {-1,-1}: the program as a whole
  std::string what;
};

struct VerifyReport {
  std::vector<Problem> problems;  // in the order found; the first is the cause
  std::vector<Bytes> peak_bytes;  // per rank of the program
  std::vector<int> peak_index;    // instruction at which the peak stands
  bool ok() const { return problems.empty(); }
};

// `memory_limit` per rank. REQUIRES: the program holds every rank of its world.
VerifyReport verify(const Program& program, Bytes memory_limit = std::numeric_limits<Bytes>::max());

// Ranks as columns, instructions as rows, the problems marked "<-- what is wrong"; only rows near
// a problem when the program is long. One line "ok" when there is no problem.
std::string problem_table(const Program& program, const VerifyReport& report);

}  // namespace shardwright
