// What every communicator must do, as checks that each rank runs: in threads under GoogleTest, in
// processes under a launcher. A wrong answer is thrown as WrongAnswer.
#pragma once

#include <cstdint>
#include <stdexcept>

#include "executor/comm/communicator.h"

namespace shardwright {

class WrongAnswer : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Called by all ranks with the same number of elements.
void check_all_reduce(Communicator& comm, int64_t elements);
void check_all_gather(Communicator& comm, int64_t elements);
void check_reduce_scatter(Communicator& comm, int64_t elements);
void check_broadcast(Communicator& comm, int64_t elements);
void check_disjoint_groups(Communicator& comm, int64_t elements);
void check_overlapping_groups(Communicator& comm, int64_t elements);
void check_sends_before_receives(Communicator& comm, int64_t elements);
void check_order_per_channel(Communicator& comm, int64_t elements);

// All of the above.
void check_communicator(Communicator& comm, int64_t elements);

}  // namespace shardwright
