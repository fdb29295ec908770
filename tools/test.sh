#!/usr/bin/env bash
# Builds the tests and runs them. The last line is "N passed, N failed"; the exit status is 0 only
# when the build succeeded, there was at least one test and none failed.
#
#   tools/test.sh                          all tests, preset release
#   tools/test.sh --preset dev|tsan        with AddressSanitizer and UBSan, or ThreadSanitizer
#   tools/test.sh [...] tests/planner ...  only the tests of these folders
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

preset=release
folders=()
while [ $# -gt 0 ]; do
  case "$1" in
    --preset)
      preset=${2:?test: --preset needs a name}
      shift
      ;;
    tests/*) folders+=("${1%/}") ;;
    *)
      echo "test: unknown argument '$1', expected --preset NAME or folders below tests/" >&2
      exit 2
      ;;
  esac
  shift
done

jobs=$(nproc)
tools/install_deps.sh
cmake --preset "$preset"
select=()
if [ ${#folders[@]} -eq 0 ]; then
  cmake --build --preset "$preset" -j "$jobs"
else
  cmake --build --preset "$preset" -j "$jobs" --target "${folders[@]/%//all}"
  # The presets know the tests' environment, folders know their names: select by exact name.
  names=$(for folder in "${folders[@]}"; do ctest --test-dir "build/$preset/$folder" -N; done |
    sed -n 's/^ *Test *#[0-9]*: //p' | paste -sd '|')
  select=(-R "^($names)$")
fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT
status=0
ctest --preset "$preset" --output-on-failure --no-tests=error --timeout 900 "${select[@]}" |
  tee "$log" || status=$?

# ctest counts a skipped test as passed; here it is neither passed nor failed.
read -r failed total < <(sed -nE 's/^.* ([0-9]+) tests failed out of ([0-9]+)$/\1 \2/p' "$log") ||
  { failed=0 && total=0; }
skipped=$(grep -cE '^\s+[0-9]+ - .* \((Skipped|Disabled)\)$' "$log" || true)
[ "$skipped" -eq 0 ] || echo "$skipped skipped"
echo "$((total - failed - skipped)) passed, $failed failed"
exit $status
