#!/usr/bin/env bash
# Installs the Debian 12 packages that building, testing and the quickstart need, as far as they are
# missing. Says what it does; when nothing is missing it prints one line and changes nothing.
#
#   tools/install_deps.sh            compilers, libraries, the text to train on
#   tools/install_deps.sh --format   also what the gate uses: clang-format, and ccache for its builds
set -euo pipefail

packages=(
  g++ cmake ninja-build git
  nlohmann-json3-dev libcli11-dev   # JSON, command line
  libdnnl-dev ocl-icd-opencl-dev    # matrix products on CPU; its CMake file asks for OpenCL
  libopenmpi-dev openmpi-bin        # ranks as processes
  libgtest-dev libbenchmark-dev     # tests, benchmarks
  python3                           # tests/check_includes.py
  bible-kjv                         # public-domain English text, tools/get_text.sh
)

fail() {
  echo "install_deps: $*" >&2
  exit 1
}

case "${1:-}" in
  "") ;;
  --format) packages+=(clang-format ccache) ;;
  *) fail "unknown argument '$1', expected nothing or --format" ;;
esac

if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
  fail "apt-get is not here; on another system install what corresponds to: ${packages[*]}"
fi

installed() {
  [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

missing=()
for package in "${packages[@]}"; do
  installed "$package" || missing+=("$package")
done
if [ ${#missing[@]} -eq 0 ]; then
  echo "install_deps: all ${#packages[@]} packages are installed"
  exit 0
fi

as_root=()
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || fail "run as root, or install sudo; missing: ${missing[*]}"
  as_root=(sudo)
fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT
# Output is shown only when a step fails.
quietly() {
  if ! "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive "$@" >"$log" 2>&1 </dev/null; then
    cat "$log" >&2
    fail "failed: $*"
  fi
}

echo "install_deps: installing ${missing[*]}"
quietly apt-get update
for package in "${missing[@]}"; do
  apt-cache show "$package" >/dev/null 2>&1 || fail "apt knows no package '$package'"
done
quietly apt-get install -y --no-install-recommends "${missing[@]}"
echo "install_deps: installed ${#missing[@]} packages"
