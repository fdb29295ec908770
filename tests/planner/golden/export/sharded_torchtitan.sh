#!/usr/bin/env bash
# llama-3.1-8b on 32 devices of h100-sxm-80gb:8x4: dp16 tp2 pp1 mb1 1f1b full sp zero3 group8
# Written by shardwright; flags checked against torchtitan main of 2026-08-21, 0.2.2 (github.com/pytorch/torchtitan, commit b5bcd76c66d0)
# Predicted: ...
set -euo pipefail

export PYTORCH_ALLOC_CONF=expandable_segments:True

# Options given to the script come first: the last word chooses what is recomputed.
PLAN=(
  --module llama3
  --config llama3_8b
  --parallelism.data_parallel_replicate_degree 2
  --parallelism.data_parallel_shard_degree 8
  --parallelism.fsdp_reshard_after_forward always
  --parallelism.tensor_parallel_degree 2
  --parallelism.context_parallel_degree 1
  --parallelism.pipeline_parallel_degree 1
  --parallelism.expert_parallel_degree 1
  --training.num_tokens_per_microbatch_per_dp_rank 4096
  --training.num_tokens_per_train_step 524288
  --training.max_context_length 4096
  --training.mixed_precision_param bfloat16
  --compile.enable
  activation-checkpoint:full
)

exec torchrun --nnodes 4 --nproc-per-node 8 --node-rank "${NODE_RANK:-0}" \
  --master-addr "${MASTER_ADDR:-localhost}" --master-port "${MASTER_PORT:-29500}" \
  -m torchtitan.train "$@" "${PLAN[@]}"
