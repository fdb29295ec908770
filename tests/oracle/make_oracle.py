#!/usr/bin/env python3
"""Writes the training runs that this project's one-rank run is judged by.

Two small models (GPT-2 and Llama shaped) are written here in plain PyTorch, trained for three steps
in float64 on the CPU, and written as JSON: losses, gradient norms, gradients and weights.
Initial weights and tokens come from formulas that executor/model/init.h and the C++ tests share.

  make_oracle.py --out FOLDER   writes gpt2.json and llama.json
  make_oracle.py --check        checks this file's own gradients, optimizer and generator
"""

import argparse
import functools
import json
import math
import pathlib

import numpy as np
import torch
import torch.nn.functional as F

SEED = 1234
BATCH, SEQ, VOCAB, STEPS = 4, 16, 96, 3
# Ten times the usual 0.02: attention is then far from uniform, gradients of queries and keys are
# as large as the others, and clipping acts. The usual start is written as losses and norms only.
INIT_STD, USUAL_INIT_STD = 0.2, 0.02
CLIP_NORM = 1.0
ADAMW = {"lr": 1e-3, "betas": [0.9, 0.95], "eps": 1e-8, "weight_decay": 0.1}
SGD = {"lr": 0.1}
SGD_LEADING_ELEMENTS = 8  # of each parameter that are written for SGD

GPT2 = {"model_type": "gpt2", "n_layer": 2, "n_embd": 16, "n_head": 4, "n_inner": 64,
        "n_positions": SEQ, "vocab_size": VOCAB, "activation_function": "gelu_new",
        "layer_norm_epsilon": 1e-5, "tie_word_embeddings": True}
LLAMA = {"model_type": "llama", "num_hidden_layers": 2, "hidden_size": 16,
         "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8,
         "intermediate_size": 40, "max_position_embeddings": SEQ, "vocab_size": VOCAB,
         "hidden_act": "silu", "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
         "tie_word_embeddings": False}


# --- the generator of initial weights, as executor/model/init.h defines it ---


def fnv1a64(name):
    value = 0xCBF29CE484222325
    for byte in name.encode():
        value = ((value ^ byte) * 0x100000001B3) % 2**64
    return value


