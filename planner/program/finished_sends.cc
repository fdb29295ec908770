#include "planner/program/finished_sends.h"

#include <algorithm>
#include <array>
#include <iterator>

#include "planner/program/buffers.h"
#include "planner/program/readiness.h"

namespace shardwright {
namespace {

bool same_pipeline(const RankProgram& a, const RankProgram& b) {
  return a.tp == b.tp && a.dp == b.dp && a.cp == b.cp;
}

// The ranks that exchange messages with this one, and how sends of a device end. Only what
// readiness asks for.
Program pipeline_of(const Program& program, const RankProgram& own) {
  Program out;
  out.messages = MessageMode::kRendezvous;
  out.world = program.world;
  out.chunks = program.chunks;
  out.groups = program.groups;
  std::copy_if(program.ranks.begin(), program.ranks.end(), std::back_inserter(out.ranks),
               [&](const RankProgram& rank) { return same_pipeline(rank, own); });
  return out;
}

// What is known at each instruction of a pipeline: for every rank, which of its sends are over.
class Knowledge {
 public:
  explicit Knowledge(const Program& pipeline)
      : pipeline_(pipeline), rule_(pipeline), own_(pipeline.ranks.size()) {
    size_t total = 0;
    for (size_t at = 0; at < own_.size(); ++at) {
      offset_.push_back(total);
      own_[at].resize(pipeline.ranks[at].instructions.size());
      total += own_[at].size();
    }
    ends_.resize(total * own_.size());
    const auto stuck = rule_.walk([&](std::span<const Ref> members) { visit(members); });
    if (!stuck.empty()) own_.assign(own_.size(), {});
  }

  // Of the rank's own sends, when each of its instructions begins; empty after a deadlock.
  const std::vector<FinishedSends>& of_rank(int at) const { return own_[at]; }

 private:
  void visit(std::span<const Ref> members) {
    known_.assign(own_.size(), {});
    for (const Ref& ref : members) {
      rule_.for_each_before(ref, [&](Ref before) { join(end_of(before)); });
    }
    for (const Ref& ref : members) own_[ref.at][ref.index] = known_[ref.at];
    for (const Ref& ref : members) {
      const Instruction& next = instruction_at(pipeline_, ref);
      if (!next.is_send()) continue;
      FinishedSends& mine = known_[ref.at];
      (next.op == OpCode::kSendActivation ? mine.activation : mine.gradient) = ref.index + 1;
    }
    for (const Ref& ref : members) std::copy(known_.begin(), known_.end(), end_of(ref));
  }

  FinishedSends* end_of(Ref ref) {
    return ends_.data() + (offset_[ref.at] + ref.index) * own_.size();
  }
  void join(const FinishedSends* more) {
    for (FinishedSends& one : known_) {
      one.activation = std::max(one.activation, more->activation);
      one.gradient = std::max(one.gradient, more->gradient);
      ++more;
    }
  }

  const Program& pipeline_;
  const Readiness rule_;
  std::vector<std::vector<FinishedSends>> own_;  // by position, by instruction
  std::vector<size_t> offset_;
  std::vector<FinishedSends> ends_;   // [instructions of all ranks, ranks]
  std::vector<FinishedSends> known_;  // by what is visited, [ranks]
};

// By position in program.ranks.
std::vector<std::vector<FinishedSends>> all_finished_sends(const Program& program) {
  std::vector<std::vector<FinishedSends>> out(program.ranks.size());
  std::vector<bool> done(out.size());
  for (size_t at = 0; at < out.size(); ++at) {
    if (done[at]) continue;
    const Program pipeline = pipeline_of(program, program.ranks[at]);
    const Knowledge knowledge(pipeline);
    for (size_t i = 0; i < pipeline.ranks.size(); ++i) {
      const int place = program.position_of(pipeline.ranks[i].rank);
      out[place] = knowledge.of_rank(static_cast<int>(i));
      done[place] = true;
    }
  }
  return out;
}

RankPeak peak_of(const Program& program, int at, const std::vector<Bytes>& under_way) {
  const RankProgram& rank = program.ranks[at];
  Bytes live = resident_bytes(program, rank);
  RankPeak out{live, -1};
  for (size_t i = 0; i < rank.instructions.size(); ++i) {
    const Effects effects = effects_of(program, rank.instructions[i]);
    for (const Buffer& buffer : effects.allocates) live += bytes_of(program, buffer);
    const Bytes held = live + (under_way.empty() ? 0 : under_way[i]);
    if (held > out.bytes) out = {held, static_cast<int>(i)};
    for (const Buffer& buffer : effects.frees) live -= bytes_of(program, buffer);
  }
  return out;
}

}  // namespace

bool keeps_sent_memory(const Program& program) {
  return std::any_of(program.ranks.begin(), program.ranks.end(), [&](const RankProgram& rank) {
    int chunks = 0;
    for (const ChunkInfo& chunk : program.chunks) chunks += chunk.stage == rank.stage ? 1 : 0;
    return chunks > 1;
  });
}

std::vector<FinishedSends> finished_sends(const Program& program, int at) {
  const RankProgram& own = program.ranks.at(at);
  const Program pipeline = pipeline_of(program, own);
  return Knowledge(pipeline).of_rank(pipeline.position_of(own.rank));
}

std::vector<Bytes> unfinished_send_bytes(const Program& program, int at,
                                         const std::vector<FinishedSends>& finished) {
  // Of each lane of sends, the bytes sent before an instruction.
  const std::vector<Instruction>& list = program.ranks.at(at).instructions;
  std::vector<std::array<Bytes, 2>> sent(list.size() + 1);
  for (size_t i = 0; i < list.size(); ++i) {
    sent[i + 1] = sent[i];
    if (!list[i].is_send()) continue;
    sent[i + 1][list[i].op == OpCode::kSendGradient] += program.chunks[list[i].chunk].message;
  }
  std::vector<Bytes> out;
  for (size_t i = 0; i < finished.size(); ++i) {
    const auto under_way = [&](int over, int lane) {
      return sent[i][lane] - sent[std::min<size_t>(i, static_cast<size_t>(over))][lane];
    };
    out.push_back(under_way(finished[i].activation, 0) + under_way(finished[i].gradient, 1));
  }
  return out;
}

std::vector<RankPeak> device_peaks(const Program& program) {
  std::vector<std::vector<FinishedSends>> finished(program.ranks.size());
  if (keeps_sent_memory(program)) finished = all_finished_sends(program);
  std::vector<RankPeak> out;
  for (int at = 0; at < static_cast<int>(program.ranks.size()); ++at) {
    out.push_back(peak_of(program, at, unfinished_send_bytes(program, at, finished[at])));
  }
  return out;
}

void set_device_peaks(const Program& program, Timeline* timeline) {
  const std::vector<RankPeak> peaks = device_peaks(program);
  for (size_t at = 0; at < peaks.size(); ++at) {
    timeline->ranks[at].peak_bytes = peaks[at].bytes;
    timeline->ranks[at].peak_index = peaks[at].index;
  }
}

}  // namespace shardwright
