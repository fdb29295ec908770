#!/usr/bin/env bash
# Checks the GPU backend on a machine with an NVIDIA GPU and a CUDA toolkit, in at most 8 minutes,
# and writes one JSON with all that it found. Nothing is downloaded and no setting of the card is
# changed.
#
#   tools/gpu_check.sh [-o OUT.json] [--stages build,kernels,equal,staged,nccl,sanitizer,profile,speed]
#                      [--minutes 8] [--kit DIR]
#
# Needs a C++20 compiler, cmake, python3 and the libraries of tools/install_deps.sh; where those
# cannot be installed, a folder made by tools/gpu_kit.sh on a Debian machine holds them (--kit, or
# ./gpu-kit when it is there). Stages can be run alone once the build is there. A failed stage does
# not hide the others; the exit status is 0 only when none failed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

fail() {
  echo "gpu_check: $*" >&2
  exit 2
}

command -v python3 >/dev/null || fail "python3 is missing"
if ! command -v nvcc >/dev/null; then
  [ -x /usr/local/cuda/bin/nvcc ] || fail "nvcc is neither in PATH nor in /usr/local/cuda/bin"
  export PATH=/usr/local/cuda/bin:$PATH
fi
exec python3 tools/gpu_check.py "$@"
