#!/usr/bin/env bash
# Writes an English text of about 4 MB to train on: the King James Bible from the Debian package
# bible-kjv (public domain), one verse per line, without the reference labels. The same bytes every
# time. Does nothing when the file is there and complete.
#
#   tools/get_text.sh OUT
set -euo pipefail

fail() {
  echo "get_text: $*" >&2
  exit 1
}

[ $# -eq 1 ] || fail "expected one argument, the file to write"
out=$1
last_line='The grace of our Lord Jesus Christ be with you all. Amen.'
verses=31102

complete() {
  [ "$(wc -l <"$1")" -eq $verses ] && [ "$(tail -n 1 "$1")" = "$last_line" ]
}

if [ -f "$out" ] && complete "$out"; then
  echo "get_text: $out is complete"
  exit 0
fi
command -v bible >/dev/null || fail "the command 'bible' is missing: run tools/install_deps.sh"

mkdir -p "$(dirname "$out")"
part="$out.part"
trap 'rm -f "$part"' EXIT
# -f turns pretty-printing off: each verse is one line that starts with a label like "1Sm3:16 ".
bible -f gen1:1-rev22:21 </dev/null | LC_ALL=C sed -E 's/^[0-9]?[A-Za-z]+[0-9]+:[0-9]+ //' >"$part"
complete "$part" || fail "unexpected output of 'bible' ($(wc -l <"$part") lines, not $verses)"
mv "$part" "$out"
echo "get_text: wrote $out, $(wc -c <"$out") bytes"
