#!/bin/sh
# Fits every shipped profile that has timings again: tools/calibrate_devices.sh MEASURED_OPS
# What a device is (peaks, memory, links, sources) stays as the profile says.
set -eu
ops=${1:?folder with gemm/, attention/ and collectives/}
cd "$(dirname "$0")/.."
command=${SHARDWRIGHT:-build/release/shardwright}
fit() { device=$1; shift; "$command" calibrate --ops "$ops" --device "$device" "$@" \
  -o "profiles/devices/$device.json"; }
for device in a100-sxm-80gb h100-sxm-80gb h200-sxm-141gb b200-sxm b300-sxm; do fit "$device"; done
# Its largest products show one machine's throttling.
fit gb200 --large-from b200-sxm
# Its collectives show one server's PCIe and sockets.
fit l40s --no-collectives
