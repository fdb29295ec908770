#!/usr/bin/env python3
"""The command as a user meets it: every bad input is one line on stderr, the right exit code, and
leaves nothing behind; the good path works from a machine file to a comparison.

  cli_test.py --command build/release/shardwright --source DIR
"""
import argparse
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

FAILURES = []
PASSED = 0


def check(condition, what):
    global PASSED
    if condition:
        PASSED += 1
    else:
        FAILURES.append(what)
        print("FAILED:", what)


class Cli:
    def __init__(self, command, source, folder):
        self.command, self.source, self.folder = command, source, folder
        self.env = dict(os.environ, SHARDWRIGHT_PROFILES=os.path.join(source, "profiles"),
                        SHARDWRIGHT_MACHINE=os.path.join(folder, "none", "machine.json"))

    def run(self, *arguments, timeout=120, **more_env):
        return subprocess.run([self.command, *arguments], cwd=self.folder, timeout=timeout,
                              env=dict(self.env, **more_env), capture_output=True, text=True)

    def refuses(self, *arguments, says=(), code=2, **more_env):
        before = sorted(os.listdir(self.folder))
        done = self.run(*arguments, **more_env)
        label = " ".join(arguments)
        check(done.returncode == code, f"{label}: exit {done.returncode}, not {code}: {done.stderr}")
        lines = done.stderr.strip().splitlines()
        check(len(lines) == 1, f"{label}: {len(lines)} lines on stderr: {done.stderr[:300]}")
        check(done.stdout == "", f"{label}: writes to stdout: {done.stdout[:200]}")
        for word in [says] if isinstance(says, str) else says:
            check(word in done.stderr, f"{label}: no '{word}' in: {done.stderr.strip()}")
        check(sorted(os.listdir(self.folder)) == before, f"{label}: leaves files behind")

    def path(self, name, text=None):
        path = os.path.join(self.folder, name)
        if text is not None:
            with open(path, "w", encoding="utf-8") as out:
                out.write(text)
        return path


def bad_models(cli):
    cli.refuses("models", "show", "no-such-model", says="no-such-model")
    for name, text, says in [
            ("empty.json", "", "empty.json"),
            ("cut.json", '{"model_type": "llama", "hidden_size": 40', "cut.json"),
            ("deep.json", "[" * 100000, "deep.json"),
            ("list.json", "[]", "list.json"),
            ("twice.json", '{"model_type": "gpt2", "model_type": "llama"}', "model_type"),
            ("huge.json", '{"model_type": "gpt2", "n_embd": 1e999}', "huge.json"),
            ("type.json", '{"model_type": "gpt9"}', ["gpt9", "llama"]),
            ("word.json", '{"model_type": "gpt2", "n_embd": "768", "n_layer": 1, "n_head": 1}', "n_embd"),
            ("heads.json", json.dumps({"model_type": "gpt2", "n_embd": 100, "n_layer": 2, "n_head": 3,
                                       "n_positions": 64, "vocab_size": 256}), "n_head")]:
        cli.path(name, text)
        cli.refuses("models", "show", name, says=says)
        cli.refuses("plan", "--model", name, "--cluster", "h100-sxm-80gb:8", "--seq", "64",
                    "--global-batch", "8", says=name)


