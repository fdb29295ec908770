// The steps of every instruction of a program: what the cost model prices and the executor
// performs.
#pragma once

#include <map>
#include <tuple>
#include <vector>

#include "costmodel/memory.h"
#include "costmodel/model_spec.h"
#include "planner/program/instruction.h"

namespace shardwright {

class StepTable {
 public:
  // Lists are made once per chunk and kind of instruction. Both arguments must outlive this.
  StepTable(const ModelSpec& model, const Program& program, OptimizerKind optimizer);

  const std::vector<Step>& steps(const Instruction& instruction) const;
  const std::vector<Step>& steps(Ref ref) const { return steps(instruction_at(program_, ref)); }
  OptimizerKind optimizer() const { return optimizer_; }

 private:
  std::vector<Step> make(const Instruction& instruction) const;

  const ModelSpec& model_;
  const Program& program_;
  OptimizerKind optimizer_;
  std::map<std::tuple<OpCode, int>, std::vector<Step>> lists_;  // by opcode and chunk
};

}  // namespace shardwright
