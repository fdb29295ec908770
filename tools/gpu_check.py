"""The stages of tools/gpu_check.sh, which says what this is for. Every stage is a function that
returns what it found; a stage that raises has failed and the next one runs all the same."""

import argparse
import datetime
import json
import os
import pathlib
import platform
import random
import shutil
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "gpu"
WORK = ROOT / "runs" / "gpu_check"
COMMAND = BUILD / "shardwright"
STAGES = ["build", "kernels", "equal", "staged", "nccl", "sanitizer", "profile", "speed"]
# Dense bf16 FLOP/s of the vendors' sheets, by profile name; MFU is a share of these.
PEAK_BF16 = {"a100-sxm-80gb": 312e12, "h100-sxm-80gb": 989e12, "h200-sxm-141gb": 989e12,
             "b200-sxm": 2250e12, "b300-sxm": 2250e12, "gb200": 2500e12}


class Failed(Exception):
    pass


class Check:
    """What all stages share: the time that is left, and the results so far."""

    def __init__(self, args):
        self.args = args
        self.end = time.monotonic() + 60 * args.minutes
        self.results = {}
        self.env = dict(os.environ)
        self.prefix = []
        kit = pathlib.Path(args.kit) if args.kit else ROOT / "gpu-kit"
        if kit.is_dir():
            usr = kit.resolve() / "usr"
            libraries = usr / "lib" / "x86_64-linux-gnu"
            self.prefix = [f"-DCMAKE_PREFIX_PATH={usr}"]
            for name in ("LD_LIBRARY_PATH", "LIBRARY_PATH"):
                self.env[name] = f"{libraries}:{self.env.get(name, '')}"
            self.env["CPATH"] = f"{usr / 'include'}:{self.env.get('CPATH', '')}"
            self.env["PATH"] = f"{usr / 'bin'}:{self.env['PATH']}"
            self.env["OPAL_PREFIX"] = str(usr)

    def left(self):
        return max(5.0, self.end - time.monotonic())

    def run(self, *command, limit=None, env=None):
        """Output of a command. Raises Failed with its last lines."""
        command = [str(part) for part in command]
        seconds = min(limit or self.left(), self.left())
        try:
            done = subprocess.run(command, cwd=ROOT, env={**self.env, **(env or {})}, text=True,
                                  timeout=seconds, stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        except subprocess.TimeoutExpired as error:
            raise Failed(f"no end after {seconds:.0f} s: {' '.join(command)}") from error
        if done.returncode != 0:
            tail = "\n".join(done.stdout.splitlines()[-15:])
            raise Failed(f"exit {done.returncode}: {' '.join(command)}\n{tail}")
        return done.stdout

    def shardwright(self, *arguments, limit=None, env=None):
        return self.run(COMMAND, *arguments, limit=limit, env=env)


# --- models and runs ---

def gpt2(layers, hidden, heads, positions=1024, vocab=50304):
    # 50304: GPT-2's 50257 rounded up to a multiple of 128, as trainers do.
    return {"model_type": "gpt2", "n_embd": hidden, "n_layer": layers, "n_head": heads,
            "n_positions": positions, "vocab_size": vocab, "activation_function": "gelu_new",
            "layer_norm_epsilon": 1e-5, "tie_word_embeddings": True}


def llama(layers, hidden, heads, kv_heads, ffn, positions, vocab):
    return {"model_type": "llama", "hidden_size": hidden, "num_hidden_layers": layers,
            "num_attention_heads": heads, "num_key_value_heads": kv_heads,
            "intermediate_size": ffn, "vocab_size": vocab, "max_position_embeddings": positions,
            "rms_norm_eps": 1e-5, "rope_theta": 500000.0, "hidden_act": "silu",
            "tie_word_embeddings": True}


# name: config, T, sequences of a microbatch, microbatches of a step
SPEED = {
    "gpt2-124m": (gpt2(12, 768, 12), 1024, 32, 4),
    "gpt2-350m": (gpt2(24, 1024, 16), 1024, 16, 4),
    "gpt2-774m": (gpt2(36, 1280, 20), 1024, 16, 4),
    "gpt2-1558m": (gpt2(48, 1600, 25), 1024, 8, 4),
    "llama-1b": (llama(16, 2048, 32, 8, 8192, 4096, 128256), 4096, 4, 4),
}
# GPT-2's own odd vocabulary: GPUs pad it, CPU ranks do not.
EQUAL = {
    "gpt2-124m": (gpt2(12, 768, 12, vocab=50257), 64, 2, 1),
    "small-llama": (llama(4, 512, 8, 4, 1408, 512, 4096), 256, 2, 2),
}


def write_model(name, config):
    folder = WORK / "models" / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config, indent=1))
    return folder / "config.json"


