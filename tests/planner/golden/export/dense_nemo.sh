#!/usr/bin/env bash
# llama-3.1-8b on 32 devices of h100-sxm-80gb:8x4: dp2 tp4 pp4 mb1 1f1b full layers2 v2 sp zero1
# Written by shardwright; flags checked against Megatron-Bridge main of 2026-08-22, 0.7.0 (github.com/NVIDIA-NeMo/Megatron-Bridge, commit 067f987df03b)
# Predicted: ...
# RECIPE is a recipe of Megatron-Bridge for this model, e.g. llama31_8b: the overrides say
# how to split, the recipe what the model is.
set -euo pipefail

OVERRIDES=(
  model.tensor_model_parallel_size=4
  model.pipeline_model_parallel_size=4
  model.context_parallel_size=1
  model.sequence_parallel=true
  dist.use_tp_pp_dp_mapping=false
  model.virtual_pipeline_model_parallel_size=2
  'model.pipeline_model_parallel_layout="Et*3(|t*4)*6|t*5L"'
  model.overlap_p2p_comm=true
  train.micro_batch_size=1
  train.global_batch_size=64
  dataset.seq_length=4096
  model.recompute_granularity=full
  model.recompute_method=block
  model.recompute_num_layers=2
  model.recompute_modules=null
  model.cpu_offloading=false
  model.cpu_offloading_num_layers=0
  mixed_precision=bf16_mixed
  optimizer.optimizer=adam
  optimizer.use_distributed_optimizer=true
  ddp.use_distributed_optimizer=true
  ddp.use_megatron_fsdp=false
  ddp.data_parallel_sharding_strategy=no_shard
  ddp.num_distributed_optimizer_instances=1
  optimizer.use_precision_aware_optimizer=false
  optimizer.optimizer_cpu_offload=false
  ddp.overlap_grad_reduce=true
  ddp.overlap_param_gather=true
  model.tp_comm_overlap=false
  model.cross_entropy_loss_fusion=true
  model.cross_entropy_fusion_impl=native
)

exec torchrun --nnodes 4 --nproc-per-node 8 --node-rank "${NODE_RANK:-0}" \
  --master-addr "${MASTER_ADDR:-localhost}" --master-port "${MASTER_PORT:-29500}" \
  "${MEGATRON_BRIDGE:-.}/scripts/training/run_recipe.py" --model "${RECIPE:?a recipe}" --mode pretrain \
  --dataset mock "${OVERRIDES[@]}" "$@"
