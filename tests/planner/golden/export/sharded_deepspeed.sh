#!/usr/bin/env bash
# llama-3.1-8b on 32 devices of h100-sxm-80gb:8x4: dp32 tp1 pp1 mb1 1f1b full zero3 group8
# Written by shardwright; flags checked against DeepSpeed main of 2026-08-22, 0.19.6 (github.com/deepspeedai/DeepSpeed, commit edaa72212672)
# Predicted: ...
# TRAIN is your training script. It has to use seq 4096, recompute every layer.
set -euo pipefail

exec deepspeed --num_nodes 4 --num_gpus 8 "${TRAIN:?your training script}" \
  --deepspeed --deepspeed_config "$(dirname "$0")/ds_config.json" "$@"
