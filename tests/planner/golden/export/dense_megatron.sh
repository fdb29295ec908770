#!/usr/bin/env bash
# llama-3.1-8b on 32 devices of h100-sxm-80gb:8x4: dp2 tp4 pp4 mb1 1f1b full layers2 v2 sp zero1
# Written by shardwright; flags checked against Megatron-LM main of 2026-08-22, Megatron-Core 0.20.0 (github.com/NVIDIA/Megatron-LM, commit d98e8a64ddf3)
# Predicted: ...
set -euo pipefail

export CUDA_DEVICE_MAX_CONNECTIONS=1

MODEL=(
  --num-layers 32
  --hidden-size 4096
  --ffn-hidden-size 14336
  --num-attention-heads 32
  --group-query-attention
  --num-query-groups 8
  --max-position-embeddings 131072
  --position-embedding-type rope
  --rotary-base 500000
  --normalization RMSNorm
  --norm-epsilon 1e-05
  --swiglu
  --disable-bias-linear
  --untie-embeddings-and-output-weights
  --vocab-size 128256
  --attention-dropout 0
  --hidden-dropout 0
)

PLAN=(
  --tensor-model-parallel-size 4
  --pipeline-model-parallel-size 4
  --context-parallel-size 1
  --sequence-parallel
  --pipeline-model-parallel-layout 'Et*3(|t*4)*6|t*5L'
  --micro-batch-size 1
  --global-batch-size 64
  --seq-length 4096
  --use-distributed-optimizer
  --recompute-granularity full
  --recompute-method block
  --recompute-num-layers 2
  --bf16
  --optimizer adam
  --overlap-grad-reduce
  --overlap-param-gather
  --cross-entropy-loss-fusion
  --cross-entropy-fusion-impl native
)

# What the plan does not decide: put your own here, or after the script's name.
TRAINING=(
  --mock-data
  --tokenizer-type NullTokenizer
  --train-iters 20
  --lr 1e-4
)

exec torchrun --nnodes 4 --nproc-per-node 8 --node-rank "${NODE_RANK:-0}" \
  --master-addr "${MASTER_ADDR:-localhost}" --master-port "${MASTER_PORT:-29500}" \
  "${MEGATRON_LM:-.}/pretrain_gpt.py" "${MODEL[@]}" "${PLAN[@]}" "${TRAINING[@]}" "$@"
