#!/usr/bin/env bash
# Collects the libraries that building shardwright needs into a folder, for GPU machines that can
# install nothing: run it on a Debian 12 machine, take the folder there, and tools/gpu_check.sh uses
# it (--kit DIR, or ./gpu-kit). About 45 MB. Open MPI is not in it: ranks are threads then.
#
#   tools/gpu_kit.sh DIR
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

packages=(nlohmann-json3-dev libcli11-dev libgtest-dev googletest
  libdnnl-dev libdnnl2 ocl-icd-libopencl1 ocl-icd-opencl-dev opencl-c-headers)

fail() {
  echo "gpu_kit: $*" >&2
  exit 2
}

[ $# -eq 1 ] || fail "expected one argument, the folder to make"
[ ! -e "$1" ] || fail "$1 is there already"
tools/install_deps.sh
for package in "${packages[@]}"; do
  dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed ||
    fail "the package $package is not installed"
done
mkdir -p "$1"
# Headers, libraries and what CMake reads; no documentation.
dpkg -L "${packages[@]}" | sort -u | grep -E '^/usr/(include|lib|share/cmake|share/pkgconfig)' |
  while read -r path; do
    [ -d "$path" ] && [ ! -L "$path" ] || echo "${path#/}"
  done | tar -C / -cf - --no-recursion -T - | tar -C "$1" -xf -
echo "gpu_kit: $1, $(du -sm "$1" | cut -f1) MB"