def text_file():
    """Bytes to train on: a fixed pseudo-random text of words, so that there is something to learn."""
    path = WORK / "text.txt"
    if not path.exists():
        draw = random.Random(1)
        words = ["".join(draw.choices("etaoinshrdlu", k=draw.randint(2, 9))) for _ in range(500)]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(" ".join(draw.choices(words, weights=range(500, 0, -1), k=600000)))
    return path


def make_plan(check, name, config, seq, micro, microbatches, *, cluster, precision, ranks=1,
              pins=()):
    dp = dict(pin.split("=") for pin in pins).get("dp", "1")
    path = WORK / f"{name}.plan.json"
    check.shardwright("plan", "--model", write_model(name, config), "--cluster", cluster, "--seq", seq,
                      "--global-batch", micro * microbatches * int(dp), "--precision", precision,
                      "--ranks", ranks, "--stack", "shardwright", "--pin", f"micro_batch={micro}", "recompute=none", *pins,
                      "-o", path)
    return path


def train(check, plan, name, steps, *extra, limit=None, env=None, launcher=()):
    folder = WORK / f"{name}.run"
    shutil.rmtree(folder, ignore_errors=True)
    check.run(*launcher, COMMAND, "run", plan, "--data", text_file(), "--steps", steps, "--out", folder,
              "--any-machine", *extra, limit=limit, env=env)
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return folder, [json.loads(line)["loss"] for line in lines]


def worst(a, b):
    return max(abs(x - y) for x, y in zip(a, b, strict=True))


# --- stages ---

def build(check):
    # Nothing but the compute capability of the GPU that is here; "89" means 8.9.
    found = check.run("nvidia-smi", "--query-gpu=compute_cap", "--format=csv,noheader").splitlines()
    arch = found[0].strip().replace(".", "")
    arch = {"90": "90a", "100": "100a", "103": "103a"}.get(arch, arch)
    start = time.monotonic()
    mpi = "ON" if shutil.which("mpicxx", path=check.env["PATH"]) else "OFF"
    generator = ["-G", "Ninja"] if shutil.which("ninja") else []
    check.run("cmake", "-S", ".", "-B", BUILD, *generator, "-DCMAKE_BUILD_TYPE=Release",
              "-DSHARDWRIGHT_CUDA=ON", f"-DCMAKE_CUDA_ARCHITECTURES={arch}",
              "-DSHARDWRIGHT_BENCH=OFF", f"-DSHARDWRIGHT_MPI={mpi}", *check.prefix)
    check.run("cmake", "--build", BUILD, "-j", os.cpu_count() or 2, "--target", "shardwright",
              "executor_cuda_gpu_test")
    return {"arch": arch, "seconds": round(time.monotonic() - start, 1)}


def kernels(check):
    report = WORK / "kernels.json"
    report.parent.mkdir(parents=True, exist_ok=True)
    failure = ""
    try:
        check.run(BUILD / "tests/executor/cuda/executor_cuda_gpu_test", f"--gtest_output=json:{report}",
                  limit=180)
    except Failed as error:
        failure = str(error)
    if not report.exists():
        raise Failed(failure)
    suites = json.loads(report.read_text())
    failed = [f"{test['classname']}.{test['name']}" for suite in suites["testsuites"]
              for test in suite["testsuite"] if test.get("failures")]
    found = {"tests": suites["tests"], "failed": failed}
    if failed or failure:
        raise Failed(f"{len(failed)} of {suites['tests']}: {', '.join(failed[:20])}\n{failure}")
    return found


# Largest difference of a loss (nats per token) from the fp32 run on a CPU rank over 20 steps.
# bf16 keeps 8 bits: a relative error of 2^-9 in every stored value moves a loss near 10 by a few
# thousandths, and updates let the curves drift apart slowly. fp32 differs by summation order only.
TOLERANCE = {"bf16": 0.06, "fp32": 2e-3}


