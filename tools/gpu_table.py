"""The README's table of GPU results, made from profiles/measured/gpu_check-*.json and nothing else.

  gpu_table.py            prints the table
  gpu_table.py --write    puts it between its markers in README.md
  gpu_table.py --check    fails when README.md has another one
"""

import json
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- gpu table: tools/gpu_table.py --write -->", "<!-- end of gpu table -->"
COLUMNS = ("GPU, date", "model", "tokens/s", "MFU", "against PyTorch", "step: predicted", "measured", "peak: predicted",
           "measured")


def percent(predicted, measured):
    return f"{predicted:.3g} s ({100 * (predicted / measured - 1):+.1f} %)"


def gib(count):
    return f"{count / 2**30:.2f} GiB"


def rows_of(path):
    result = json.loads(path.read_text())
    speed = result["stages"].get("speed", {}).get("found", {})
    where = f"{path.stem.removeprefix('gpu_check-')}"
    for model, row in speed.items():
        if "failed" in row:
            yield (where, model, "failed") + ("",) * (len(COLUMNS) - 3)
            continue
        mfu = f"{row['mfu_pct']:.1f} %" if row["mfu_pct"] else "peak unknown"
        times = f"{row['times_torch']:.2f} times" if "times_torch" in row else "not measured"
        yield (where, model, str(row["tokens_per_s"]), mfu, times, percent(row["predicted_step_s"], row["step_s"]),
               f"{row['step_s']:.3g} s", gib(row["predicted_peak_bytes"]), gib(row["peak_bytes"]))


def table():
    rows = [row for path in sorted((ROOT / "profiles" / "measured").glob("gpu_check-*.json")) for row in rows_of(path)]
    if not rows:
        return "Not measured yet: no GPU was at hand since the backend was written."
    lines = [COLUMNS, ("---",) * len(COLUMNS), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main():
    if sys.argv[1:] not in ([], ["--write"], ["--check"]):
        sys.exit(__doc__)
    readme = ROOT / "README.md"
    text = readme.read_text()
    head, rest = text.split(BEGIN)
    _, tail = rest.split(END)
    fresh = f"{head}{BEGIN}\n{table()}\n{END}{tail}"
    if sys.argv[1:] == ["--write"]:
        readme.write_text(fresh)
    elif sys.argv[1:] == ["--check"]:
        if fresh != text:
            sys.exit("gpu_table: README.md does not show what profiles/measured says: run tools/gpu_table.py --write")
    else:
        print(table())


if __name__ == "__main__":
    main()
