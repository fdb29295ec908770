#!/bin/sh
# Fits the factors of all devices, interconnects and stacks to published runs, writes them to
# profiles/factors.json and profiles/intervals.json, and prints errors by source and group, with the
# source in the fit, left out, and after one of its runs.
#   tools/refit_stacks.sh [FOLDER OF RECORDS]
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
records=${1:-"$root/../shared/measured_runs"}
"$root/build/release/shardwright" calibrate --runs "$records" --refit -o "$root/profiles"
