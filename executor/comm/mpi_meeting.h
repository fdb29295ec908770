// How members of a group under MPI learn that all of them are there and mean the same call: each
// sends a short announcement to every other one, ahead of the data. It costs one short message per
// pair, and nobody waits for it before sending data.
#pragma once

#include <cstdint>
#include <vector>

#include "executor/comm/collective_call.h"
#include "executor/comm/mpi_link.h"

namespace shardwright {

class MpiMeeting {
 public:
  // `members` (ranks, ascending) and `link` outlive the meeting.
  MpiMeeting(const std::vector<int>& members, int index, MpiLink& link);
  MpiMeeting(const MpiMeeting&) = delete;
  MpiMeeting& operator=(const MpiMeeting&) = delete;

  // Posts this member's announcement; the call's data may be posted right after, with tag().
  void announce(const CollectiveCall& call);
  // Waits for the announcements of all and compares them. Returns the time when they were there.
  int64_t meet();

  int tag() const { return tag_; }
  const Where& where() const { return where_; }  // describes the call announced last

 private:
  // Travels as bytes: the ranks of one run are the same program.
  struct Announcement {
    CollectiveCall call;
    uint64_t group = 0;  // digest of the members
    uint64_t calls = 0;  // of this group so far, this one included
  };

  void check_agreement();

  const std::vector<int>& members_;
  const size_t index_;
  MpiLink& link_;
  const Where where_;
  int tag_;
  Announcement mine_;
  std::vector<Announcement> all_;  // [members]
  RequestSet requests_;
};

}  // namespace shardwright
