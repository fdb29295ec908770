#!/usr/bin/env bash
# llama-3.1-8b on 32 devices of h100-sxm-80gb:8x4: dp8 tp1 pp4 mb1 1f1b none zero2
# Written by shardwright; flags checked against torchtitan main of 2026-08-21, 0.2.2 (github.com/pytorch/torchtitan, commit b5bcd76c66d0)
# Predicted: ...
set -euo pipefail

export PYTORCH_ALLOC_CONF=expandable_segments:True

# Options given to the script come first: the last word chooses what is recomputed.
PLAN=(
  --module llama3
  --config llama3_8b
  --parallelism.data_parallel_replicate_degree 1
  --parallelism.data_parallel_shard_degree 8
  --parallelism.fsdp_reshard_after_forward never
  --parallelism.tensor_parallel_degree 1
  --parallelism.context_parallel_degree 1
  --parallelism.pipeline_parallel_degree 4
  --parallelism.expert_parallel_degree 1
  --parallelism.pipeline_parallel_schedule 1F1B
  --parallelism.num_pp_microbatches 32
  --parallelism.module_fqns_per_model_part tok_embeddings,layers.0,layers.1,layers.2,layers.3,layers.4,layers.5,layers.6,layers.7,layers.8 layers.9,layers.10,layers.11,layers.12,layers.13,layers.14,layers.15 layers.16,layers.17,layers.18,layers.19,layers.20,layers.21,layers.22,layers.23,layers.24 layers.25,layers.26,layers.27,layers.28,layers.29,layers.30,layers.31,norm,lm_head
  --training.num_tokens_per_microbatch_per_dp_rank 4096
  --training.num_tokens_per_train_step 1048576
  --training.max_context_length 4096
  --training.mixed_precision_param bfloat16
  --training.disable_cuda_graphs
  --compile.enable
  activation-checkpoint:none
)

exec torchrun --nnodes 4 --nproc-per-node 8 --node-rank "${NODE_RANK:-0}" \
  --master-addr "${MASTER_ADDR:-localhost}" --master-port "${MASTER_PORT:-29500}" \
  -m torchtitan.train "$@" "${PLAN[@]}"
