// The readiness rule: when an instruction may start. It is written here and nowhere else; simulate,
// verify and execute all ask this class.
//
//   An instruction may start when every instruction it follows has finished:
//     - the one before it on its lane of its rank,
//     - those it waits for,
//     - for a receive, the send that matches it;
//   and when all instructions it starts together with may start too:
//     - the matching instructions of the other members of a collective's group,
//     - under MessageMode::kRendezvous, the other end of a message.
//
// Matching: the k-th send from rank a to rank b on a channel matches the k-th receive of b from a
// on that channel; the k-th collective of each member on a group match one another.
#pragma once

#include <span>
#include <string>
#include <utility>
#include <vector>

#include "planner/program/instruction.h"

namespace shardwright {

class Readiness {
 public:
  // Copies nothing: `program` must outlive this. Waits that are not earlier instructions of the
  // same rank, peers outside the program and partners that do not exist end up in mismatches().
  explicit Readiness(const Program& program);

  struct Mismatch {
    Ref where;
    std::string what;
  };
  const std::vector<Mismatch>& mismatches() const { return mismatches_; }

  // Instructions of the same rank that must have finished: what an executor of one rank checks
  // itself. The communicator enforces the rest.
  std::vector<int> local_before(Ref ref) const;
  // The other end of a message; {-1,-1} when there is none.
  Ref partner(Ref ref) const { return links_[flat(ref)].partner; }
  // The unit that the instruction starts with: itself alone, or all members of its collective.
  int unit_of(Ref ref) const {
    const size_t place = flat(ref);
    return links_[place].role == Role::kShares ? shared_[place]
                                               : num_shared() + static_cast<int>(place);
  }
  std::span<const Ref> members_of(int unit) const {
    if (unit >= num_shared()) return {refs_.data() + (unit - num_shared()), 1};
    return {unit_members_.data() + unit_begin_[unit], unit_members_.data() + unit_begin_[unit + 1]};
  }

  // What each instruction of a rank is, by index: see kind_of.
  std::span<const int> kinds(int at) const {
    return {kinds_.data() + offset_[at], program_.ranks[at].instructions.size()};
  }

  // walk_lists reads a little of one rank's list, then of another's: too little for a core to
  // foresee, so what comes so many instructions later is fetched by hand. It and its visitors take
  // half as long then.
  static constexpr int kFetchAhead = 16;

  // Calls visit(members of a unit) once for every unit, in an order that respects the rule and
  // depends on nothing but the program. Returns the instructions that could never start (empty when
  // all ran).
  template <typename Visit>
  std::vector<Ref> walk(Visit&& visit) const {
    Progress progress = begin_walk();
    for (size_t next = 0; next < progress.ready.size(); ++next) {
      visit(members_of(progress.ready[next]));
      finish_unit(progress.ready[next], &progress);
    }
    return stuck(progress);
  }
  // The same visits in another order, many times faster: rank after rank down its list as far as
  // the others let it. False: some list names what has to wait before what others wait for, and
  // not all have been visited; walk() then says what can run.
  template <typename Visit>
  bool walk_lists(Visit&& visit) const {
    Lists lists = begin_lists();
    while (!lists.free.empty()) {
      const int at = lists.free.back();
      lists.free.pop_back();
      run_list(at, &lists, visit);
    }
    return lists.next == lists.size;
  }
  // Calls each(ref) for everything that must have finished before `ref`, on any rank.
  template <typename Each>
  void for_each_before(Ref ref, Each&& each) const {
    const Link& link = links_[flat(ref)];
    for (int i = 0; i < link.num_before; ++i) each(Ref{ref.at, before_[link.before + i]});
    if (link.role == Role::kReceives) each(link.partner);
  }

