#include "executor/comm/mpi_meeting.h"

namespace shardwright {
namespace {

uint64_t digest_of(const std::vector<int>& members) {
  uint64_t digest = 0xcbf29ce484222325;  // FNV-1a
  for (const int member : members) {
    digest = (digest ^ static_cast<uint64_t>(member)) * 0x100000001b3;
  }
  return digest;
}

}  // namespace

MpiMeeting::MpiMeeting(const std::vector<int>& members, int index, MpiLink& link)
    : members_(members),
      index_(static_cast<size_t>(index)),
      link_(link),
      where_([this] { return to_string(mine_.call, members_); }),
      all_(members.size()) {
  mine_.group = digest_of(members);
  // Members work out the tag without asking each other. Two groups with the same one do no harm as
  // long as the ranks in both call them in the same order, and check_agreement tells when not.
  tag_ = static_cast<int>(mine_.group % (static_cast<uint64_t>(link.highest_tag) + 1));
}

void MpiMeeting::announce(const CollectiveCall& call) {
  mine_.call = call;
  ++mine_.calls;
  link_.check_usable(where_);
  all_[index_] = mine_;
  constexpr int kBytes = sizeof(Announcement);
  for (size_t i = 0; i < members_.size(); ++i) {
    if (i == index_) continue;
    const int peer = members_[i];
    MPI_Request* const theirs = requests_.add(peer);
    link_.check(MPI_Irecv(&all_[i], kBytes, MPI_BYTE, peer, tag_, link_.collectives, theirs),
                where_);
    MPI_Request* const ours = requests_.add(peer);
    link_.check(MPI_Isend(&mine_, kBytes, MPI_BYTE, peer, tag_, link_.collectives, ours), where_);
  }
}

int64_t MpiMeeting::meet() {
  link_.await(requests_, "the call", where_);
  const int64_t start_ns = monotonic_ns();
  check_agreement();
  return start_ns;
}

void MpiMeeting::check_agreement() {
  const Announcement& first = all_[0];
  for (size_t i = 1; i < all_.size(); ++i) {
    const Announcement& a = all_[i];
    if (a.call != first.call) {
      link_.fail(where_, describe_mismatch(members_[0], first.call, members_[i], a.call));
    }
    if (a.group != first.group || a.calls != first.calls) {
      link_.fail(where_, "ranks " + std::to_string(members_[0]) + " and " +
                             std::to_string(members_[i]) + " call their groups in another order");
    }
  }
}

}  // namespace shardwright
