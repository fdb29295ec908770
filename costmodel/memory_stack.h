// MemoryStack: what a training framework keeps in device memory besides the mathematics: bytes of
// its states, the tensors that its kernels save for the backward, its logits, workspaces and the
// slack of its allocator. Parameters belong to a framework generation, never to a run or a model.
//
// profiles/memory/NAME.json holds them, each file with its source. memory.h is about our own
// executor, whose tensors are known exactly; this is about everybody else's.
#pragma once

#include <string>
#include <vector>

#include "costmodel/json.h"
#include "costmodel/units.h"

namespace shardwright {

struct MemoryStack {
  std::string name, source;

  // Bytes per parameter. Unsharded: weights and gradients as a rank holds them without ZeRO;
  // sharded: what ZeRO-1 divides by the replicas.
  double unsharded_fp16 = 4, unsharded_bf16 = 6;
  double sharded_fp16 = 12, sharded_bf16 = 12;
  double reduced_fp16 = 4, reduced_bf16 = 4;  // a gradient on its way over the replicas
  double fp8_copies = 0;         // quantised weights beside them, when products run in fp8 or fp4
  double bucket_elements = 0;    // of a reduction and a gather bucket, 16 bit each
  double step_copies = 0;        // of the shard, alive only during the optimizer step
  double dummy_gradients = 0;    // for every distinct weight shape of the rank
  double gathered_layers = 2;    // ZeRO-3: 16-bit layers that are whole at once
  double gathered_gradient = 6;  // ZeRO-3: bytes per parameter of one layer's whole gradient

  // Bytes per element of what a layer saves.
  double norm = 2;          // beside the norm's input, per hidden element and norm
  double norm_kernel = 2;   // the same with a fused norm kernel, where the run says it has one
  double dropout_mask = 0;  // per hidden element and branch
  double rotated = 0;       // copies besides q, k and v, per element of q and k
  double scores = 5;        // per score of attention that is not flash: softmax, mask, dropped
  double up_gated = 4;      // before the activation, per column of the MLP
  double up_plain = 2;
  double activated = 2;      // after it
  double fp8_input = 1;      // what a product in fp8 or fp4 keeps of its 16-bit input
  double stage_output = 0;   // 1: a stage keeps its output until the microbatch's backward
  double selective_ops = 0;  // 1: "selective" keeps every second product and attention's output

  // Bytes per logit at the loss: of this rank's share, and of the whole vocabulary when the shares
  // are gathered; the first with a fused cross-entropy instead.
  double logits = 10, logits_fused = 2, logits_gathered = 0;

  double workspace_gib = 0.07;      // of matrix products, allocated
  double expert_workspace_gib = 0;  // more of it with grouped products
  double context_gib = 1;           // outside of the allocator: driver, kernels, NCCL's buffers
  double slack = 1.05;              // reserved / allocated
};

// Of gradients on their way over the replicas in runs of this precision: fp32 or 16 bit.
DataType reduced_type(const MemoryStack& stack, DataType precision);

// The numbers of a MemoryStack, for its reader and for the table of parameters.
struct MemoryParameter {
  const char* name;
  double MemoryStack::*value;
  const char* unit;
  double low, high;  // plausible range; the reader refuses the rest
  const char* meaning;
};
const std::vector<MemoryParameter>& memory_parameters();

// "schema": "shardwright.memory_stack/1"; parameters left out keep their defaults.
Result<MemoryStack> read_memory_stack(const Json& json, const std::string& file);
// profiles_dir/memory/NAME.json.
Result<MemoryStack> load_memory_stack(const std::string& name, const std::string& profiles_dir);

}  // namespace shardwright