def splitmix_finalize(x):
    """Elementwise on a uint64 array, whose products wrap around."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def init_normal(name, indices, seed):
    """Standard normal values in float32 of the elements `indices` of the parameter `name`."""
    key = splitmix_finalize(np.array([fnv1a64(name) ^ seed], dtype=np.uint64))
    index = np.asarray(indices, dtype=np.uint64)
    bits = splitmix_finalize(key + index * np.uint64(0x9E3779B97F4A7C15))
    u1 = ((bits >> np.uint64(32)).astype(np.float64) + 1.0) / 2.0**32
    u2 = (bits & np.uint64(0xFFFFFFFF)).astype(np.float64) / 2.0**32
    return (np.sqrt(-2.0 * np.log(u1)) * np.cos(2.0 * np.pi * u2)).astype(np.float32)


# --- parameters ---


def gpt2_shapes(c):
    h, f = c["n_embd"], c["n_inner"]
    shapes = {"embedding.tokens": (c["vocab_size"], h),
              "embedding.positions": (c["n_positions"], h)}
    for i in range(c["n_layer"]):
        p = f"layers.{i}."
        shapes[p + "norm1.weight"] = shapes[p + "norm1.bias"] = (h,)
        for part in ("q", "k", "v", "out"):
            shapes[p + f"attention.{part}.weight"] = (h, h)
            shapes[p + f"attention.{part}.bias"] = (h,)
        shapes[p + "norm2.weight"] = shapes[p + "norm2.bias"] = (h,)
        shapes[p + "mlp.up.weight"], shapes[p + "mlp.up.bias"] = (f, h), (f,)
        shapes[p + "mlp.down.weight"], shapes[p + "mlp.down.bias"] = (h, f), (h,)
    shapes["final_norm.weight"] = shapes["final_norm.bias"] = (h,)
    return shapes


def llama_shapes(c):
    h, f, d = c["hidden_size"], c["intermediate_size"], c["head_dim"]
    q, kv = c["num_attention_heads"] * d, c["num_key_value_heads"] * d
    shapes = {"embedding.tokens": (c["vocab_size"], h)}
    for i in range(c["num_hidden_layers"]):
        p = f"layers.{i}."
        shapes[p + "norm1.weight"] = (h,)
        shapes[p + "attention.q.weight"] = (q, h)
        shapes[p + "attention.k.weight"] = (kv, h)
        shapes[p + "attention.v.weight"] = (kv, h)
        shapes[p + "attention.out.weight"] = (h, q)
        shapes[p + "norm2.weight"] = (h,)
        shapes[p + "mlp.gate.weight"] = (f, h)
        shapes[p + "mlp.up.weight"] = (f, h)
        shapes[p + "mlp.down.weight"] = (h, f)
    shapes["final_norm.weight"] = (h,)
    shapes["head.weight"] = (c["vocab_size"], h)
    return shapes


def initial_value(name, shape, layers, init_std):
    """float32 values, held in float64."""
    if len(shape) == 1:
        return torch.full(shape, 1.0 if name.endswith("weight") else 0.0, dtype=torch.float64)
    residual = name.endswith(("attention.out.weight", "mlp.down.weight"))
    std = init_std / math.sqrt(2 * layers) if residual else init_std
    values = init_normal(name, np.arange(math.prod(shape)), SEED) * np.float32(std)
    return torch.from_numpy(values.astype(np.float64).reshape(shape))


def make_parameters(model, init_std=INIT_STD):
    config, shapes, _, layers = MODELS[model]
    return {name: initial_value(name, shape, layers, init_std).requires_grad_()
            for name, shape in shapes(config).items()}


# --- the models: parameters p, tokens [batch, seq] -> logits [batch, seq, vocab] ---


def causal_attention(q, k, v):
    """[batch, heads, seq, head_dim] each."""
    seq = q.shape[-2]
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    future = torch.ones(seq, seq, dtype=torch.bool).triu(1)
    return torch.softmax(scores.masked_fill(future, -math.inf), dim=-1) @ v


def split_heads(x, heads):
    batch, seq, width = x.shape
    return x.view(batch, seq, heads, width // heads).transpose(1, 2)


def join_heads(x):
    batch, heads, seq, dim = x.shape
    return x.transpose(1, 2).reshape(batch, seq, heads * dim)


def gpt2_logits(p, c, tokens):
    def norm(x, name):
        return F.layer_norm(x, x.shape[-1:], p[name + ".weight"], p[name + ".bias"],
                            c["layer_norm_epsilon"])

    def linear(x, name):
        return F.linear(x, p[name + ".weight"], p[name + ".bias"])

    x = p["embedding.tokens"][tokens] + p["embedding.positions"][: tokens.shape[1]]
    for i in range(c["n_layer"]):
        at = f"layers.{i}."
        n1 = norm(x, at + "norm1")
        q, k, v = (split_heads(linear(n1, at + "attention." + part), c["n_head"]) for part in "qkv")
        x = x + linear(join_heads(causal_attention(q, k, v)), at + "attention.out")
        up = linear(norm(x, at + "norm2"), at + "mlp.up")
        x = x + linear(F.gelu(up, approximate="tanh"), at + "mlp.down")
    return F.linear(norm(x, "final_norm"), p["embedding.tokens"])


def rotate(x, theta):
    """Rotary embedding in Hugging Face's order: element i turns with element i + head_dim / 2."""
    seq, dim = x.shape[-2:]
    frequency = theta ** (-torch.arange(0, dim, 2, dtype=x.dtype) / dim)
    angle = torch.arange(seq, dtype=x.dtype)[:, None] * frequency
    cos, sin = angle.cos(), angle.sin()
    low, high = x[..., : dim // 2], x[..., dim // 2 :]
    return torch.cat([low * cos - high * sin, high * cos + low * sin], dim=-1)


def llama_logits(p, c, tokens):
    heads, kv_heads = c["num_attention_heads"], c["num_key_value_heads"]

    def norm(x, name):
        mean_square = x.pow(2).mean(-1, keepdim=True)
        return x * torch.rsqrt(mean_square + c["rms_norm_eps"]) * p[name + ".weight"]

    def linear(x, name):
        return F.linear(x, p[name + ".weight"])

    x = p["embedding.tokens"][tokens]
    for i in range(c["num_hidden_layers"]):
        at = f"layers.{i}."
        n1 = norm(x, at + "norm1")
        q = rotate(split_heads(linear(n1, at + "attention.q"), heads), c["rope_theta"])
        k = rotate(split_heads(linear(n1, at + "attention.k"), kv_heads), c["rope_theta"])
        v = split_heads(linear(n1, at + "attention.v"), kv_heads)
        # Query head j reads key and value head j // (heads / kv_heads).
        k, v = (y.repeat_interleave(heads // kv_heads, dim=1) for y in (k, v))
        x = x + linear(join_heads(causal_attention(q, k, v)), at + "attention.out")
        n2 = norm(x, at + "norm2")
        gated = F.silu(linear(n2, at + "mlp.gate")) * linear(n2, at + "mlp.up")
        x = x + linear(gated, at + "mlp.down")
    return linear(norm(x, "final_norm"), "head")


MODELS = {"gpt2": (GPT2, gpt2_shapes, gpt2_logits, GPT2["n_layer"]),
          "llama": (LLAMA, llama_shapes, llama_logits, LLAMA["num_hidden_layers"])}


# --- training ---


def batch_of(step):
    """(tokens, targets), each [batch, seq]; step counts from 0."""
    s = np.arange(BATCH)[:, None]
    t = np.arange(SEQ + 1)[None, :]
    stream = (7 * step * step + 31 * s + 13 * t + 3 * t * t + step * t) % VOCAB
    stream = torch.from_numpy(stream.astype(np.int64))
    return stream[:, :-1], stream[:, 1:]


def loss_of(model, parameters, step):
    config, _, logits, _ = MODELS[model]
    tokens, targets = batch_of(step)
    return F.cross_entropy(logits(parameters, config, tokens).reshape(-1, VOCAB),
                           targets.reshape(-1))


def make_optimizer(kind, parameters):
    if kind == "sgd":
        return torch.optim.SGD(parameters.values(), lr=SGD["lr"])
    matrices = [p for p in parameters.values() if p.dim() == 2]
    vectors = [p for p in parameters.values() if p.dim() == 1]
    groups = [{"params": matrices, "weight_decay": ADAMW["weight_decay"]},
              {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=ADAMW["lr"], betas=ADAMW["betas"], eps=ADAMW["eps"])


def train(model, kind, init_std=INIT_STD):
    """Returns losses, gradient norms before clipping, step 1's gradients, the last weights."""
    parameters = make_parameters(model, init_std)
    optimizer = make_optimizer(kind, parameters)
    losses, norms, gradients = [], [], {}
    for step in range(STEPS):
        optimizer.zero_grad()
        loss = loss_of(model, parameters, step)
        loss.backward()
        losses.append(loss.item())
        if step == 0:
            gradients = {n: p.grad.clone() for n, p in parameters.items()}
        norms.append(torch.nn.utils.clip_grad_norm_(parameters.values(), CLIP_NORM).item())
        optimizer.step()
    return losses, norms, gradients, {n: p.detach() for n, p in parameters.items()}


# --- output ---


class Rounded(float):
    """Prints as the shortest decimal that reads back as the same float32."""

    def __repr__(self):
        return str(np.float32(self))


def rounded(tensor):
    return [Rounded(x) for x in tensor.reshape(-1).tolist()]


def write(model, path):
    config, shapes, _, _ = MODELS[model]
    losses, norms, gradients, weights = train(model, "adamw")
    sgd_losses, sgd_norms, _, sgd_weights = train(model, "sgd")
    usual_losses, usual_norms, _, _ = train(model, "adamw", USUAL_INIT_STD)
    document = {
        "config": config, "batch": BATCH, "seq": SEQ, "seed": SEED, "init_std": INIT_STD,
        "clip_norm": CLIP_NORM,
        "adamw": {**ADAMW, "losses": losses, "grad_norms": norms},
        "sgd": {**SGD, "losses": sgd_losses, "grad_norms": sgd_norms},
        "adamw_usual_init": {"init_std": USUAL_INIT_STD, "losses": usual_losses,
                             "grad_norms": usual_norms},
        "parameters": [
            {"name": name, "shape": list(shape), "gradient_step1": rounded(gradients[name]),
             "adamw_weight_step3": rounded(weights[name]),
             "sgd_weight_step3_first": rounded(sgd_weights[name])[:SGD_LEADING_ELEMENTS]}
            for name, shape in shapes(config).items()],
    }
    path.write_text(to_text(document))


def to_text(document):
    """JSON with one line per field of the document and one per array of a parameter."""
    def plain(value):
        return json.dumps(value)

    def parameter(entry):
        return "{" + ",\n  ".join(
            f'"{key}": ' + (plain(value) if key in ("name", "shape") else
                            "[" + ",".join(map(repr, value)) + "]")
            for key, value in entry.items()) + "}"

    head = [f'"{key}": {plain(value)}' for key, value in document.items() if key != "parameters"]
    body = ",\n ".join(parameter(entry) for entry in document["parameters"])
    return "{" + ",\n".join(head) + ',\n"parameters": [\n ' + body + "]}\n"


# --- checks of this file by other means ---


def check_gpt2_forward():
    """The same logits from torch's own pre-norm transformer layer."""
    parameters, c = make_parameters("gpt2"), GPT2
    p = {n: t.detach() for n, t in parameters.items()}
    tokens, _ = batch_of(0)
    x = p["embedding.tokens"][tokens] + p["embedding.positions"]
    mask = torch.full((SEQ, SEQ), -math.inf, dtype=torch.float64).triu(1)
    for i in range(c["n_layer"]):
        layer = torch.nn.TransformerEncoderLayer(
            c["n_embd"], c["n_head"], c["n_inner"], dropout=0.0, batch_first=True, norm_first=True,
            activation=functools.partial(F.gelu, approximate="tanh"),
            layer_norm_eps=c["layer_norm_epsilon"], dtype=torch.float64)
        own = {n[len(f"layers.{i}."):]: t for n, t in p.items() if n.startswith(f"layers.{i}.")}
        state = {}
        for kind in ("weight", "bias"):
            state["self_attn.in_proj_" + kind] = torch.cat(
                [own[f"attention.{part}.{kind}"] for part in "qkv"])
            for theirs, ours in (("self_attn.out_proj", "attention.out"), ("linear1", "mlp.up"),
                                 ("linear2", "mlp.down"), ("norm1", "norm1"), ("norm2", "norm2")):
                state[f"{theirs}.{kind}"] = own[f"{ours}.{kind}"]
        layer.load_state_dict(state)
        x = layer(x, src_mask=mask)
    x = F.layer_norm(x, x.shape[-1:], p["final_norm.weight"], p["final_norm.bias"],
                     c["layer_norm_epsilon"])
    report_forward("gpt2", x @ p["embedding.tokens"].T, gpt2_logits(p, c, tokens))


def check_llama_forward():
    """The same logits in numpy, one sequence, head and query at a time; complex rotation."""
    c, d = LLAMA, LLAMA["head_dim"]
    p = {n: t.detach().numpy() for n, t in make_parameters("llama").items()}
    tokens = batch_of(0)[0]
    turn = np.exp(1j * np.arange(SEQ)[:, None] * c["rope_theta"] ** (-np.arange(d // 2) * 2.0 / d))

    def norm(x, name):
        return x / np.sqrt((x * x).mean(1, keepdims=True) + c["rms_norm_eps"]) * p[name + ".weight"]

    def rotated(x):
        pairs = (x[:, : d // 2] + 1j * x[:, d // 2 :]) * turn
        return np.concatenate([pairs.real, pairs.imag], axis=1)

    def attend(n1, at, head):
        kv = head * c["num_key_value_heads"] // c["num_attention_heads"]
        q = rotated(n1 @ p[at + "q.weight"][head * d : head * d + d].T)
        k = rotated(n1 @ p[at + "k.weight"][kv * d : kv * d + d].T)
        v = n1 @ p[at + "v.weight"][kv * d : kv * d + d].T
        rows = []
        for t in range(SEQ):
            e = np.exp(k[: t + 1] @ q[t] / np.sqrt(d))
            rows.append(e @ v[: t + 1] / e.sum())
        return np.array(rows)

    logits = []
    for sequence in tokens.numpy():
        x = p["embedding.tokens"][sequence]
        for i in range(c["num_hidden_layers"]):
            at = f"layers.{i}."
            n1 = norm(x, at + "norm1")
            heads = [attend(n1, at + "attention.", j) for j in range(c["num_attention_heads"])]
            x = x + np.concatenate(heads, axis=1) @ p[at + "attention.out.weight"].T
            n2 = norm(x, at + "norm2")
            gate = n2 @ p[at + "mlp.gate.weight"].T
            up = n2 @ p[at + "mlp.up.weight"].T
            x = x + (gate / (1 + np.exp(-gate)) * up) @ p[at + "mlp.down.weight"].T
        logits.append(norm(x, "final_norm") @ p["head.weight"].T)
    ours = llama_logits({n: torch.from_numpy(t) for n, t in p.items()}, c, tokens)
    report_forward("llama", torch.from_numpy(np.array(logits)), ours)


def report_forward(model, expected, found):
    worst = (expected - found).abs().max().item()
    assert worst < 1e-12, (model, worst)
    print(f"{model}: logits differ from a second forward by at most {worst:.1e}")


def check_gradients(model):
    """Central differences at random elements of every parameter."""
    parameters = make_parameters(model)
    loss_of(model, parameters, 0).backward()
    random = np.random.default_rng(1)
    worst = 0.0
    for p in parameters.values():
        flat, grad = p.detach().view(-1), p.grad.view(-1)
        for index in random.choice(flat.numel(), size=3, replace=False):
            value, h, sides = flat[index].item(), 1e-5, []
            for sign in (1, -1):
                flat[index] = value + sign * h
                sides.append(loss_of(model, parameters, 0).item())
            flat[index] = value
            numeric = (sides[0] - sides[1]) / (2 * h)
            worst = max(worst, abs(numeric - grad[index].item()))
    assert worst < 1e-8, (model, worst)
    print(f"{model}: gradients differ from central differences by at most {worst:.1e}")


def check_optimizer(model):
    """AdamW and clipping written out once more, by the formula."""
    parameters = make_parameters(model)
    first = {n: torch.zeros_like(p) for n, p in parameters.items()}
    second = {n: torch.zeros_like(p) for n, p in parameters.items()}
    b1, b2 = ADAMW["betas"]
    for step in range(STEPS):
        grads = torch.autograd.grad(loss_of(model, parameters, step), list(parameters.values()))
        norm = math.sqrt(sum(g.pow(2).sum().item() for g in grads))
        scale = min(1.0, CLIP_NORM / (norm + 1e-6))
        for (name, p), g in zip(parameters.items(), grads):
            g = g * scale
            first[name] = b1 * first[name] + (1 - b1) * g
            second[name] = b2 * second[name] + (1 - b2) * g * g
            m, v = first[name] / (1 - b1 ** (step + 1)), second[name] / (1 - b2 ** (step + 1))
            decay = ADAMW["weight_decay"] if p.dim() == 2 else 0.0
            p.data -= ADAMW["lr"] * (m / (v.sqrt() + ADAMW["eps"]) + decay * p.data)
    weights = train(model, "adamw")[3]
    worst = max((weights[n] - p.detach()).abs().max().item() for n, p in parameters.items())
    assert worst < 1e-12, (model, worst)
    print(f"{model}: weights differ from AdamW by formula by at most {worst:.1e}")


def check_generator():
    values = init_normal("layers.0.mlp.up.weight", np.arange(1000000), SEED).astype(np.float64)
    print(f"generator: mean {values.mean():+.5f}, variance {values.var():.5f}, "
          f"kurtosis {(values**4).mean():.4f}")
    assert abs(values.mean()) < 4e-3 and abs(values.var() - 1) < 6e-3
    for name, index, seed in (("embedding.tokens", 0, 0), ("embedding.tokens", 1, 0),
                              ("embedding.tokens", 0, 1), ("head.weight", 0, 0),
                              ("layers.1.mlp.up.weight", 5000000000, SEED)):
        print(f'  init_normal("{name}", {index}, {seed}) = {init_normal(name, [index], seed)[0]}')


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=pathlib.Path, help="folder to write to")
    parser.add_argument("--check", action="store_true", help="check instead of writing")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.check:
        check_generator()
        check_gpt2_forward()
        check_llama_forward()
        for model in MODELS:
            check_gradients(model)
            check_optimizer(model)
    elif arguments.out:
        for model in MODELS:
            write(model, arguments.out / f"{model}.json")
    else:
        parser.error("--out FOLDER or --check is needed")


if __name__ == "__main__":
    main()
