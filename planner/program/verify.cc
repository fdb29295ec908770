#include "planner/program/verify.h"

#include <algorithm>
#include <map>
#include <set>
#include <tuple>

#include "planner/program/buffers.h"

namespace shardwright {
namespace {

// How often each (replica, microbatch) has flowed into a gradient; one count for the chunk's own
// parameters and, when the embedding is tied, one for each of the two places that use the table.
struct Contributions {
  std::vector<int> own, embedding, head;
  void unite(const Contributions& other, bool tied_only) {
    if (!tied_only) add(&own, other.own);
    add(&embedding, other.embedding);
    add(&head, other.head);
  }
  static void add(std::vector<int>* sum, const std::vector<int>& more) {
    for (size_t i = 0; i < more.size(); ++i) (*sum)[i] += more[i];
  }
};

class Verifier {
 public:
  Verifier(const Program& program, Bytes limit)
      : program_(program), rule_(program), limit_(limit) {}

  VerifyReport run() {
    check_structure();
    if (!report_.ok()) return std::move(report_);
    prepare();
    const std::vector<Ref> stuck = rule_.walk([&](std::span<const Ref> unit) { visit(unit); });
    report_deadlock(stuck);
    if (stuck.empty()) check_end();
    return std::move(report_);
  }

 private:
  using Key = std::pair<int, int>;  // position of the rank, chunk

  void problem(Ref where, std::string what) {
    report_.problems.push_back({where, std::move(what)});
  }

  // Things that make following the values meaningless.
  void check_structure() {
    if (static_cast<int>(program_.ranks.size()) != program_.world) {
      problem({}, "has " + std::to_string(program_.ranks.size()) + " of " +
                      std::to_string(program_.world) + " ranks");
    }
    check_counts();
    for (const auto& mismatch : rule_.mismatches()) problem(mismatch.where, mismatch.what);
    for (int at = 0; at < ranks(); ++at) {
      const auto& list = program_.ranks[at].instructions;
      for (int i = 0; i < static_cast<int>(list.size()); ++i) check_form({at, i}, list[i]);
    }
    check_tp_order();
  }

  // Contributions are counted per (replica, microbatch): their number must be one that the program
  // can have at all, and every rank must belong to one of the replicas.
  void check_counts() {
    size_t instructions = 0;
    for (const RankProgram& rank : program_.ranks) instructions += rank.instructions.size();
    if (program_.replicas < 1 || program_.replicas > program_.world) {
      problem({}, std::to_string(program_.replicas) + " replicas of " +
                      std::to_string(program_.world) + " ranks");
    }
    if (program_.microbatches < 1 || static_cast<size_t>(program_.microbatches) > instructions) {
      problem({}, std::to_string(program_.microbatches) + " microbatches in " +
                      std::to_string(instructions) + " instructions");
    }
    const auto& unlike = program_.replica_microbatches;
    if (!unlike.empty() &&
        (static_cast<int>(unlike.size()) != program_.replicas ||
         *std::max_element(unlike.begin(), unlike.end()) != program_.microbatches ||
         *std::min_element(unlike.begin(), unlike.end()) < 1)) {
      problem({}, "microbatches of " + std::to_string(unlike.size()) +
                      " replicas are not from 1 to " + std::to_string(program_.microbatches));
    }
    if (program_.cp < 1 || int64_t{program_.cp} * program_.replicas > program_.world) {
      problem({}, std::to_string(program_.replicas) + " replicas of " +
                      std::to_string(program_.cp) + " cp ranks are more than " +
                      std::to_string(program_.world) + " ranks");
    }
    for (int at = 0; at < ranks(); ++at) {
      const int replica = program_.ranks[at].dp;
      if (program_.ranks[at].cp >= program_.cp) problem({at, 0}, "rank is beyond its cp ranks");
      if (replica < program_.replicas) continue;
      problem({at, 0}, "rank is of replica " + std::to_string(replica) + " of " +
                           std::to_string(program_.replicas));
    }
  }

  void check_form(Ref ref, const Instruction& next) {
    const bool clip = next.op == OpCode::kClip;
    if (next.chunk >= static_cast<int>(program_.chunks.size()) || (next.chunk < 0 && !clip)) {
      problem(ref, "unknown chunk");
    }
    const bool whole_step = clip || next.op == OpCode::kReduceGradients ||
                            next.op == OpCode::kReduceTied || next.op == OpCode::kOptimizerStep ||
                            next.op == OpCode::kGatherParameters;
    const int microbatches = program_.microbatches_of(program_.ranks[ref.at].dp);
    if (next.microbatch >= microbatches || (next.microbatch < 0 && !whole_step)) {
      problem(ref, "unknown microbatch");
    }
    if (next.is_message() && next.peer < 0) problem(ref, "message without a peer");
  }

