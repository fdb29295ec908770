#!/usr/bin/env bash
# From a bare checkout to a trained model and a checked prediction: installs, builds, measures this
# machine, plans a small GPT for it, trains it for 200 steps and compares predicted with measured.
# Under 10 minutes on two cores the first time, under 2 after that. Everything that it makes lies in
# build/release and runs/quickstart, except the profile of this machine, which is kept where
# `shardwright plan` looks for it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

work=runs/quickstart
shardwright=build/release/shardwright
cache=${XDG_CACHE_HOME:-${HOME:?is not set}/.cache}
export SHARDWRIGHT_MACHINE=${SHARDWRIGHT_MACHINE:-$cache/shardwright/machine.json}

step() {
  printf '\n== %s (%s s)\n' "$1" "$SECONDS"
}

# A profile holds for the processor and the number of cores that it was measured on.
machine_id() {
  echo "cores: $(nproc)"
  grep -m 1 '^model name' /proc/cpuinfo || uname -m
}

step "packages"
tools/install_deps.sh

step "build"
cmake --preset release
cmake --build --preset release --target shardwright -j "$(nproc)"

step "text"
tools/get_text.sh "$work/text.txt"

step "profile of this machine"
if [ -f "$SHARDWRIGHT_MACHINE" ] && cmp -s <(machine_id) "$SHARDWRIGHT_MACHINE.id"; then
  echo "quickstart: using $SHARDWRIGHT_MACHINE"
else
  mkdir -p "$(dirname "$SHARDWRIGHT_MACHINE")"
  "$shardwright" profile -o "$SHARDWRIGHT_MACHINE"
  machine_id >"$SHARDWRIGHT_MACHINE.id"
fi

step "plan"
"$shardwright" plan --model profiles/models/tiny-gpt.json --seq 256 --global-batch 16 \
  -o "$work/plan.json"

step "run"
rm -rf "$work/run"
"$shardwright" run "$work/plan.json" --data "$work/text.txt" --steps 200 --lr 0.002 --warmup 20 --out "$work/run"

step "compare"
"$shardwright" compare "$work/run"

printf '\nquickstart: done in %s s; plan, timeline and losses are in %s\n' "$SECONDS" "$work"
