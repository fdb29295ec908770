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
  for (int g = 0; g < static_cast<int>(program_.groups.size()); ++g) match_group(g);
  check_membership();
}

void Readiness::match_group(int group) {
  std::vector<std::vector<Ref>> issued;  // per member present
  for (int at = 0; at < static_cast<int>(program_.ranks.size()); ++at) {
    if (!program_.groups[group].has(program_.ranks[at].rank)) continue;
    issued.emplace_back();
    const auto& list = program_.ranks[at].instructions;
    for (int i = 0; i < static_cast<int>(list.size()); ++i) {
      if (list[i].group == group) issued.back().push_back({at, i});
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
      mismatch(together.front(),
               "not every member of group " + std::to_string(group) + " joins it");
    }
  }
}

void Readiness::check_membership() {
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

void Readiness::add_unit(std::span<const Ref> members) {
  for (Ref ref : members) unit_[flat(ref)] = num_units();
  unit_members_.insert(unit_members_.end(), members.begin(), members.end());
  unit_begin_.push_back(static_cast<int>(unit_members_.size()));
}

void Readiness::form_units() {
  for (const auto& together : collectives_) add_unit(together);
  collectives_.clear();
  for (int at = 0; at < static_cast<int>(program_.ranks.size()); ++at) {
    const int count = static_cast<int>(program_.ranks[at].instructions.size());
    for (int i = 0; i < count; ++i) {
      const Ref ref{at, i};
      if (unit_[flat(ref)] >= 0) continue;
      const Ref other = partner_[flat(ref)];
      const bool meet = program_.messages == MessageMode::kRendezvous && other.at >= 0;
      const Ref members[] = {ref, other};
      add_unit({members, meet ? 2U : 1U});
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
    if (progress.missing[unit] == 0) progress.ready.push_back(unit);
  }
  return progress;
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