def equal(check):
    found = {}
    for name, (config, seq, micro, microbatches) in EQUAL.items():
        steps, settings = 20, ("--lr", "0.0003", "--warmup", "5")
        shape = (config, seq, micro, microbatches)
        plan = make_plan(check, f"{name}-cpu", *shape, cluster="h100-sxm-80gb:1", precision="fp32")
        _, cpu = train(check, plan, f"{name}-cpu", steps, *settings)
        found[name] = {"cpu_first": cpu[0], "cpu_last": cpu[-1]}
        ways = {"fp32": ("fp32",)}
        if "cuda" in check.args.run_on:
            ways["bf16"] = ("bf16",)
            if config["model_type"] == "gpt2":
                ways["bf16 fused"] = ("bf16", "--fused-gelu")
        for way, (precision, *extra) in ways.items():
            run_name = f"{name}-{way}".replace(" ", "-")
            plan = make_plan(check, run_name, *shape, cluster="h100-sxm-80gb:1", precision=precision)
            _, gpu = train(check, plan, run_name, steps, *settings, *check.args.run_on, *extra)
            found[name][way] = {"last": gpu[-1], "largest_difference": worst(gpu, cpu)}
    for name, curves in found.items():
        for way, curve in curves.items():
            if not isinstance(curve, dict):
                continue
            limit = TOLERANCE[way.split()[0]]
            if not curve["largest_difference"] <= limit:
                raise Failed(f"{name} {way}: losses differ by more than {limit}: {found}")
    return found


PLANS = {2: [("dp=2",), ("tp=2",), ("pp=2",)], 4: [("dp=2", "tp=2"), ("tp=2", "pp=2"), ("pp=4",)]}


def staged(check):
    """Every plan of 2 and 4 ranks on the one GPU gives one rank's losses, in fp32."""
    config, seq, micro, _ = EQUAL["small-llama"]
    found = {}
    for ranks, plans in PLANS.items():
        for pins in plans:
            dp = 2 if "dp=2" in pins else 1
            name = f"staged-{'-'.join(pins)}".replace("=", "")
            one = make_plan(check, name + "-one", config, seq, micro, 4 * dp,
                            cluster="h100-sxm-80gb:1", precision="fp32")
            many = make_plan(check, name, config, seq, micro, 4, cluster=f"h100-sxm-80gb:{ranks}",
                             precision="fp32", ranks=ranks, pins=pins)
            _, single = train(check, one, name + "-one", 5, *check.args.run_on)
            extra = ("--gpu-comm", "staged") if "cuda" in check.args.run_on else ()
            _, losses = train(check, many, name, 5, *check.args.run_on, *extra)
            found[" ".join(pins)] = worst(losses, single)
    wrong = {pins: value for pins, value in found.items() if not value <= TOLERANCE["fp32"]}
    if wrong:
        raise Failed(f"losses differ from one rank's: {wrong}")
    return found


def nccl(check):
    """The NCCL path: alone on one GPU; two processes that share it where NCCL and MPI let them."""
    config, seq, micro, _ = EQUAL["small-llama"]
    one = make_plan(check, "nccl-one", config, seq, micro, 4, cluster="h100-sxm-80gb:1",
                    precision="bf16")
    _, single = train(check, one, "nccl-one", 5, *check.args.run_on, "--gpu-comm", "nccl")
    found = {"one_rank": "ok"}
    if not shutil.which("mpirun", path=check.env["PATH"]):
        return {**found, "two_ranks": "not run: no mpirun here"}
    two = make_plan(check, "nccl-two", config, seq, micro, 2, cluster="h100-sxm-80gb:2",
                    precision="bf16", ranks=2, pins=("dp=2",))
    launcher = ("mpirun", "--allow-run-as-root", "--oversubscribe", "-n", "2")
    try:
        _, losses = train(check, two, "nccl-two", 5, *check.args.run_on, "--gpu-comm", "nccl",
                          launcher=launcher, limit=90)
    except Failed as error:
        return {**found, "two_ranks": f"not run: NCCL would not share the GPU: {error}"}
    if not worst(losses, single) <= TOLERANCE["bf16"]:
        raise Failed(f"two ranks over NCCL: {losses}, one rank: {single}")
    return {**found, "two_ranks": worst(losses, single)}


def sanitizer(check):
    tool = shutil.which("compute-sanitizer")
    if tool is None:
        return "not run: no compute-sanitizer here"
    found = {}
    for kind in ("memcheck", "racecheck"):
        try:
            check.run(tool, "--tool", kind, "--error-exitcode", "9",
                      BUILD / "tests/executor/cuda/executor_cuda_gpu_test", "--gtest_filter=-*Gemm*",
                      limit=100)
            found[kind] = "ok"
        except Failed as error:
            text = str(error)
            if "exit 9" in text:
                raise
            found[kind] = f"not run: {text.splitlines()[-1]}"
    return found


def profile(check):
    path = WORK / "gpu.json"
    out = check.shardwright("profile", *check.args.run_on, "--max-seconds",
                            min(60, int(check.left() / 3)), "-o", path, "--json")
    return json.loads(out)


