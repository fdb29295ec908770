#include "executor/comm/routes.h"

#include <set>
#include <tuple>

namespace shardwright {
namespace {

// Channels of the messages of one kind from one rank to another, as each end takes them.
struct Way {
  std::vector<int> sent, received;
};
using Ways = std::map<std::tuple<int, int, bool>, Way>;  // from, to, gradients

// Those that have `own` at an end.
void add_messages(const RankProgram& rank, int own, Ways* ways) {
  for (const Instruction& next : rank.instructions) {
    if (!next.is_message() || (rank.rank != own && next.peer != own)) continue;
    const int channel = next.channel();
    const bool gradient = channel % 2 == 1;
    if (next.is_send()) {
      (*ways)[{rank.rank, next.peer, gradient}].sent.push_back(channel);
    } else {
      (*ways)[{next.peer, rank.rank, gradient}].received.push_back(channel);
    }
  }
}

}  // namespace

WireChannels wire_channels(const Program& program, const RankProgram& rank) {
  Ways ways;
  for (const RankProgram& other : program.ranks) add_messages(other, rank.rank, &ways);
  WireChannels out;
  for (const auto& [ends, way] : ways) {
    std::set<int> channels(way.sent.begin(), way.sent.end());
    channels.insert(way.received.begin(), way.received.end());
    const bool shared = way.sent == way.received;
    for (const int channel : channels) out[channel] = shared ? *channels.begin() : channel;
  }
  return out;
}

std::vector<Route> routes_of(const RankProgram& rank, const WireChannels& channels) {
  std::set<Route> routes;
  for (const Instruction& next : rank.instructions) {
    if (!next.is_message()) continue;
    const int channel = channels.at(next.channel());
    routes.insert(next.is_send() ? Route{rank.rank, next.peer, channel}
                                 : Route{next.peer, rank.rank, channel});
  }
  return {routes.begin(), routes.end()};
}

}  // namespace shardwright
