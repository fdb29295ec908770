#include "executor/comm/routes.h"

#include <set>

namespace shardwright {

std::vector<Route> routes_of(const RankProgram& rank) {
  std::set<Route> routes;
  for (const Instruction& next : rank.instructions) {
    if (next.is_send()) routes.insert({rank.rank, next.peer, next.channel()});
    if (next.is_receive()) routes.insert({next.peer, rank.rank, next.channel()});
  }
  return {routes.begin(), routes.end()};
}

}  // namespace shardwright
