#!/usr/bin/env python3
"""Runs a compiler of kernels and says in a line per kernel and architecture what each one takes.

  kernel_resources.py COMMAND...     with -Xptxas=-v among its arguments

ptxas tells it in many lines of mangled names. Registers are per thread; shared memory, static only,
per block; stack and spills in bytes per thread. Everything else that the compiler says is passed
on, and so is its exit status.
"""

import re
import subprocess
import sys

ENTRY = re.compile(r"ptxas info\s+: Compiling entry function '(\S+)' for '(\S+)'")
STACK = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
USED = re.compile(r"ptxas info\s+: Used (\d+) registers")
SHARED = re.compile(r"(\d+) bytes smem")
NOISE = re.compile(r"ptxas info\s+: (Function properties|Compile time|0 bytes gmem|Overriding)|^\s*$")


def short_names(mangled):
    """{mangled: name without namespaces and parameters}; the mangled ones where c++filt lacks."""
    try:
        text = subprocess.run(["c++filt"], input="\n".join(mangled), capture_output=True, text=True)
        plain = text.stdout.splitlines()
    except OSError:
        plain = mangled
    names = {}
    for before, after in zip(mangled, plain):
        after = re.sub(r"\(anonymous namespace\)::|shardwright::|^void ", "", after)
        names[before] = re.sub(r"\(.*", "", re.sub(r"\(([\w ]+)\)(?=\w)", "", after))
    return names


def read(lines):
    """(rows, other lines) of a compiler's words. A row: mangled, arch, registers, ..."""
    rows, others, entry, stack = [], [], None, (0, 0, 0)
    for line in lines:
        if found := ENTRY.search(line):
            entry = found.groups()
        elif found := STACK.search(line):
            stack = tuple(map(int, found.groups()))
        elif (found := USED.search(line)) and entry:
            shared = SHARED.search(line)
            rows.append((*entry, int(found[1]), int(shared[1]) if shared else 0, *stack))
            entry = None
        elif not NOISE.search(line):
            others.append(line)
    return rows, others


def main(command):
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True)
    rows, others = read(done.stderr.splitlines())
    for line in others:
        print(line, file=sys.stderr)
    names = short_names([row[0] for row in rows])
    for mangled, arch, registers, shared, stack, stores, loads in sorted(rows):
        print(f"  {names[mangled]:56} {arch:8} {registers:3} registers {shared:6} B shared "
              f"{stack:4} B stack {stores + loads:4} B spilled")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
