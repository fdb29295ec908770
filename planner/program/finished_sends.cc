#include "planner/program/finished_sends.h"

#include <algorithm>
#include <iterator>

#include "planner/program/readiness.h"

namespace shardwright {
namespace {

// By position of the rank: its sends that are over.
using Known = std::vector<FinishedSends>;

void join(const Known& more, Known* known) {
  for (size_t i = 0; i < known->size(); ++i) {
    (*known)[i].activation = std::max((*known)[i].activation, more[i].activation);
    (*known)[i].gradient = std::max((*known)[i].gradient, more[i].gradient);
  }
}

// The ranks that exchange messages with the one at `at`, and how sends of a device end. Only what
// readiness asks for.
Program pipeline_of(const Program& program, int at) {
  const RankProgram& own = program.ranks.at(at);
  Program out;
  out.messages = MessageMode::kRendezvous;
  out.world = program.world;
  out.chunks = program.chunks;
  out.groups = program.groups;
  std::copy_if(program.ranks.begin(), program.ranks.end(), std::back_inserter(out.ranks),
               [&](const RankProgram& rank) {
                 return rank.tp == own.tp && rank.dp == own.dp && rank.cp == own.cp;
               });
  return out;
}

void note_send(const Instruction& send, int index, FinishedSends* finished) {
  (send.op == OpCode::kSendActivation ? finished->activation : finished->gradient) = index + 1;
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
  const Program pipeline = pipeline_of(program, at);
  const Readiness rule(pipeline);
  const int own = pipeline.position_of(program.ranks.at(at).rank);
  std::vector<FinishedSends> out(program.ranks[at].instructions.size());
  // At the end of each instruction, by rank.
  std::vector<std::vector<Known>> ends(pipeline.ranks.size());
  for (size_t i = 0; i < ends.size(); ++i) ends[i].resize(pipeline.ranks[i].instructions.size());
  const auto stuck = rule.walk([&](std::span<const Ref> members) {
    Known known(pipeline.ranks.size());
    for (const Ref& ref : members) {
      rule.for_each_before(ref, [&](Ref before) { join(ends[before.at][before.index], &known); });
    }
    for (const Ref& ref : members) {
      if (ref.at == own) out[ref.index] = known[own];
    }
    for (const Ref& ref : members) {
      const Instruction& next = instruction_at(pipeline, ref);
      if (next.is_send()) note_send(next, ref.index, &known[ref.at]);
    }
    for (const Ref& ref : members) ends[ref.at][ref.index] = known;
  });
  if (!stuck.empty()) out.clear();
  return out;
}

Bytes unfinished_send_bytes(const Program& program, int at) {
  const std::vector<FinishedSends> finished = finished_sends(program, at);
  const std::vector<Instruction>& list = program.ranks.at(at).instructions;
  Bytes most = 0;
  for (size_t i = 0; i < finished.size(); ++i) {
    Bytes under_way = 0;
    for (size_t sent = 0; sent < i; ++sent) {
      const Instruction& send = list[sent];
      if (!send.is_send()) continue;
      const int over =
          send.op == OpCode::kSendActivation ? finished[i].activation : finished[i].gradient;
      if (static_cast<int>(sent) >= over) under_way += program.chunks[send.chunk].message;
    }
    most = std::max(most, under_way);
  }
  return most;
}

}  // namespace shardwright