def bad_plan_requests(cli):
    base = ["plan", "--model", "tiny-gpt", "--cluster", "h100-sxm-80gb:8", "--precision", "bf16"]
    batch = ["--seq", "128", "--global-batch", "16"]
    cli.refuses("plan", "--model", "tiny-gpt", *batch, says="profile")  # this machine: not measured
    cli.refuses(*base, "--global-batch", "16", says="seq")
    cli.refuses(*base, "--seq", "0", "--global-batch", "16", says="seq")
    cli.refuses(*base, "--seq", "-5", "--global-batch", "16", says="seq")
    cli.refuses(*base, "--seq", "99999999999999999999", "--global-batch", "16", says="seq")
    cli.refuses(*base, *batch, "--pin", "tp=", says="tp")
    cli.refuses(*base, *batch, "--pin", "colour=2", says="colour")
    cli.refuses(*base, *batch, "--pin", "schedule=zigzag", says="zigzag")
    cli.refuses(*base[:-2], *batch, "--precision", "fp7", says="fp7")
    cli.refuses(*base, *batch, "--precision", "fp32", says="--precision")  # given twice
    cli.refuses(*base, *batch, "-o", "no/such/folder/plan.json", says="no/such/folder")
    cli.refuses(*base, *batch, "--frobnicate", says="frobnicate")
    for cluster in ["h100", "h100-sxm-80gb:", "h100-sxm-80gb:0", "h100-sxm-80gb:8x", "nosuch:8",
                    "h100-sxm-80gb:99999999999x9999999999", "missing.json"]:
        cli.refuses("plan", "--model", "tiny-gpt", "--cluster", cluster, *batch)
    for option, value in [("--for", "nosuch"), ("--memory-limit", "-1"), ("--memory-limit", "0"),
                          ("--memory-limit", "nan"), ("--memory-limit", "1e30"), ("--headroom", "nan"),
                          ("--headroom", "1"), ("--headroom", "-0.1"), ("--max-devices", "0"),
                          ("--max-devices", "-3"), ("--max-watts", "0"), ("--max-watts", "nan"),
                          ("--max-cost-per-mtoken", "0")]:
        cli.refuses(*base, *batch, option, value, says=value[:2] if option == "--for" else option[2:])
    own = [*base[:-2], *batch, "--precision", "fp32", "--stack", "shardwright"]
    cli.refuses(*own, "--for", "megatron", says="for")
    cli.refuses(*own, "--memory-limit", "8", says="memory-limit")
    cli.refuses(*base, *batch, "--pin", "schedule=synthesised", code=3,
                says="not synthesised")
    # Nothing fits: exit 3, what is short and what would do.
    done = cli.run("plan", "--model", "llama-3.1-405b", "--cluster", "h100-sxm-80gb:8", "--seq", "4096",
                   "--global-batch", "8", "--precision", "bf16")
    check(done.returncode == 3, f"405B on 8 GPUs: exit {done.returncode}: {done.stderr}")
    check("would fit" in done.stderr, f"405B on 8 GPUs: {done.stderr}{done.stdout}")


def calibration(cli):
    """A user's runs become a stack that validate takes; what --cross prints after a few of them."""
    records = os.path.join(cli.source, "tests", "tools", "records", "mixed.jsonl")
    with open(records, encoding="utf-8") as rows:
        cli.path("mine.jsonl", rows.readline())
    done = cli.run("calibrate", "--runs", "mine.jsonl", "-o", "stack.json")
    check(done.returncode == 0, f"calibrate --runs: {done.stderr}")
    errors = []
    for stack in [[], ["--stack", "stack.json"]]:
        done = cli.run("validate", "mine.jsonl", "--json", *stack)
        check(done.returncode == 0, f"validate {stack}: {done.stderr}")
        errors.append(abs(json.loads(done.stdout)["records"][0]["error_pct"]))
    check(errors[1] < errors[0], f"a run's own stack is nearer to it: {errors}")
    done = cli.run("plan", "--model", "llama-3.1-8b", "--cluster", "a100-sxm-80gb:8x2", "--precision", "bf16",
                   "--seq", "4096", "--global-batch", "64", "--stack", "stack.json")
    check(done.returncode == 0, f"plan --stack stack.json: {done.stderr}")
    done = cli.run("validate", "--cross", "--runs-given", "0,1", records)
    check(done.returncode == 0, f"--runs-given: {done.stderr}")
    for words in ["| rows | in the fit | left out | after 1 |", "| Sample runs | 2 |",
                  "| 80 % of measured / predicted | left out | after 1 |"]:
        check(words in done.stdout, f"--runs-given: no '{words}' in {done.stdout}")
    done = cli.run("validate", "--ablations", records)
    check(done.returncode == 0 and "| attention |" in done.stdout, f"--ablations: {done.stderr}{done.stdout}")
    cli.refuses("validate", "--ablations", "--json", records, says="--json")
    cli.refuses("validate", "--runs-given", "1", records, says=["--runs-given", "--cross"])
    cli.refuses("validate", "--cross", "--runs-given", "1,x", records, says="runs-given")
    cli.refuses("validate", "--cross", "--runs-given", "99", records, says="runs-given")
    cli.refuses("validate", "--cross", "--runs-given", "1", "none.jsonl", says="none.jsonl")


