#include "planner/program/readiness.h"

#include <algorithm>
#include <array>
#include <map>
#include <numeric>
#include <tuple>

namespace shardwright {

// Sends and receives, matched as they come: in issue order per pair of ranks and channel.
class Readiness::Matcher {
 public:
  explicit Matcher(Readiness* rule) : rule_(*rule) {}

  void begin_rank() { known_.clear(); }
  void add(Ref ref, const Instruction& message) {
    Queue* const queue = queue_of(ref, message);
    if (queue == nullptr) return;
    const bool send = message.is_send();
    // Ranks come one after another, so all of one side are there before the first of the other.
    if (queue->first_side.empty() || queue->first_side.front().at == ref.at) {
      queue->first_sends = send;
      queue->first_side.push_back(ref);
    } else if (queue->matched < queue->first_side.size()) {
      match(ref, queue->first_side[queue->matched++], send);
    } else {
      queue->surplus.push_back(ref);
    }
  }

  // Messages without another end.
  void report() {
    for (Mismatch& one : no_ranks_) rule_.mismatches_.push_back(std::move(one));
    for (auto& [key, queue] : queues_) {
      const std::span<const Ref> first = std::span(queue.first_side).subspan(queue.matched);
      report(queue.first_sends ? first : queue.surplus, "nobody receives it");
      report(queue.first_sends ? queue.surplus : first, "nobody sends it");
    }
  }

 private:
  struct Queue {
    std::vector<Ref> first_side, surplus;
    size_t matched = 0;        // of the first side
    bool first_sends = false;  // the first side are sends
  };
  // The queues that a rank has used: it has few and uses them in turn.
  struct Known {
    int peer = 0, channel = 0;
    bool send = false;
    Queue* queue = nullptr;
  };

  Queue* queue_of(Ref ref, const Instruction& message) {
    const int peer = message.peer, channel = message.channel();
    const bool send = message.is_send();
    for (const Known& one : known_) {
      if (one.channel == channel && one.send == send && one.peer == peer) return one.queue;
    }
    const int rank = rule_.program_.ranks[ref.at].rank;
    if (rule_.program_.position_of(peer) < 0 || peer == rank) {
      no_ranks_.push_back({ref, "peer " + std::to_string(peer) + " is no other rank"});
      return nullptr;
    }
    Queue* const queue = &queues_[{send ? rank : peer, send ? peer : rank, channel}];
    known_.push_back({peer, channel, send, queue});
    return queue;
  }

  void match(Ref ref, Ref other, bool send) {
    rule_.links_[rule_.flat(ref)].partner = other;
    rule_.links_[rule_.flat(other)].partner = ref;
    if (rule_.program_.messages == MessageMode::kRendezvous) return;
    rule_.links_[rule_.flat(ref)].role = send ? Role::kSends : Role::kReceives;
    rule_.links_[rule_.flat(other)].role = send ? Role::kReceives : Role::kSends;
  }

  void report(std::span<const Ref> alone, const char* what) {
    for (Ref ref : alone) rule_.mismatch(ref, what);
  }

  Readiness& rule_;
  std::map<std::tuple<int, int, int>, Queue> queues_;  // from, to, channel
  std::vector<Known> known_;
  std::vector<Mismatch> no_ranks_;
};

Readiness::Readiness(const Program& program) : program_(program) {
  size_t total = 0;
  for (const RankProgram& rank : program.ranks) {
    offset_.push_back(total);
    total += rank.instructions.size();
  }
  refs_.reserve(total);
  before_.reserve(3 * total);
  links_.resize(total);
  kinds_.reserve(total);
  Matcher messages(this);
  std::vector<Ref> collectives;
  for (int at = 0; at < static_cast<int>(program.ranks.size()); ++at) {
    link(at, &messages, &collectives);
  }
  messages.report();
  match_collectives(collectives);
  if (program.messages == MessageMode::kRendezvous) form_meetings();
}

void Readiness::mismatch(Ref where, std::string what) {
  mismatches_.push_back({where, std::move(what)});
}

// What the rank's instructions follow there, and what ties them to other ranks.
void Readiness::link(int at, Matcher* messages, std::vector<Ref>* collectives) {
  std::array<int, static_cast<size_t>(Lane::kCount)> last;
  last.fill(-1);
  messages->begin_rank();
  const auto& list = program_.ranks[at].instructions;
  for (int i = 0; i < static_cast<int>(list.size()); ++i) {
    const Instruction& next = list[i];
    refs_.push_back({at, i});
    kinds_.push_back(kind_of(next));
    Link& link = links_[flat({at, i})];
    link.before = static_cast<int>(before_.size());
    // Of one lane the latest says it all.
    int& previous = last[static_cast<size_t>(next.lane)];
    if (previous >= 0) before_.push_back(previous);
    for (int wait : next.waits) {
      if (wait < 0 || wait >= i) {
        mismatch({at, i}, "waits for " + std::to_string(wait) + ", which is not earlier");
      } else if (list[wait].lane != next.lane) {
        before_.push_back(wait);
      }
    }
    link.num_before = static_cast<uint8_t>(before_.size() - link.before);
    previous = i;
    if (next.is_message()) messages->add({at, i}, next);
    if (next.is_collective()) collectives->push_back({at, i});
  }
}

void Readiness::match_collectives(const std::vector<Ref>& collectives) {
  const int groups = static_cast<int>(program_.groups.size());
  std::vector<std::vector<std::vector<Ref>>> issued(groups);  // by group, by member that issues
  std::vector<Ref> strangers;
  for (const Ref ref : collectives) {
    const int g = instruction_at(program_, ref).group;
    if (g >= groups || !program_.groups[g].has(program_.ranks[ref.at].rank)) {
      strangers.push_back(ref);
      continue;
    }
    if (issued[g].empty() || issued[g].back().front().at != ref.at) issued[g].emplace_back();
    issued[g].back().push_back(ref);
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
  if (shared_.empty()) shared_.assign(refs_.size(), -1);
  for (Ref ref : members) {
    shared_[flat(ref)] = num_shared();
    links_[flat(ref)].role = Role::kShares;
  }
  unit_members_.insert(unit_members_.end(), members.begin(), members.end());
  unit_begin_.push_back(static_cast<int>(unit_members_.size()));
}

// Both ends of a message, each in its turn on its list.
void Readiness::form_meetings() {
  for (const Ref ref : refs_) {
    const Ref other = links_[flat(ref)].partner;
    if (other.at < 0 || links_[flat(ref)].role == Role::kShares) continue;
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
