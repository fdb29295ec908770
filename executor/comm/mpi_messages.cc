#include "executor/comm/mpi_messages.h"

#include <algorithm>
#include <functional>

#include "executor/exec_error.h"

namespace shardwright {
namespace {

std::string describe(const char* verb, int64_t elements, const char* preposition, int peer,
                     int channel) {
  return std::string(verb) + "(" + std::to_string(elements) + " elements) " + preposition +
         " rank " + std::to_string(peer) + " on channel " + std::to_string(channel);
}

}  // namespace

MpiMessages::~MpiMessages() {
  const Where where = [] { return std::string("end of the communicator"); };
  try {
    for (Posted& posted : in_flight_) {
      if (!link_.session.failed()) link_.await(posted.set, "posted messages", where);
    }
  } catch (const ExecError&) {
    // The session is marked failed, which is all that a destructor can report.
  }
  // MPI may still read from buffers whose messages have not left.
  if (link_.session.failed()) new std::list<Posted>(std::move(in_flight_));
}

void MpiMessages::reap() {
  for (auto posted = in_flight_.begin(); posted != in_flight_.end();) {
    const auto next = std::next(posted);
    auto& requests = posted->set.requests;
    int done = 0;
    link_.check(
        MPI_Testall(static_cast<int>(requests.size()), requests.data(), &done, MPI_STATUSES_IGNORE),
        [&] { return "posted message to rank " + std::to_string(posted->set.peers[0]); });
    if (done != 0) {
      posted->set.clear();
      idle_.splice(idle_.begin(), in_flight_, posted);
    }
    posted = next;
  }
}

void MpiMessages::post(const float* data, int64_t elements, int peer, int channel) {
  const auto text = [&] { return describe("send", elements, "to", peer, channel); };
  const Where where = std::cref(text);  // by reference: a copy would allocate
  link_.check_usable(where);
  reap();
  auto fitting = std::find_if(idle_.begin(), idle_.end(),
                              [&](const Posted& p) { return p.parcel.capacity >= elements; });
  if (fitting == idle_.end()) fitting = idle_.begin();
  if (fitting == idle_.end()) fitting = idle_.emplace(idle_.end());
  in_flight_.splice(in_flight_.end(), idle_, fitting);
  Posted& posted = in_flight_.back();
  posted.parcel.fill(data, elements);
  for (int64_t at = 0; at <= elements; at += link_.piece_elements) {
    const int count = static_cast<int>(std::min(link_.piece_elements, elements - at));
    MPI_Request* const request = posted.set.add(peer);
    link_.check(MPI_Isend(posted.parcel.data.get() + at, count, MPI_FLOAT, peer, channel,
                          link_.messages, request),
                where);
  }
}

int64_t MpiMessages::receive(float* data, int64_t elements, int peer, int channel) {
  const auto text = [&] { return describe("receive", elements, "from", peer, channel); };
  const Where where = std::cref(text);
  link_.check_usable(where);
  int64_t start_ns = 0;
  for (int64_t at = 0; at <= elements; at += link_.piece_elements) {
    MPI_Message message = MPI_MESSAGE_NULL;
    MPI_Status status;
    const auto poll = [&] {
      int found = 0;
      link_.check(MPI_Improbe(peer, channel, link_.messages, &found, &message, &status), where);
      return found != 0;
    };
    link_.poll_until(
        std::cref(poll), [] { return std::string("the message is not there"); }, where);
    if (at == 0) start_ns = monotonic_ns();
    receive_piece(&message, status, data + at, std::min(link_.piece_elements, elements - at),
                  where);
  }
  return start_ns;
}

void MpiMessages::receive_piece(MPI_Message* message, const MPI_Status& status, float* data,
                                int64_t count, const Where& where) {
  int found = 0;
  link_.check(MPI_Get_count(&status, MPI_FLOAT, &found), where);
  if (found != count) {
    link_.fail(where, "the message has " + std::to_string(found) + " elements where " +
                          std::to_string(count) + " should be");
  }
  link_.check(MPI_Imrecv(data, found, MPI_FLOAT, message, receiving_.add(status.MPI_SOURCE)),
              where);
  link_.await(receiving_, "the message", where);
}

}  // namespace shardwright