def good_questions(cli):
    """Every question answers, as a table of at most 100 columns and as JSON that says the same."""
    work = ["plan", "--model", "tiny-llama", "--precision", "bf16", "--global-batch", "8"]
    one = [*work, "--cluster", "h100-sxm-80gb:2x2", "--ban", "schedule=zb-v|v-half", "--max", "virtual_stages=1"]
    seq = ["--seq", "128"]

    def ask(*arguments):
        table, answer = cli.run(*arguments), cli.run(*arguments, "--json")
        label = " ".join(arguments)
        check(table.returncode == 0 and answer.returncode == 0, f"{label}: {table.stderr}{answer.stderr}")
        wide = [line for line in table.stdout.splitlines() if len(line) > 100]
        check(not wide, f"{label}: wider than 100 columns: {wide[:1]}")
        return table.stdout, json.loads(answer.stdout or "{}")

    text, answer = ask(*one, *seq, "--max-micro-batch", "--pin", "dp=2")
    check(answer["same_choices"]["micro_batch"] == 4, f"half of the batch fits: {text}")
    text, answer = ask(*one, "--max-seq", "--seq-multiple", "4096", "--memory-limit", "3")
    check(answer["seq"] % 4096 == 0 and answer["seq"] > 0, f"longest sequence: {text}")
    done = cli.run(*one, "--seq", str(answer["seq"]), "--memory-limit", "3")
    check(done.returncode == 0, f"the longest sequence fits: {done.stderr}")
    cli.refuses(*one, "--seq", str(answer["seq"] + 4096), "--memory-limit", "3", code=3, says="nothing fits")
    text, answer = ask(*one, *seq, "--objective", "tokens-per-device")
    each = [p["tokens_per_s_per_device"] for p in answer["plans"]]
    check(each == sorted(each, reverse=True) and len(each) > 1, f"best first: {each}")
    text, answer = ask(*one, *seq, "--objective", "cost", "--price-per-device-hour", "2")
    best = answer["plans"][0]
    mtokens_per_hour = best["tokens_per_s"] * 3600 / 1e6
    check(abs(best["usd_per_mtoken"] * mtokens_per_hour / (2 * best["devices"]) - 1) < 1e-9,
          f"USD per million tokens: {best}")
    check(answer["rates"]["watts_per_device"] == 700, "the data sheet's watts")
    text, answer = ask(*one, *seq, "--objective", "step", "--max-devices", "4")
    need = answer["plans"][0]["tokens_per_s"] * 0.99  # just below the most that there is
    text, answer = ask(*one, *seq, "--min-devices", "--deadline", f"{need * 86400:.0f}@1")
    check(answer["plans"][0]["tokens_per_s"] >= need * 0.999, f"keeps the deadline: {text}")
    cli.refuses(*one, *seq, "--min-devices", "--deadline", "1e15@1", code=3, says=["fastest", "days"])
    text, answer = ask(*one, *seq, "--pareto", "step,devices")
    steps = [p["step_time_s"] for p in answer["plans"]]
    check(steps == sorted(steps), f"front by its first measure: {steps}")
    text, answer = ask(*one, *seq, "--pareto", "memory,energy", "--memory-step", "0.01", "--ranks", "2")
    check(answer["plans"], f"front over memory: {text}")
    two = "h100-sxm-80gb:2x2,a100-sxm-80gb:4"
    text, answer = ask(*work, *seq, "--compare-clusters", two, "--price-per-device-hour", "3,1.5")
    check([c["rates"]["usd_per_device_hour"] for c in answer["clusters"]] == [3, 1.5], "a price each")
    check(all("best" in c for c in answer["clusters"]), f"a plan each: {text}")
    done = cli.run(*one, *seq, "--objective", "devices", "--max-devices", "1", "-o", "one.json")
    check(done.returncode == 0 and cli.run("simulate", "one.json").returncode in (0, 2), "a plan file")
    check(json.load(open(cli.path("one.json")))["inputs"]["cluster"]["source"] == "h100-sxm-80gb:2x2", "written")
    # Nothing fits under a stack: the nearest plan, what it lacks where, and what would do.
    short = cli.run("plan", "--model", "llama-3.1-70b", "--cluster", "h100-sxm-80gb:1", "--precision", "bf16",
                    "--seq", "2048", "--global-batch", "4", "--json")
    check(short.returncode == 3, f"70B on one: {short.returncode}")
    nearest = json.loads(short.stdout)["nearest"]
    check(nearest["missing_bytes"] > 0 and nearest["stage"] == 0, "what is short, where")
    check(abs(nearest["needed_bytes"] - nearest["usable_bytes"] - nearest["missing_bytes"]) < 2, "by how much")
    check(nearest["devices_that_fit"] > 1, "what would do")


