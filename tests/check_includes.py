#!/usr/bin/env python3
"""Fails when an #include breaks the architecture.

  1. Folders: costmodel <- planner <- executor <- tools (A <- B: B may include A, never back).
     tests/ may include all of them, and nothing includes tests/ but tests/.
  2. A project header is included by its path from the root, and exists.
  3. Headers of a device or a transport are seen only by their own backend, directly or through
     other headers. A test under tests/X/ may see what X/ may see.

  check_includes.py [ROOT]      checks the tree (default: the one that this file is in)
  check_includes.py --self-test checks that each rule can fail
"""

import pathlib
import re
import sys
import tempfile

LAYERS = ["costmodel", "planner", "executor", "tools"]  # each may include itself and those before
FOLDERS = LAYERS + ["tests"]
SUFFIXES = {".h", ".cc", ".cu", ".cuh"}

# (what it is, pattern of its headers, path prefixes that may see them)
GUARDED = [
    ("CUDA", r"(cuda|cublas|cudnn|curand|cub/|thrust/|nvToolsExt|nvtx|nvml|mma\.h)",
     ["executor/cuda/", "executor/comm/nccl_"]),
    ("NCCL", r"nccl\.h$", ["executor/comm/nccl_"]),
    ("MPI", r"mpi(-ext)?\.h$", ["executor/comm/mpi_"]),
    ("oneDNN", r"(dnnl|oneapi/dnnl)", ["executor/cpu/"]),
]

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.MULTILINE)


def read_includes(root):
    """{path: [(line, is_quoted, included)]} of all sources below the project's folders."""
    found = {}
    for folder in FOLDERS:
        for path in sorted((root / folder).rglob("*")):
            if path.suffix in SUFFIXES:
                text = path.read_text(encoding="utf-8")
                found[path.relative_to(root).as_posix()] = [
                    (text.count("\n", 0, m.start(2)) + 1, m.group(1) == '"', m.group(2))
                    for m in INCLUDE.finditer(text)]
    return found


def allowed_folders(path):
    own = path.split("/")[0]
    return FOLDERS if own == "tests" else LAYERS[: LAYERS.index(own) + 1]


def check_folders(includes):
    for path, lines in includes.items():
        for line, quoted, target in lines:
            folder = target.split("/")[0]
            if folder in FOLDERS and "/" in target:
                if folder not in allowed_folders(path):
                    yield f"{path}:{line}: {path.split('/')[0]}/ must not include {target}"
                elif target not in includes:
                    yield f"{path}:{line}: no such file: {target}"
            elif quoted and not guard_of(target):
                yield f"{path}:{line}: \"{target}\" is not a path from the root"


def guard_of(target):
    """The entry of GUARDED that a system header belongs to, or None."""
    if target.split("/")[0] in FOLDERS:
        return None
    return next((guard for guard in GUARDED if re.match(guard[1], target)), None)


def may_see(path, guard):
    path = path.removeprefix("tests/")
    return any(path.startswith(prefix) for prefix in guard[2])


def check_guarded(includes):
    for path in includes:
        for chain, guard in reachable_guards(includes, path):
            if not may_see(path, guard):
                yield f"{path}: must not see {guard[0]} headers, but does: {' -> '.join(chain)}"


def reachable_guards(includes, path):
    """One (chain of includes, guard) for each guarded family that `path` reaches."""
    seen, queue, families = {path}, [[path]], set()
    for chain in queue:
        for _, _, target in includes[chain[-1]]:
            guard = guard_of(target)
            if guard and guard[0] not in families:
                families.add(guard[0])
                yield chain + [target], guard
            elif target in includes and target not in seen:
                seen.add(target)
                queue.append(chain + [target])


def violations(root):
    includes = read_includes(root)
    return [*check_folders(includes), *check_guarded(includes)], len(includes)


# Each case: files of a small tree, and a part of the one expected message ("" = none expected).
SELF_TESTS = [
    ({"planner/a.cc": '#include "costmodel/b.h"', "costmodel/b.h": "#include <vector>"}, ""),
    ({"tests/planner/a_test.cc": '#include "tools/b.h"', "tools/b.h": ""}, ""),
    ({"costmodel/a.cc": '\n#include "planner/b.h"', "planner/b.h": ""},
     "costmodel/a.cc:2: costmodel/ must not include planner/b.h"),
    ({"executor/a.cc": '# include <tools/b.h>', "tools/b.h": ""}, "must not include tools/b.h"),
    ({"tools/a.cc": '#include "tests/b.h"', "tests/b.h": ""}, "must not include tests/b.h"),
    ({"tools/a.cc": '#include "planner/b.h"'}, "no such file: planner/b.h"),
    ({"tools/a.cc": '#include "b.h"', "tools/b.h": ""}, "is not a path from the root"),
    ({"executor/cuda/a.cu": "#include <cuda_runtime.h>", "executor/cpu/b.cc": "#include <dnnl.hpp>",
      "executor/comm/mpi_c.cc": "#include <mpi.h>", "executor/comm/nccl_d.cc": "#include <nccl.h>",
      "tests/executor/comm/mpi_c_test.cc": "#include <mpi.h>"}, ""),
    ({"executor/model/a.cc": "#include <cublas_v2.h>"}, "must not see CUDA headers"),
    ({"executor/cuda/a.cc": "#include <nccl.h>"}, "must not see NCCL headers"),
    ({"tests/executor/model/a.cc": '#include "mpi.h"'}, "must not see MPI headers"),
    ({"tools/a.cc": '#include "executor/cpu/b.h"', "executor/cpu/b.h": "#include <dnnl.hpp>"},
     "tools/a.cc -> executor/cpu/b.h -> dnnl.hpp"),
]


def self_test():
    for files, expected in SELF_TESTS:
        with tempfile.TemporaryDirectory() as folder:
            for name, text in files.items():
                path = pathlib.Path(folder, name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
            found, _ = violations(pathlib.Path(folder))
        if expected:
            assert len(found) == 1 and expected in found[0], (files, expected, found)
        else:
            assert not found, (files, found)
    print(f"check_includes: {len(SELF_TESTS)} self-tests passed")


def main(arguments):
    if arguments == ["--self-test"]:
        self_test()
        return 0
    root = pathlib.Path(arguments[0] if arguments else pathlib.Path(__file__).parent.parent)
    found, files = violations(root)
    for violation in found:
        print(violation)
    print(f"check_includes: {files} files, {len(found)} violations")
    return 1 if found or not files else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
