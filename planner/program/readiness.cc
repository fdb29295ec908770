#include "planner/program/readiness.h"

#include <algorithm>
#include <array>
#include <deque>
#include <map>
#include <tuple>

namespace shardwright {

Readiness::Readiness(const Program& program) : program_(program) {
  size_t total = 0;
  for (const RankProgram& rank : program.ranks) {
    offset_.push_back(total);
    total += rank.instructions.size();
  }
  lane_before_.assign(total, -1);
  partner_.assign(total, Ref{-1, -1});
  unit_.assign(total, -1);
  link_lanes();
  match_messages();
  match_collectives();
  form_units();
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

void Readiness::match_messages() {
  // (from, to, channel) -> sends and receives in issue order.
  std::map<std::tuple<int, int, int>, std::array<std::vector<Ref>, 2>> queues;
  for (int at = 0; at < static_cast<int>(program_.ranks.size()); ++at) {
    const RankProgram& rank = program_.ranks[at];
    for (int i = 0; i < static_cast<int>(rank.instructions.size()); ++i) {
      const Instruction& instruction = rank.instructions[i];
      if (!instruction.is_message()) continue;
      if (program_.position_of(instruction.peer) < 0 || instruction.peer == rank.rank) {
        mismatch({at, i}, "peer " + std::to_string(instruction.peer) + " is no other rank");
        continue;
      }
      const bool send = instruction.is_send();
      const int from = send ? rank.rank : instruction.peer;
      const int to = send ? instruction.peer : rank.rank;
      queues[{from, to, instruction.channel()}][send ? 0 : 1].push_back({at, i});
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
  for (int g = 0; g < static_cast<int>(program_.groups.size()); ++g) {
    std::vector<std::vector<Ref>> issued;  // per member present
    for (int at = 0; at < static_cast<int>(program_.ranks.size()); ++at) {
      if (!program_.groups[g].has(program_.ranks[at].rank)) continue;
      issued.emplace_back();
      const auto& list = program_.ranks[at].instructions;
      for (int i = 0; i < static_cast<int>(list.size()); ++i) {
        if (list[i].group == g) issued.back().push_back({at, i});
      }
    }
    size_t rounds = 0, common = issued.empty() ? 0 : issued.front().size();
    for (const auto& member : issued) {
      rounds = std::max(rounds, member.size());
      common = std::min(common, member.size());
    }
    for (size_t k = 0; k < rounds; ++k) {
      std::vector<Ref> together;
      for (const auto& member : issued) {
        if (k < member.size()) together.push_back(member[k]);
      }
      if (k < common) {
        collectives_.push_back(std::move(together));
      } else {
        mismatch(together.front(), "not every member of group " + std::to_string(g) + " joins it");
      }
    }
  }
  for (int at = 0; at < static_cast<int>(program_.ranks.size()); ++at) {
    const RankProgram& rank = program_.ranks[at];
    for (int i = 0; i < static_cast<int>(rank.instructions.size()); ++i) {
      const int g = rank.instructions[i].group;
      const bool known = g < static_cast<int>(program_.groups.size());
      if (g >= 0 && (!known || !program_.groups[g].has(rank.rank))) {
        mismatch({at, i}, "rank is no member of group " + std::to_string(g));
      }
    }
  }
}

void Readiness::form_units() {
  const auto add = [&](std::vector<Ref> members) {
    for (Ref ref : members) unit_[flat(ref)] = static_cast<int>(units_.size());
    units_.push_back(std::move(members));
  };
  for (auto& together : collectives_) add(std::move(together));
  collectives_.clear();
  for (int at = 0; at < static_cast<int>(program_.ranks.size()); ++at) {
    const int count = static_cast<int>(program_.ranks[at].instructions.size());
    for (int i = 0; i < count; ++i) {
      const Ref ref{at, i};
      if (unit_[flat(ref)] >= 0) continue;
      const Ref other = partner_[flat(ref)];
      const bool meet = program_.messages == MessageMode::kRendezvous && other.at >= 0;
      add(meet ? std::vector<Ref>{ref, other} : std::vector<Ref>{ref});
    }
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

std::vector<Ref> Readiness::walk(const std::function<void(const std::vector<Ref>&)>& visit) const {
  // Kahn's algorithm over units, first in first out: the order follows from the program alone.
  std::vector<int> missing(units_.size(), 0);
  std::vector<std::vector<int>> followers(units_.size());
  for (int unit = 0; unit < static_cast<int>(units_.size()); ++unit) {
    for (Ref ref : units_[unit]) {
      for_each_before(ref, [&](Ref before) {
        followers[unit_of(before)].push_back(unit);
        ++missing[unit];
      });
    }
  }
  std::deque<int> ready;
  for (int unit = 0; unit < static_cast<int>(units_.size()); ++unit) {
    if (missing[unit] == 0) ready.push_back(unit);
  }
  std::vector<bool> done(units_.size(), false);
  while (!ready.empty()) {
    const int unit = ready.front();
    ready.pop_front();
    visit(units_[unit]);
    done[unit] = true;
    for (int follower : followers[unit]) {
      if (--missing[follower] == 0) ready.push_back(follower);
    }
  }
  std::vector<Ref> stuck;
  for (size_t unit = 0; unit < units_.size(); ++unit) {
    if (!done[unit]) stuck.insert(stuck.end(), units_[unit].begin(), units_[unit].end());
  }
  std::sort(stuck.begin(), stuck.end());
  return stuck;
}

}  // namespace shardwright