def bad_questions(cli):
    base = ["plan", "--model", "tiny-llama", "--precision", "bf16", "--global-batch", "8"]
    one = [*base, "--cluster", "h100-sxm-80gb:2", "--seq", "128"]
    cli.refuses(*base, "--cluster", "h100-sxm-80gb:2", "--max-micro-batch", says="seq")
    cli.refuses(*one, "--max-seq", "--seq-multiple", "0", says="seq-multiple")
    cli.refuses(*one, "--max-seq", "--max-micro-batch", says="one question")
    cli.refuses(*one, "--max-seq", "--objective", "devices", says="max-seq")
    for deadline in ["1e12", "@3", "1e12@", "x@3", "1e12@0", "-1@3", "1e12@3@4", "nan@1", "inf@1"]:
        cli.refuses(*one, "--min-devices", f"--deadline={deadline}", says=["deadline", "TOKENS@DAYS"])
    cli.refuses(*one, "--objective", "joy", says=["joy", "tokens-per-device"])
    cli.refuses(*one, "--objective", "cost", says="price-per-device-hour")
    cli.refuses(*one, "--objective", "cost", "--price-per-device-hour", "-2", says="price")
    cli.refuses(*one, "--objective", "cost", "--price-per-device-hour", "2,3", says="one number")
    cli.refuses(*one, "--min-devices", "--objective", "cost", says="min-devices")
    cli.refuses(*one[:-4], "--cluster", "h800-sxm-80gb:2", "--seq", "128", "--objective", "energy",
                says="watts-per-device")
    cli.refuses(*one, "--max-watts", "-5", says="max-watts")
    cli.refuses(*one, "--max-watts", "10", code=3, says="nothing fits")
    cli.refuses(*one, "--objective", "tokens-per-device", "--seq", "0", says="seq")
    for pair in ["step", "step,step", "step,joy", "step,memory,cost", ","]:
        cli.refuses(*one, "--pareto", pair, says=["pareto", "two of"])
    cli.refuses(*one, "--pareto", "step,memory", "-o", "x.json", says="output")
    cli.refuses(*one, "--pareto", "step,memory", "--memory-step", "-1", says="memory-step")
    cli.refuses(*one, "--pareto", "memory,devices", "--deadline", "1e8@1", says="pareto")
    seq = ["--seq", "128"]
    cli.refuses(*base, *seq, "--compare-clusters", "h100-sxm-80gb:2", says="two or more")
    cli.refuses(*base, *seq, "--compare-clusters", "h100-sxm-80gb:2,nosuch:8", says="nosuch")
    cli.refuses(*one, "--compare-clusters", "h100-sxm-80gb:2,h100-sxm-80gb:4", says="--cluster")
    cli.refuses(*one, "--max-seq", "--stack", "shardwright", says="stack")
    cli.refuses(*one, "--min-devices", "--deadline", "1e8@1", "-o", "no/such/plan.json", says="no/such")


def make_machine(cli, cores):
    """A small machine file in the form that `profile` writes, for this machine's device name."""
    done = cli.run("profile", "--quick", "-o", cli.path("machine.json"))
    check(done.returncode == 0, f"profile --quick: {done.stderr}")
    machine = json.load(open(cli.path("machine.json"), encoding="utf-8"))
    machine["groups"][0]["devices_per_node"] = cores
    machine["levels"][-1]["size"] = cores
    cli.path("machine.json", json.dumps(machine))


