#include <algorithm>
#include <map>
#include <set>

#include "planner/program/verify.h"

namespace shardwright {
namespace {

constexpr int kContext = 3;     // rows shown around a problem
constexpr size_t kColumns = 8;  // ranks shown at most

std::string cell_of(const Instruction& instruction) {
  static const std::map<OpCode, const char*> kShort = {{OpCode::kLoad, "L"},
                                                       {OpCode::kForward, "F"},
                                                       {OpCode::kBackward, "B"},
                                                       {OpCode::kBackwardInput, "BI"},
                                                       {OpCode::kBackwardWeight, "BW"},
                                                       {OpCode::kSendActivation, "SA"},
                                                       {OpCode::kReceiveActivation, "RA"},
                                                       {OpCode::kSendGradient, "SG"},
                                                       {OpCode::kReceiveGradient, "RG"},
                                                       {OpCode::kGatherParameters, "GATHER"},
                                                       {OpCode::kScatterGradients, "SCATTER"},
                                                       {OpCode::kReduceGradients, "REDUCE"},
                                                       {OpCode::kReduceTied, "TIED"},
                                                       {OpCode::kClip, "CLIP"},
                                                       {OpCode::kOptimizerStep, "STEP"}};
  std::string text = kShort.at(instruction.op);
  if (instruction.microbatch >= 0) {
    text += std::to_string(instruction.microbatch);
    if (instruction.chunk >= 0) text.append("c").append(std::to_string(instruction.chunk));
  }
  return text;
}

std::string trimmed(std::string line) {
  line.erase(line.find_last_not_of(' ') + 1);
  return line;
}

std::string pad(std::string text, size_t width) {
  text.resize(std::max(width, text.size()), ' ');
  return text;
}

}  // namespace

std::string problem_table(const Program& program, const VerifyReport& report) {
  if (report.ok()) return "ok\n";
  std::map<Ref, std::string> marks;
  std::set<int> rows, columns;
  std::string out;
  for (const Problem& problem : report.problems) {
    if (problem.where.at < 0) {
      out += problem.what + "\n";
      continue;
    }
    marks.try_emplace(problem.where, problem.what);
    for (int d = -kContext; d <= kContext; ++d) rows.insert(problem.where.index + d);
    columns.insert(problem.where.at);
  }
  // The ranks with problems first, then others up to the limit, all in order.
  for (size_t at = 0; at < program.ranks.size() && columns.size() < kColumns; ++at) {
    columns.insert(static_cast<int>(at));
  }
  std::string heads(6, ' ');
  for (int at : columns) heads += pad("rank " + std::to_string(program.ranks[at].rank), 10);
  out += trimmed(heads) + "\n";
  for (int row : rows) {
    std::string line = pad(std::to_string(row), 6), notes;
    bool any = false;
    for (int at : columns) {
      const auto& list = program.ranks[at].instructions;
      const bool inside = row >= 0 && row < static_cast<int>(list.size());
      const auto mark = marks.find({at, row});
      std::string cell = inside ? cell_of(list[row]) : "";
      if (mark != marks.end()) {
        cell += "*";
        notes += "  <-- rank " + std::to_string(program.ranks[at].rank) + ": " + mark->second;
      }
      any = any || inside;
      line += pad(cell, 10);
    }
    if (any) out += trimmed(line + notes) + "\n";
  }
  return out;
}

}  // namespace shardwright
