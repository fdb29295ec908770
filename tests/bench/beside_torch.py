#!/usr/bin/env python3
"""shardwright beside PyTorch: the same training step on one core, in turns, in one run.

  beside_torch.py --train-speed build/release/train_speed --torch ../shared/peers/torch_gpt2.py

PyTorch runs under /usr/bin/python3 (Debian's python3-torch), with the BLAS flavour that serves it best
(openblas with OpenMP, when installed). Prints the tokens/s of every turn, the medians and their ratio.
"""
import argparse
import glob
import json
import os
import statistics
import subprocess

LAYERS, HEADS, HIDDEN, VOCAB, SEQ, BATCH = 6, 6, 384, 4096, 256, 4  # profiles/models/small-gpt.json


def last_json_line(command, env):
    out = subprocess.run(command, env=env, check=True, capture_output=True, text=True).stdout
    return json.loads(out.strip().splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--train-speed", required=True)
    parser.add_argument("--torch", required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--core", type=int, default=0)
    args = parser.parse_args()
    pin = ["taskset", "-c", str(args.core)]
    ours = pin + [args.train_speed, "small-gpt", str(SEQ), str(BATCH), str(args.steps)]
    theirs = pin + ["/usr/bin/python3", args.torch, "--threads", "1", "--steps", str(args.steps),
                    "--L", str(LAYERS), "--H", str(HEADS), "--C", str(HIDDEN), "--V", str(VOCAB),
                    "--B", str(BATCH), "--T", str(SEQ)]
    flavour = glob.glob("/usr/lib/*/openblas-openmp")
    torch_env = dict(os.environ, OMP_NUM_THREADS="1")
    if flavour:
        torch_env["LD_LIBRARY_PATH"] = flavour[0]
    rates = {"shardwright": [], "pytorch": []}
    for turn in range(args.rounds):
        rates["shardwright"].append(last_json_line(ours, dict(os.environ))["tok_s"])
        rates["pytorch"].append(last_json_line(theirs, torch_env)["tok_s"])
        print(f"turn {turn}: shardwright {rates['shardwright'][-1]:.0f} tokens/s, "
              f"pytorch {rates['pytorch'][-1]:.0f} tokens/s", flush=True)
    medians = {name: statistics.median(values) for name, values in rates.items()}
    print(json.dumps({"shardwright_tok_s": medians["shardwright"], "pytorch_tok_s": medians["pytorch"],
                      "ratio": round(medians["shardwright"] / medians["pytorch"], 3),
                      "pytorch_blas": "openblas-openmp" if flavour else "default"}))


if __name__ == "__main__":
    main()
