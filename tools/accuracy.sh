#!/bin/sh
# Writes the tables of costmodel/ACCURACY.md anew from the published runs:
#   tools/accuracy.sh [RECORDS]      default: ../shared/measured_runs
# Everything below the line that says so is made by `shardwright validate --markdown`.
set -eu
cd "$(dirname "$0")/.."
records=${1:-../shared/measured_runs}
page=costmodel/ACCURACY.md
marker='<!-- made by tools/accuracy.sh below this line -->'
grep -qxF "$marker" "$page" || {
  echo "accuracy: $page has no line '$marker'" >&2
  exit 2
}
trap 'rm -f "$page.new"' EXIT
awk -v marker="$marker" '{ print } $0 == marker { exit }' "$page" > "$page.new"
echo >> "$page.new"
build/release/shardwright validate "$records" --markdown >> "$page.new"
mv "$page.new" "$page"
