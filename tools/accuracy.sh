#!/bin/sh
# Writes the tables of costmodel/ACCURACY.md anew from the published runs (about 3 minutes of a core):
#   tools/accuracy.sh [RECORDS]      default: ../shared/measured_runs
# Everything below the line that says so is made by `shardwright validate`.
set -eu
cd "$(dirname "$0")/.."
records=${1:-../shared/measured_runs}
page=costmodel/ACCURACY.md
marker='<!-- made by tools/accuracy.sh below this line -->'
grep -qxF "$marker" "$page" || {
  echo "accuracy: $page has no line '$marker'" >&2
  exit 2
}
validate() { build/release/shardwright validate "$records" "$@"; }
trap 'rm -f "$page.new"' EXIT
{
  awk -v marker="$marker" '{ print } $0 == marker { exit }' "$page"
  echo
  validate --markdown
  printf '\n### Sources left out, and after some of their runs\n\n'
  validate --cross --runs-given 0,1,2,3,5,8
  printf '\n### What the terms are worth\n\n'
  validate --ablations
} > "$page.new"
mv "$page.new" "$page"
