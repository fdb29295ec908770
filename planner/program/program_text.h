// A Program as text: one line per chunk, group, rank and instruction, in this order.
//
//   shardwright.program/1 messages posted world 2 microbatches 4 replicas 1 tied 0
//   chunk 0 layers 0 2 embedding 1 head 0 recompute 0 tp 1 micro_batch 2 seq 16 type fp32 ...
//   group 0 dp first 0 stride 1 size 2
//   rank 0 tp 0 dp 0 stage 0
//   0 load c0 m0 @compute
//   1 forward c0 m0 @compute wait 0
//   2 send_activation c0 m0 peer 1 @activation_out wait 1
//   9 reduce_gradients c0 group 0 @data wait 8
//
// The first line may go on with "cp 2", "of 3 1" (microbatches of every replica), "order
// tp-cp-pp-dp" and how states are sharded, a chunk with what differs from the defaults ("stage 0 cp
// 2 split_backward 1 operands 640"), a group with runs
// ("run 2 jump 16"), a rank with its place in cp.
//
// print and parse are exact inverses; golden programs and hand-made wrong ones are files of this
// form.
#pragma once

#include <string>

#include "costmodel/result.h"
#include "planner/program/instruction.h"

namespace shardwright {

std::string print_program(const Program& program);
std::string print_instruction(int index, const Instruction& instruction);
// Fails with the line number and what was expected there. Checks form, not meaning: see verify.h.
Result<Program> parse_program(const std::string& text, const std::string& file);

}  // namespace shardwright