  // Collectives over tp are steps inside compute instructions: neighbours that compute in
  // different orders would wait for one another for ever.
  void check_tp_order() {
    std::map<std::tuple<int, int, int>, std::pair<int, std::vector<Instruction>>> leaders;
    for (int at = 0; at < ranks(); ++at) {
      const RankProgram& rank = program_.ranks[at];
      std::vector<Instruction> computes;
      for (const Instruction& next : rank.instructions) {
        if (!next.is_compute()) continue;
        Instruction bare;
        bare.op = next.op;
        bare.chunk = next.chunk;
        bare.microbatch = next.microbatch;
        computes.push_back(bare);
      }
      const auto [entry, fresh] =
          leaders.try_emplace({rank.dp, rank.cp, rank.stage}, std::pair{at, computes});
      if (!fresh && entry->second.second != computes) {
        problem({at, 0}, "computes in another order than its tp neighbour rank " +
                             std::to_string(program_.ranks[entry->second.first].rank));
      }
    }
  }

  // Of all instructions that never start only those that their own rank does not hold up: each rank
  // of the cycle is marked once, with what it waits for.
  void report_deadlock(const std::vector<Ref>& stuck) {
    const std::set<Ref> never(stuck.begin(), stuck.end());
    for (Ref ref : stuck) {
      const std::vector<int> before = rule_.local_before(ref);
      if (std::any_of(before.begin(), before.end(), [&](int index) {
            return never.count({ref.at, index}) > 0;
          })) {
        continue;
      }
      problem(ref, "deadlock: waits for " + first_blocker(ref, never));
    }
  }

  // "load c1 m1 of rank 1": what one of those that start together still waits for.
  std::string first_blocker(Ref ref, const std::set<Ref>& never) const {
    std::string blocker;
    for (Ref member : rule_.members_of(rule_.unit_of(ref))) {
      rule_.for_each_before(member, [&](Ref before) {
        if (!blocker.empty() || never.count(before) == 0) return;
        blocker = label_of(instruction_at(program_, before)) + " of rank " +
                  std::to_string(program_.ranks[before.at].rank);
      });
    }
    return blocker;
  }

  void prepare() {
    const size_t cells =
        static_cast<size_t>(program_.replicas) * program_.cp * program_.microbatches;
    for (int at = 0; at < ranks(); ++at) {
      live_.push_back(resident_bytes(program_, program_.ranks[at]));
      report_.peak_bytes.push_back(live_.back());
      report_.peak_index.push_back(-1);
      buffers_.emplace_back();
      for (int chunk : chunks_of(program_.ranks[at])) {
        Contributions none;
        none.own.assign(cells, 0);
        none.embedding = none.head = none.own;
        gradients_[{at, chunk}] = none;
        if (program_.state.zero == 3) pending_[{at, chunk}] = none;
      }
    }
  }

  void visit(std::span<const Ref> unit) {
    if (unit.size() > 1 || instruction_at(program_, unit.front()).is_collective()) collective(unit);
    for (Ref ref : unit) single(ref);
  }

  void single(Ref ref) {
    const Instruction& next = instruction_at(program_, ref);
    const Effects effects = effects_of(program_, next);
    // Before the buffers: a forward that runs twice is the cause, its second buffers are not.
    const Key key{ref.at, next.chunk};
    if (next.op == OpCode::kForward) count(ref, next, &forwards_);
    if (next.op == OpCode::kBackward || next.op == OpCode::kBackwardWeight) backward(ref, next);
    if (next.op == OpCode::kGatherParameters) ++gathers_[key];
    if (next.is_compute() && next.op != OpCode::kBackwardWeight) use_weights(ref, next);
    if (next.op == OpCode::kReduceTied && !next.is_collective()) unite_here(ref.at);
    for (const Buffer& buffer : effects.allocates) allocate(ref, buffer);
    for (const Buffer& buffer : effects.needs) {
      if (!buffers_[ref.at].count(buffer)) problem(ref, "needs " + label_of(buffer));
    }
    if (next.is_receive()) check_message(ref, next);
    if (next.op == OpCode::kOptimizerStep) check_gradients(ref, next);
    for (const Buffer& buffer : effects.frees) release(ref, buffer);
  }