 private:
  // Kahn's algorithm over units. `ready` is first in, first out and keeps the units that have run,
  // so the order follows from the program alone. Units that follow unit u are
  // followers[begin[u]..begin[u+1]): flat, because search walks programs of a million instructions.
  struct Progress {
    std::vector<int> missing, begin, followers, ready;
  };
  Progress begin_walk() const;
  void finish_unit(int unit, Progress* progress) const;
  std::vector<Ref> stuck(const Progress& progress) const;
  // Calls each(before, after) for every pair of units of which one must wait for the other.
  template <typename Each>
  void for_each_edge(Each&& each) const {
    for (int unit = 0; unit < num_units(); ++unit) {
      if (!used(unit)) continue;
      for (Ref ref : members_of(unit)) {
        for_each_before(ref, [&](Ref before) { each(unit_of(before), unit); });
      }
    }
  }
  // Collectives and meetings come first, then one unit for every instruction, of which those of
  // members are not used.
  int num_shared() const { return static_cast<int>(unit_begin_.size()) - 1; }
  int num_units() const { return num_shared() + static_cast<int>(refs_.size()); }
  bool used(int unit) const {
    return unit < num_shared() || links_[unit - num_shared()].role != Role::kShares;
  }

  // What an instruction has to do with other ranks.
  enum class Role : uint8_t {
    kAlone,
    kSends,     // its partner follows it
    kReceives,  // it follows its partner
    kShares,    // it is a member of a unit with others
  };

  // Compact, so that a walk reads nothing else: the instructions of large programs fill no cache.
  struct Link {
    Ref partner{-1, -1};  // of a message
    int before = 0;       // into before_: those of its rank that it follows directly
    uint8_t num_before = 0;
    Role role = Role::kAlone;
  };

  // Of walk_lists, by position of the rank. Ranks are running, free to run, or parked.
  struct Lists {
    std::vector<int> next, size, free, arrived;
    std::vector<char> parked;
    void wake(int at) {
      if (!parked[at]) return;
      parked[at] = false;
      free.push_back(at);
    }
  };
  Lists begin_lists() const;
  // Runs a rank until it waits for another one.
  template <typename Visit>
  void run_list(int at, Lists* lists, Visit&& visit) const {
    const Link* const links = links_.data() + offset_[at];
    const int size = lists->size[at];
    int next = lists->next[at];
    for (; next < size; ++next) {
      const Link& link = links[next];
      __builtin_prefetch(&link + kFetchAhead);
      __builtin_prefetch(before_.data() + link.before + 2 * kFetchAhead);
      const Ref ref{at, next};
      if (link.role == Role::kShares) {
        const int unit = shared_[flat(ref)];
        if (!all_arrived(unit, at, lists)) break;
        visit(members_of(unit));
        pass_together(unit, at, lists);
        continue;
      }
      if (link.role == Role::kReceives && lists->next[link.partner.at] <= link.partner.index) {
        lists->parked[at] = true;
        break;
      }
      visit(std::span<const Ref, 1>(&ref, 1));
      if (link.role == Role::kSends && lists->next[link.partner.at] == link.partner.index)
        lists->wake(link.partner.at);
    }
    lists->next[at] = next;
  }
  bool all_arrived(int unit, int at, Lists* lists) const {
    const bool all = ++lists->arrived[unit] == static_cast<int>(members_of(unit).size());
    lists->parked[at] = !all;
    return all;
  }
  void pass_together(int unit, int at, Lists* lists) const {
    for (Ref ref : members_of(unit)) {
      if (ref.at == at) continue;
      ++lists->next[ref.at];
      lists->wake(ref.at);
    }
  }

  size_t flat(Ref ref) const { return offset_[ref.at] + ref.index; }
  class Matcher;
  void link(int at, Matcher* messages, std::vector<Ref>* collectives);
  void match_collectives(const std::vector<Ref>& collectives);
  void match_group(int group, const std::vector<std::vector<Ref>>& issued);
  void form_meetings();
  void add_unit(std::span<const Ref> members);
  void mismatch(Ref where, std::string what);

  const Program& program_;
  std::vector<size_t> offset_;  // of each rank's list in the flat arrays
  std::vector<Link> links_;
  std::vector<int> kinds_;
  std::vector<int> before_;            // indices on the same rank
  std::vector<Ref> refs_;              // of the flat arrays
  std::vector<int> shared_;            // the unit that an instruction shares with others
  std::vector<int> unit_begin_ = {0};  // [num_shared + 1] into unit_members_
  std::vector<Ref> unit_members_;
  std::vector<Mismatch> mismatches_;
};

}  // namespace shardwright
