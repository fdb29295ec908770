#!/usr/bin/env python3
"""What kernel_resources.py makes of ptxas's words (nvcc 13.0, shortened) and of a compiler's status."""

import pathlib
import subprocess
import sys

SCRIPT = pathlib.Path(__file__).parents[3] / "executor/cuda/kernel_resources.py"
NAME = "_ZN11shardwright12_GLOBAL__N_116block_sum_kernelIfEEvPKT_PS1_"
WORDS = f"""ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function '{NAME}' for 'sm_80'
ptxas info    : Function properties for {NAME}
    8 bytes stack frame, 4 bytes spill stores, 12 bytes spill loads
ptxas info    : Used 14 registers, used 1 barriers, 128 bytes smem, 368 bytes cmem[0]
ptxas info    : Compile time = 8.781 ms
x.cu(3): warning: something else
"""


def run(status):
    command = f"import sys; sys.stderr.write({WORDS!r}); sys.exit({status})"
    return subprocess.run([sys.executable, SCRIPT, sys.executable, "-c", command],
                          capture_output=True, text=True)


good, bad = run(0), run(3)
rows = good.stdout.splitlines()
assert len(rows) == 1, rows
expected = ["sm_80", "14", "registers", "128", "B", "shared", "8", "B", "stack", "16", "B", "spilled"]
assert rows[0].split()[-len(expected):] == expected, rows
assert "block_sum_kernel" in rows[0], rows
assert good.stderr == "x.cu(3): warning: something else\n", good.stderr
assert (good.returncode, bad.returncode) == (0, 3)