  void allocate(Ref ref, const Buffer& buffer) {
    if (!buffers_[ref.at].insert(buffer).second) problem(ref, "makes a second " + label_of(buffer));
    live_[ref.at] += bytes_of(program_, buffer);
    if (live_[ref.at] <= report_.peak_bytes[ref.at]) return;
    const bool was_below = report_.peak_bytes[ref.at] <= limit_;
    report_.peak_bytes[ref.at] = live_[ref.at];
    report_.peak_index[ref.at] = ref.index;
    if (live_[ref.at] > limit_ && was_below) {
      problem(ref,
              "needs " + std::to_string(live_[ref.at]) + " bytes of " + std::to_string(limit_));
    }
  }

  void release(Ref ref, const Buffer& buffer) {
    if (buffers_[ref.at].erase(buffer)) live_[ref.at] -= bytes_of(program_, buffer);
  }

  void count(Ref ref, const Instruction& next, std::map<std::pair<Key, int>, int>* counts) {
    if (++(*counts)[{{ref.at, next.chunk}, next.microbatch}] > 1)
      problem(ref, "runs a second time");
  }

  void backward(Ref ref, const Instruction& next) {
    count(ref, next, &backwards_);
    const ChunkInfo& chunk = program_.chunks[next.chunk];
    const bool scattered = program_.state.zero == 3 && program_.state.shards > 1;
    Contributions& gradient = (scattered ? pending_ : gradients_)[{ref.at, next.chunk}];
    const RankProgram& rank = program_.ranks[ref.at];
    const size_t replica = static_cast<size_t>(rank.dp) * program_.cp + rank.cp;
    const size_t cell = replica * program_.microbatches + next.microbatch;
    ++gradient.own[cell];
    if (chunk.embedding) ++gradient.embedding[cell];
    if (chunk.head) ++gradient.head[cell];
  }

  // Zero 3: whole weights are there for one pass after each gather.
  void use_weights(Ref ref, const Instruction& next) {
    if (program_.state.zero != 3 || program_.state.shards == 1) return;
    if (--gathers_[{ref.at, next.chunk}] < 0) problem(ref, "needs gathered parameters");
  }

  // Both chunks that use a tied table are on one rank.
  void unite_here(int at) {
    const int last = static_cast<int>(program_.chunks.size()) - 1;
    const auto first = gradients_.find({at, 0}), second = gradients_.find({at, last});
    if (first == gradients_.end() || second == gradients_.end() || last == 0) return;
    Contributions sum = first->second;
    sum.unite(second->second, true);
    for (Contributions* mine : {&first->second, &second->second}) {
      mine->embedding = sum.embedding;
      mine->head = sum.head;
    }
  }

  void check_message(Ref ref, const Instruction& next) {
    const Instruction& sent = instruction_at(program_, rule_.partner(ref));
    const int step = next.op == OpCode::kReceiveActivation ? 1 : -1;
    if (sent.chunk + step != next.chunk || sent.microbatch != next.microbatch) {
      problem(ref, "the right message at the wrong time: gets " + label_of(sent));
    }
  }

  void collective(std::span<const Ref> unit) {
    const Instruction& first = instruction_at(program_, unit.front());
    if (!first.is_collective()) return;
    for (Ref ref : unit) {
      if (instruction_at(program_, ref).op != first.op) {
        problem(ref, std::string("joins a ") + name_of(first.op));
        return;
      }
    }
    if (first.op == OpCode::kScatterGradients) scatter(unit);
    if (first.op == OpCode::kReduceGradients) unite(unit, false);
    if (first.op == OpCode::kReduceTied) unite(unit, true);
  }

  // What the members have gathered since the last time joins their shards.
  void scatter(std::span<const Ref> unit) {
    const int chunk = instruction_at(program_, unit.front()).chunk;
    Contributions sum = pending_[{unit.front().at, chunk}];
    for (size_t i = 1; i < unit.size(); ++i) sum.unite(pending_[{unit[i].at, chunk}], false);
    for (Ref ref : unit) {
      gradients_[{ref.at, chunk}].unite(sum, false);
      Contributions& mine = pending_[{ref.at, chunk}];
      for (auto* counts : {&mine.own, &mine.embedding, &mine.head}) {
        std::fill(counts->begin(), counts->end(), 0);
      }
    }
  }

  void unite(std::span<const Ref> unit, bool tied_only) {
    const Instruction& first = instruction_at(program_, unit.front());
    // Replicas of experts alone have seen other tokens of the same microbatches.
    if (program_.groups.at(first.group).axis == Axis::kExpertDp) return;
    Contributions sum = gradients_[{unit.front().at, first.chunk}];
    for (size_t i = 1; i < unit.size(); ++i) {
      const int chunk = instruction_at(program_, unit[i]).chunk;
      if (!tied_only && chunk != first.chunk) {
        problem(unit[i], "reduces another chunk than its group");
      }
      sum.unite(gradients_[{unit[i].at, chunk}], tied_only);
    }
    for (Ref ref : unit) {
      Contributions& mine = gradients_[{ref.at, instruction_at(program_, ref).chunk}];
      if (!tied_only) mine.own = sum.own;
      mine.embedding = sum.embedding;
      mine.head = sum.head;
    }
  }

