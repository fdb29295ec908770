#include "planner/program/readiness.h"

#include <algorithm>
#include <array>
#include <map>
#include <numeric>
#include <tuple>

namespace shardwright {

Readiness::Readiness(const Program& program) : program_(program) {
  size_t total = 0;
  for (const RankProgram& rank : program.ranks) {
    offset_.push_back(total);
    total += rank.instructions.size();
  }
  lane_before_.resize(total);
  refs_.resize(total);
  partner_.assign(total, Ref{-1, -1});
  shared_.assign(total, -1);
  link_lanes();
  match_messages();
  match_collectives();
  if (program.messages == MessageMode::kRendezvous) form_meetings();
}

void Readiness::mismatch(Ref where, std::string what) {
  mismatches_.push_back({where, std::move(what)});
}

void Readiness::link_lanes() {
  for (int at = 0; at < static_cast<int>(program_.ranks.size()); ++at) {
    std::array<int, static_cast<size_t>(Lane::kCount)> last;
    last.fill(-1);
    const auto& list = program_.ranks[at].instructions;
    for (int i = 0; i < static_cast<int>(list.size()); ++i) {
      int& previous = last[static_cast<size_t>(list[i].lane)];
      refs_[flat({at, i})] = {at, i};
      lane_before_[flat({at, i})] = previous;
      previous = i;
      for (int wait : list[i].waits) {
        if (wait < 0 || wait >= i) {
          mismatch({at, i}, "waits for " + std::to_string(wait) + ", which is not earlier");
        }
      }
    }
  }
}

namespace {

// Sends and receives of one pair of ranks on one channel, in issue order.
using Queue = std::array<std::vector<Ref>, 2>;

// The queues that a rank has used: it has few and uses them in turn.
struct KnownQueue {
  int peer = 0, channel = 0;
  bool send = false;
  Queue* queue = nullptr;
};

}  // namespace

void Readiness::match_messages() {
  std::map<std::tuple<int, int, int>, Queue> queues;  // from, to, channel
  std::vector<KnownQueue> known;
  for (int at = 0; at < static_cast<int>(program_.ranks.size()); ++at) {
    const RankProgram& rank = program_.ranks[at];
    known.clear();
    for (int i = 0; i < static_cast<int>(rank.instructions.size()); ++i) {
      const Instruction& instruction = rank.instructions[i];
      if (!instruction.is_message()) continue;
      const int peer = instruction.peer, channel = instruction.channel();
      const bool send = instruction.is_send();
      auto found = std::find_if(known.begin(), known.end(), [&](const KnownQueue& one) {
        return one.channel == channel && one.send == send && one.peer == peer;
      });
      if (found == known.end()) {
        if (program_.position_of(peer) < 0 || peer == rank.rank) {
          mismatch({at, i}, "peer " + std::to_string(peer) + " is no other rank");
          continue;
        }
        Queue& queue = queues[{send ? rank.rank : peer, send ? peer : rank.rank, channel}];
        found = known.insert(known.end(), {peer, channel, send, &queue});
      }
      (*found->queue)[send ? 0 : 1].push_back({at, i});
    }
  }
  for (const auto& [key, ends] : queues) {
    const size_t matched = std::min(ends[0].size(), ends[1].size());
    for (size_t k = 0; k < matched; ++k) {
      partner_[flat(ends[0][k])] = ends[1][k];
      partner_[flat(ends[1][k])] = ends[0][k];
    }
    for (int side = 0; side < 2; ++side) {
      for (size_t k = matched; k < ends[side].size(); ++k) {
        mismatch(ends[side][k], side == 0 ? "nobody receives it" : "nobody sends it");
      }
    }
  }
}

void Readiness::match_collectives() {
  const int groups = static_cast<int>(program_.groups.size());
  std::vector<std::vector<std::vector<Ref>>> issued(groups);  // by group, by member that issues
  std::vector<Ref> strangers;
  for (int at = 0; at < static_cast<int>(program_.ranks.size()); ++at) {
    const RankProgram& rank = program_.ranks[at];
    for (int i = 0; i < static_cast<int>(rank.instructions.size()); ++i) {
      const int g = rank.instructions[i].group;
      if (g < 0) continue;
      if (g >= groups || !program_.groups[g].has(rank.rank)) {
        strangers.push_back({at, i});
        continue;
      }
      if (issued[g].empty() || issued[g].back().front().at != at) issued[g].emplace_back();
      issued[g].back().push_back({at, i});
    }
  }
  for (int g = 0; g < groups; ++g) match_group(g, issued[g]);
  for (Ref ref : strangers) {
    const int g = instruction_at(program_, ref).group;
    mismatch(ref, "rank is no member of group " + std::to_string(g));
  }
}

void Readiness::match_group(int group, const std::vector<std::vector<Ref>>& issued) {
  const auto present =
      std::count_if(program_.ranks.begin(), program_.ranks.end(),
                    [&](const RankProgram& rank) { return program_.groups[group].has(rank.rank); });
  size_t rounds = 0, common = issued.empty() ? 0 : issued.front().size();
  for (const auto& member : issued) {
    rounds = std::max(rounds, member.size());
    common = std::min(common, member.size());
  }
  if (static_cast<size_t>(present) > issued.size()) common = 0;
  for (size_t k = 0; k < rounds; ++k) {
    std::vector<Ref> together;
    for (const auto& member : issued) {
      if (k < member.size()) together.push_back(member[k]);
    }
    if (k < common) {
      add_unit(together);
    } else {
      mismatch(together.front(),
               "not every member of group " + std::to_string(group) + " joins it");
    }
  }
}

void Readiness::add_unit(std::span<const Ref> members) {
  for (Ref ref : members) shared_[flat(ref)] = num_shared();
  unit_members_.insert(unit_members_.end(), members.begin(), members.end());
  unit_begin_.push_back(static_cast<int>(unit_members_.size()));
}

// Both ends of a message, each in its turn on its list.
void Readiness::form_meetings() {
  for (const Ref ref : refs_) {
    const Ref other = partner_[flat(ref)];
    if (other.at < 0 || shared_[flat(ref)] >= 0) continue;
    const Ref members[] = {ref, other};
    add_unit(members);
  }
}

std::vector<int> Readiness::local_before(Ref ref) const {
  std::vector<int> before;
  for_each_before(ref, [&](Ref other) {
    if (other.at == ref.at) before.push_back(other.index);
  });
  std::sort(before.begin(), before.end());
  before.erase(std::unique(before.begin(), before.end()), before.end());
  return before;
}

Readiness::Progress Readiness::begin_walk() const {
  Progress progress;
  progress.missing.assign(num_units(), 0);
  progress.begin.assign(num_units() + 1, 0);
  for_each_edge([&](int before, int after) {
    ++progress.begin[before + 1];
    ++progress.missing[after];
  });
  std::partial_sum(progress.begin.begin(), progress.begin.end(), progress.begin.begin());
  progress.followers.resize(progress.begin.back());
  std::vector<int> next(progress.begin.begin(), progress.begin.end() - 1);
  for_each_edge([&](int before, int after) { progress.followers[next[before]++] = after; });
  for (int unit = 0; unit < num_units(); ++unit) {
    if (used(unit) && progress.missing[unit] == 0) progress.ready.push_back(unit);
  }
  return progress;
}

Readiness::Lists Readiness::begin_lists() const {
  Lists lists;
  const int ranks = static_cast<int>(program_.ranks.size());
  lists.next.assign(ranks, 0);
  lists.parked.assign(ranks, false);
  lists.arrived.assign(num_shared(), 0);
  for (int at = ranks - 1; at >= 0; --at) lists.free.push_back(at);
  for (const RankProgram& rank : program_.ranks) {
    lists.size.push_back(static_cast<int>(rank.instructions.size()));
  }
  return lists;
}

void Readiness::finish_unit(int unit, Progress* progress) const {
  for (int i = progress->begin[unit]; i < progress->begin[unit + 1]; ++i) {
    const int follower = progress->followers[i];
    if (--progress->missing[follower] == 0) progress->ready.push_back(follower);
  }
}

std::vector<Ref> Readiness::stuck(const Progress& progress) const {
  std::vector<Ref> stuck;
  for (int unit = 0; unit < num_units(); ++unit) {
    if (progress.missing[unit] == 0) continue;
    const auto members = members_of(unit);
    stuck.insert(stuck.end(), members.begin(), members.end());
  }
  std::sort(stuck.begin(), stuck.end());
  return stuck;
}

}  // namespace shardwright