def good_path(cli):
    text = cli.path("text.txt", "It was the best of times, it was the worst of times. " * 2000)
    plan = ["plan", "--model", "tiny-gpt", "--cluster", "machine.json", "--seq", "64",
            "--global-batch", "8"]
    done = cli.run(*plan, "--json", "-o", "plan.json")
    check(done.returncode == 0, f"plan: {done.stderr}")
    answer = json.loads(done.stdout)
    times = [p["step_time_s"] for p in answer["plans"]]
    check(times == sorted(times) and times, "plans are best first")
    for key in ["dp", "tp", "pp", "micro_batch", "schedule", "recompute", "step_time_s", "tokens_per_s",
                "memory_peak_bytes"]:
        check(key in answer["plans"][0], f"plans[0] has {key}")
    for key in ["candidates", "pruned_rules", "pruned_memory", "simulated", "seconds"]:
        check(key in answer["search"], f"search has {key}")
    first = open(cli.path("plan.json"), encoding="utf-8").read()
    cli.run(*plan, "-o", "plan.json")
    check(first == open(cli.path("plan.json"), encoding="utf-8").read(), "same inputs, same bytes")
    done = cli.run("simulate", "plan.json", "--trace", "trace.json")
    check(done.returncode == 0, f"simulate: {done.stderr}")
    check(len(json.load(open(cli.path("trace.json")))["traceEvents"]) > 10, "trace has events")
    for ranks_as in ["threads", "processes"]:
        out = "run-" + ranks_as
        done = cli.run("run", "plan.json", "--data", text, "--steps", "4", "--out", out, "--json",
                       "--ranks-as", ranks_as, "--any-machine")
        check(done.returncode == 0, f"run as {ranks_as}: {done.stderr}")
        done = cli.run("compare", out, "--json")
        check(done.returncode == 0, f"compare {out}: {done.stderr}")
        result = json.loads(done.stdout)
        check(result["step_time"]["measured_s"] > 0, "measured time")
        check(abs(result["memory_peak"]["error_pct"]) < 1, "memory peak as predicted")
        check(result["by_instruction"] and result["by_step"], "tables")
    losses = [[json.loads(row)["loss"] for row in open(cli.path(f"run-{r}/metrics.jsonl"))]
              for r in ["threads", "processes"]]
    check(losses[0] == losses[1], f"threads and processes train alike: {losses}")


def on_terminal(cli, *arguments, **more_env):
    """What a terminal is written, which `run` is not."""
    ours, its = pty.openpty()
    env = dict(cli.env, TERM="xterm", **more_env)
    if "NO_COLOR" not in more_env:
        env.pop("NO_COLOR", None)
    process = subprocess.Popen([cli.command, *arguments], cwd=cli.folder, env=env, stdout=its)
    os.close(its)
    written = b""
    try:
        while part := os.read(ours, 65536):
            written += part
    except OSError:  # how Linux says that the other end is closed
        pass
    os.close(ours)
    check(process.wait(timeout=120) == 0, f"{arguments} on a terminal")
    return written.decode().replace("\r\n", "\n")


def colours(cli):
    plan = ["plan", "--model", "tiny-gpt", "--cluster", "h100-sxm-80gb:8", "--precision", "bf16",
            "--seq", "64", "--global-batch", "8"]
    timeless = lambda text: re.sub(r"simulated; .*", "", text)
    plain = cli.run(*plan).stdout
    check("\x1b" not in plain and plain, "no colours in a pipe")
    coloured = on_terminal(cli, *plan)
    check("\x1b[1m" in coloured, "colours on a terminal")
    check(timeless(re.sub("\x1b\\[[0-9]*m", "", coloured)) == timeless(plain),
          "the same text in colours")
    check("\x1b" not in on_terminal(cli, *plan, NO_COLOR="1"), "NO_COLOR is heard")


