// Messages between two ranks that are processes. A message goes in pieces; the last one is shorter
// than a full piece, possibly empty, so that the receiver knows where the message ends.
#pragma once

#include <list>
#include <vector>

#include "executor/comm/mailbox.h"
#include "executor/comm/mpi_link.h"

namespace shardwright {

class MpiMessages {
 public:
  // `link` outlives the messages.
  explicit MpiMessages(MpiLink& link) : link_(link) {}
  ~MpiMessages();  // waits for posted messages to leave, at most the deadline
  MpiMessages(const MpiMessages&) = delete;
  MpiMessages& operator=(const MpiMessages&) = delete;

  // Copies the data into a buffer of its own and returns.
  void post(const float* data, int64_t elements, int peer, int channel);
  // Returns when the message had arrived.
  int64_t receive(float* data, int64_t elements, int peer, int channel);

 private:
  struct Posted {
    Parcel parcel;
    RequestSet set;
  };

  void reap();  // moves what has left to idle_
  void receive_piece(MPI_Message* message, const MPI_Status& status, float* data, int64_t count,
                     const Where& where);

  MpiLink& link_;
  std::list<Posted> in_flight_, idle_;  // spliced, so that a steady flow allocates nothing
  RequestSet receiving_;
};

}  // namespace shardwright
