#!/usr/bin/env bash
# deepseek-v3 on 32 devices of h100-sxm-80gb:8x4: dp8 tp1 pp4 mb1 1f1b selective+mlp+mla_up_proj ep8 zero1
# Written by shardwright; flags checked against Megatron-LM main of 2026-08-22, Megatron-Core 0.20.0 (github.com/NVIDIA/Megatron-LM, commit d98e8a64ddf3)
# Predicted: ...
set -euo pipefail


MODEL=(
  --num-layers 61
  --hidden-size 7168
  --ffn-hidden-size 18432
  --num-attention-heads 128
  --multi-latent-attention
  --q-lora-rank 1536
  --kv-lora-rank 512
  --qk-head-dim 128
  --qk-pos-emb-head-dim 64
  --v-head-dim 128
  --qk-layernorm
  --max-position-embeddings 163840
  --position-embedding-type rope
  --rotary-base 10000
  --normalization RMSNorm
  --norm-epsilon 1e-06
  --swiglu
  --disable-bias-linear
  --untie-embeddings-and-output-weights
  --num-experts 256
  --moe-layer-freq '([0]*3+[1]*58)'
  --moe-router-topk 8
  --moe-ffn-hidden-size 2048
  --moe-shared-expert-intermediate-size 2048
  --moe-router-score-function sigmoid
  --moe-router-enable-expert-bias
  --moe-grouped-gemm
  --vocab-size 129280
  --attention-dropout 0
  --hidden-dropout 0
)

PLAN=(
  --tensor-model-parallel-size 1
  --pipeline-model-parallel-size 4
  --context-parallel-size 1
  --expert-model-parallel-size 8
  --expert-tensor-parallel-size 1
  --moe-token-dispatcher-type flex
  --moe-flex-dispatcher-backend deepep
  --pipeline-model-parallel-layout 'Et*16(|t*15)*2|t*15L'
  --micro-batch-size 1
  --global-batch-size 256
  --seq-length 4096
  --use-distributed-optimizer
  --recompute-granularity selective
  --recompute-modules mlp mla_up_proj
  --bf16
  --fp8-format hybrid
  --optimizer adam
  --use-precision-aware-optimizer
  --exp-avg-dtype bf16
  --exp-avg-sq-dtype bf16
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