def speed(check):
    found = {}
    cluster = WORK / "gpu.json"
    if not cluster.exists():
        raise Failed("run the stage profile first")
    device = json.loads(cluster.read_text())["groups"][0]["device"]
    for name, (config, seq, micro, microbatches) in SPEED.items():
        try:
            found[name] = speed_of(check, name, device, cluster)
        except Failed as error:
            found[name] = {"failed": str(error)}
        print(f"  {name}: {found[name]}", flush=True)
    if any("failed" in row for row in found.values()):
        raise Failed(json.dumps(found))
    return found


def speed_of(check, name, device, cluster):
    config, seq, micro, microbatches = SPEED[name]
    plan = make_plan(check, f"speed-{name}", config, seq, micro, microbatches, cluster=cluster,
                     precision="bf16")
    folder, losses = train(check, plan, f"speed-{name}", 20, *check.args.run_on)
    report = json.loads(check.shardwright("compare", folder, "--json"))
    count = json.loads(check.shardwright("models", "show", write_model(name, config), "--json"))
    layers, hidden = (config.get("n_layer") or config["num_hidden_layers"],
                      config.get("n_embd") or config["hidden_size"])
    flops_per_token = 6 * count["parameters_total"] + 6 * layers * hidden * seq
    tokens = seq * micro * microbatches
    step_s = report["step_time"]["measured_s"]
    peak = PEAK_BF16.get(device)
    row = {"tokens_per_s": round(tokens / step_s), "step_s": step_s,
           "predicted_step_s": report["step_time"]["predicted_s"],
           "mfu_pct": round(100 * flops_per_token * tokens / step_s / peak, 2) if peak else None,
           "peak_bytes": report["memory_peak"]["measured_bytes"],
           "predicted_peak_bytes": report["memory_peak"]["predicted_bytes"],
           "loss_last": losses[-1]}
    row["torch"] = torch_beside(check, name, config, seq, micro, microbatches)
    if isinstance(row["torch"], dict):
        row["times_torch"] = round(row["tokens_per_s"] / row["torch"]["tokens_per_s"], 3)
    return row


def torch_beside(check, name, config, seq, micro, microbatches):
    try:
        out = check.run(sys.executable, "tools/torch_reference.py", write_model(name, config), "--seq",
                        seq, "--micro", micro, "--microbatches", microbatches, limit=120)
    except Failed as error:
        return f"not run: {str(error).splitlines()[-1]}"
    return json.loads(out.splitlines()[-1])


def machine(check):
    query = "name,driver_version,memory.total,clocks.max.sm,power.limit"
    try:
        gpu = check.run("nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader").strip()
        nvcc = check.run("nvcc", "--version").strip().splitlines()[-1]
        commit = check.run("git", "rev-parse", "HEAD").strip()
    except (Failed, FileNotFoundError) as error:
        return {"unknown": str(error)}
    return {"gpu": gpu.splitlines(), "nvcc": nvcc, "commit": commit, "python": platform.python_version()}


def main():
    parser = argparse.ArgumentParser(prog="gpu_check.sh")
    parser.add_argument("-o", "--output", default=str(WORK / "result.json"))
    parser.add_argument("--stages", default=",".join(STAGES))
    parser.add_argument("--minutes", type=float, default=8)
    parser.add_argument("--kit", default="")
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"],
                        help="cpu rehearses the stages equal and staged without a GPU")
    parser.add_argument("--command", default="", help="a shardwright command that is built already")
    args = parser.parse_args()
    args.run_on = ("--device", args.device)
    if args.command:
        global COMMAND
        COMMAND = pathlib.Path(args.command).resolve()
    chosen = args.stages.split(",")
    unknown = [name for name in chosen if name not in STAGES]
    if unknown:
        parser.error(f"stages: {unknown}, expected some of {STAGES}")
    check = Check(args)
    result = {"schema": "shardwright.gpu_check/1",
              "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
              "machine": machine(check),
              "mfu": "(6 N + 6 L h T) FLOP per token over the dense bf16 peak of the data sheet; N: "
                     "all parameters, L layers of width h, T tokens in a sequence",
              "stages": {}}
    failed = 0
    for name in STAGES:
        if name not in chosen:
            continue
        start = time.monotonic()
        entry = {"status": "ok"}
        try:
            entry["found"] = globals()[name](check)
        except (Failed, OSError, KeyError, ValueError) as error:
            entry = {"status": "failed", "why": str(error) or repr(error)}
            failed += 1
        entry["seconds"] = round(time.monotonic() - start, 1)
        result["stages"][name] = entry
        print(f"gpu_check: {name}: {entry['status']} ({entry['seconds']} s) {entry.get('why', '')}",
              flush=True)
    output = pathlib.Path(args.output)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(result, indent=1) + "\n")
    print(f"gpu_check: {failed} of {len(result['stages'])} stages failed; written to {output}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