  void check_gradients(Ref ref, const Instruction& next) {
    if (++updates_[{ref.at, next.chunk}] > 1) problem(ref, "updates a second time");
    const ChunkInfo& chunk = program_.chunks[next.chunk];
    const Contributions& gradient = gradients_[{ref.at, next.chunk}];
    const bool ends = chunk.embedding || chunk.head;
    check_once(ref, gradient.own, "gradient");
    if (ends && program_.tied) {
      check_once(ref, gradient.embedding, "embedding gradient");
      check_once(ref, gradient.head, "head gradient");
    }
  }

  void check_once(Ref ref, const std::vector<int>& counts, const std::string& what) {
    for (size_t cell = 0; cell < counts.size(); ++cell) {
      if (counts[cell] == 1) continue;
      if (counts[cell] == 0 && !exists(cell)) continue;
      const size_t replica = cell / program_.microbatches / program_.cp;
      problem(ref, what + " of replica " + std::to_string(replica) + " m" +
                       std::to_string(cell % program_.microbatches) +
                       (counts[cell] == 0 ? " is missing" : " is counted twice"));
      return;
    }
  }

  // Whether the replica has so many microbatches.
  bool exists(size_t cell) const {
    const auto microbatches = static_cast<size_t>(program_.microbatches);
    const auto replica = static_cast<int>(cell / microbatches / static_cast<size_t>(program_.cp));
    return static_cast<int>(cell % microbatches) < program_.microbatches_of(replica);
  }

  void check_end() {
    std::map<int, int> holders;
    for (const auto& [key, gradient] : gradients_) {
      const auto& [at, chunk] = key;
      ++holders[chunk];
      const int last = static_cast<int>(program_.ranks[at].instructions.size()) - 1;
      for (int m = 0; m < program_.microbatches_of(program_.ranks[at].dp); ++m) {
        if (!forwards_.count({key, m})) problem({at, last}, missing("forward", chunk, m));
        if (!backwards_.count({key, m})) problem({at, last}, missing("backward", chunk, m));
      }
      if (!updates_.count(key)) {
        problem({at, last}, name_of_chunk(chunk) + " is never updated");
      }
      const bool sharded = program_.state.shards > 1 && program_.state.zero < 3;
      if (sharded && gathers_[key] != 1) {
        problem({at, last}, name_of_chunk(chunk) + " is gathered " + std::to_string(gathers_[key]) +
                                " times, not once");
      }
    }
    for (int chunk = 0; chunk < static_cast<int>(program_.chunks.size()); ++chunk) {
      const int64_t expected = int64_t{program_.replicas} * program_.cp * program_.chunks[chunk].tp;
      if (holders[chunk] != expected) {
        problem({}, name_of_chunk(chunk) + " is held by " + std::to_string(holders[chunk]) +
                        " ranks, not " + std::to_string(expected));
      }
    }
    for (int at = 0; at < ranks(); ++at) {
      if (buffers_[at].empty()) continue;
      problem({at, static_cast<int>(program_.ranks[at].instructions.size()) - 1},
              label_of(*buffers_[at].begin()) + " is never freed");
    }
  }

  static std::string name_of_chunk(int chunk) {
    return std::string("c").append(std::to_string(chunk));
  }
  static std::string missing(const char* what, int chunk, int microbatch) {
    return std::string("no ") + what + " of " + name_of_chunk(chunk) + " m" +
           std::to_string(microbatch);
  }
  int ranks() const { return static_cast<int>(program_.ranks.size()); }

  const Program& program_;
  Readiness rule_;
  Bytes limit_;
  VerifyReport report_;
  std::vector<Bytes> live_;
  std::vector<std::set<Buffer>> buffers_;
  std::map<std::pair<Key, int>, int> forwards_, backwards_;
  std::map<Key, int> updates_;
  std::map<Key, int> gathers_;  // zero 3: those whose weights no pass has used
  std::map<Key, Contributions> gradients_;
  std::map<Key, Contributions> pending_;  // zero 3: of passes, before they are scattered
};

}  // namespace

VerifyReport verify(const Program& program, Bytes memory_limit) {
  return Verifier(program, memory_limit).run();
}

}  // namespace shardwright