def bad_runs(cli):
    text = cli.path("text.txt")
    run = ["run", "plan.json", "--data", text, "--steps", "2", "--any-machine"]
    cli.refuses(*run, "--out", "run-threads", says="run-threads")  # holds a run already
    cli.refuses(*run, "--out", "/proc/no/run", says="/proc/no/run")
    cli.refuses("run", "plan.json", "--data", "no-text", "--steps", "2", "--out", "x",
                "--any-machine", says="no-text")
    cli.path("short.txt", "too short")
    cli.refuses("run", "plan.json", "--data", "short.txt", "--steps", "2", "--out", "x",
                "--any-machine", says=["short.txt", "9 bytes"])
    # Switches that would change nothing: of GPUs on a CPU, of bf16 in fp32.
    for switch in "--fused-gelu", "--cuda-graph":
        cli.refuses(*run, "--out", "x", switch, says=[switch, "--device cuda"])
    cli.refuses(*run, "--out", "x", "--device", "cuda", "--fused-gelu", says=["--fused-gelu", "bf16"])
    cli.refuses("compare", "no-run", says="no-run")
    cli.refuses("simulate", "no-plan.json", says="no-plan.json")
    plan = json.load(open(cli.path("plan.json"), encoding="utf-8"))
    for key, value in [("tp", 3), ("dp", 0), ("pp", -1), ("micro_batch", 7), ("schedule", "zigzag"),
                       ("seq", 10 ** 30), ("colour", "red"), ("stage_layers", [1])]:
        edited = json.loads(json.dumps(plan))
        target = edited if key in edited or key == "colour" else edited.get("choices", edited)
        target[key] = value
        cli.path("edited.json", json.dumps(edited))
        cli.refuses("simulate", "edited.json", says="edited.json")
        cli.refuses("run", "edited.json", "--data", text, "--steps", "1", "--out", "x", says="edited.json")
    cli.path("truncated.json", json.dumps(plan)[:200])
    cli.refuses("simulate", "truncated.json", says="truncated.json")
    # The inputs of a plan have changed since.
    machine = json.load(open(cli.path("machine.json"), encoding="utf-8"))
    machine["groups"][0]["nodes"] = 2
    machine["levels"][-1]["size"] *= 2
    original = open(cli.path("machine.json"), encoding="utf-8").read()
    cli.path("machine.json", json.dumps(machine))
    cli.refuses("simulate", "plan.json", says="machine.json")
    cli.path("machine.json", original)
    # A plan for another machine, and for more ranks than there are cores.
    done = cli.run("plan", "--model", "tiny-gpt", "--cluster", "h100-sxm-80gb:8", "--seq", "64",
                   "--global-batch", "8", "--precision", "fp32", "--stack", "shardwright", "-o", "gpu.json")
    check(done.returncode == 0, f"plan for h100: {done.stderr}")
    cli.refuses("run", "gpu.json", "--data", text, "--steps", "1", "--out", "x",
                says=["gpu.json", "h100-sxm-80gb"])
    done = cli.run("run", "plan.json", "--data", text, "--steps", "2", "--out", "launched",
                   "--any-machine", OMPI_COMM_WORLD_SIZE="")
    check(done.returncode == 0, f"empty launch variable is no launch: {done.stderr}")


def a_rank_that_dies(cli):
    """A killed rank ends the whole run with a code that is not 0, and soon."""
    out = cli.path("killed")
    run = subprocess.Popen([cli.command, "run", "plan.json", "--data", "text.txt", "--steps", "1000000",
                            "--out", out, "--ranks-as", "processes", "--any-machine"],
                           cwd=cli.folder, env=cli.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                           text=True)
    metrics, deadline = os.path.join(out, "metrics.jsonl"), time.time() + 60
    while time.time() < deadline and not (os.path.exists(metrics) and os.path.getsize(metrics)):
        time.sleep(0.1)
    ranks = subprocess.run(["pgrep", "-f", "--", f"--out {out}"], capture_output=True, text=True).stdout.split()
    ranks = [int(pid) for pid in ranks if int(pid) != run.pid and
             os.path.basename(os.readlink(f"/proc/{pid}/exe")) == "shardwright"]
    check(len(ranks) == 2, f"two ranks run as processes: {ranks}")
    if ranks:
        os.kill(ranks[-1], signal.SIGKILL)
    try:
        _, stderr = run.communicate(timeout=60)
        check(run.returncode not in (0, None), f"killed rank: exit {run.returncode}: {stderr[:200]}")
    except subprocess.TimeoutExpired:
        run.kill()
        check(False, "killed rank: the run hangs")
    check(not os.path.exists(os.path.join(out, "run.json")), "killed rank: half a result is written")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--command", required=True)
    parser.add_argument("--source", required=True)
    args = parser.parse_args()
    folder = tempfile.mkdtemp(prefix="shardwright_cli_")
    cli = Cli(os.path.abspath(args.command), os.path.abspath(args.source), folder)
    try:
        bad_models(cli)
        bad_plan_requests(cli)
        calibration(cli)
        colours(cli)
        good_questions(cli)
        bad_questions(cli)
        make_machine(cli, cores=2)
        good_path(cli)
        bad_runs(cli)
        a_rank_that_dies(cli)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"{PASSED} checks passed, {len(FAILURES)} failed")
    sys.exit(1 if FAILURES else 0)


if __name__ == "__main__":
    main()
