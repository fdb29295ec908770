"""A training step of the same model in PyTorch, to measure against: torch.compile, bf16 autocast,
fused AdamW, scaled_dot_product_attention. Prints one line of JSON; median over the last steps.

  torch_reference.py CONFIG.json --seq T --micro B --microbatches M
"""

import argparse
import json
import statistics
import time

import torch
import torch.nn as nn
import torch.nn.functional as F


class Rms(nn.Module):
    def __init__(self, width, eps):
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(width)), eps

    def forward(self, x):
        return F.rms_norm(x, (x.shape[-1],), self.weight, self.eps)


class Block(nn.Module):
    """A layer of either kind; `c` is what shape_of() makes of the config."""

    def __init__(self, c):
        super().__init__()
        self.c = c
        h, d = c["hidden"], c["head_dim"]
        norm = (lambda: nn.LayerNorm(h)) if c["gpt"] else (lambda: Rms(h, 1e-5))
        self.norm1, self.norm2 = norm(), norm()
        self.qkv = nn.Linear(h, (c["heads"] + 2 * c["kv_heads"]) * d, bias=c["gpt"])
        self.out = nn.Linear(c["heads"] * d, h, bias=c["gpt"])
        self.up = nn.Linear(h, c["ffn"] * (1 if c["gpt"] else 2), bias=c["gpt"])
        self.down = nn.Linear(c["ffn"], h, bias=c["gpt"])

    def forward(self, x, rotation):
        c, (b, t, _) = self.c, x.shape
        heads, kv, d = c["heads"], c["kv_heads"], c["head_dim"]
        q, k, v = self.qkv(self.norm1(x)).view(b, t, heads + 2 * kv, d).split([heads, kv, kv], 2)
        if rotation is not None:
            q, k = rotate(q, rotation), rotate(k, rotation)
        q, k, v = (z.transpose(1, 2) for z in (q, k, v))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=heads != kv)
        x = x + self.out(y.transpose(1, 2).reshape(b, t, heads * d))
        u = self.up(self.norm2(x))
        if c["gpt"]:
            g = F.gelu(u, approximate="tanh")
        else:
            gate, up = u.chunk(2, -1)
            g = F.silu(gate) * up
        return x + self.down(g)


def rotate(x, rotation):
    cosine, sine = rotation
    low, high = x.chunk(2, -1)
    return torch.cat((low * cosine - high * sine, high * cosine + low * sine), -1).to(x.dtype)


class Model(nn.Module):
    def __init__(self, c, seq):
        super().__init__()
        self.c = c
        self.tokens = nn.Embedding(c["vocab"], c["hidden"])
        self.positions = nn.Embedding(seq, c["hidden"]) if c["gpt"] else None
        self.blocks = nn.ModuleList(Block(c) for _ in range(c["layers"]))
        self.norm = nn.LayerNorm(c["hidden"]) if c["gpt"] else Rms(c["hidden"], 1e-5)
        for p in self.parameters():
            if p.dim() > 1:
                nn.init.normal_(p, 0, 0.02)
        if not c["gpt"]:
            angles = torch.outer(torch.arange(seq).float(),
                                 c["theta"] ** (-torch.arange(0, c["head_dim"], 2) / c["head_dim"]))
            self.register_buffer("cosine", angles.cos()[None, :, None])
            self.register_buffer("sine", angles.sin()[None, :, None])

    def forward(self, x, y):
        z = self.tokens(x)
        rotation = None
        if self.positions is not None:
            z = z + self.positions.weight[: x.shape[1]]
        else:
            rotation = (self.cosine[:, : x.shape[1]], self.sine[:, : x.shape[1]])
        for block in self.blocks:
            z = block(z, rotation)
        logits = F.linear(self.norm(z), self.tokens.weight)
        return F.cross_entropy(logits.view(-1, logits.shape[-1]), y.reshape(-1))


def shape_of(config):
    gpt = config["model_type"] == "gpt2"
    if gpt:
        h, heads = config["n_embd"], config["n_head"]
        return {"gpt": True, "hidden": h, "layers": config["n_layer"], "heads": heads, "kv_heads": heads,
                "head_dim": h // heads, "ffn": 4 * h, "vocab": config["vocab_size"]}
    h, heads = config["hidden_size"], config["num_attention_heads"]
    return {"gpt": False, "hidden": h, "layers": config["num_hidden_layers"], "heads": heads,
            "kv_heads": config["num_key_value_heads"], "head_dim": h // heads,
            "ffn": config["intermediate_size"], "vocab": config["vocab_size"],
            "theta": config["rope_theta"]}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("config")
    parser.add_argument("--seq", type=int, required=True)
    parser.add_argument("--micro", type=int, required=True)
    parser.add_argument("--microbatches", type=int, required=True)
    parser.add_argument("--steps", type=int, default=12)
    a = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("PyTorch sees no GPU")
    torch.manual_seed(1)
    torch.set_float32_matmul_precision("high")
    with open(a.config) as file:
        model = Model(shape_of(json.load(file)), a.seq).cuda()
    step_model = torch.compile(model)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-4, betas=(0.9, 0.95), weight_decay=0.1,
                                  fused=True)
    data = torch.randint(0, 256, (a.microbatches, a.micro, a.seq + 1), device="cuda")
    times = []
    for step in range(a.steps):
        torch.cuda.synchronize()
        start = time.perf_counter()
        for part in data:
            with torch.autocast("cuda", torch.bfloat16):
                loss = step_model(part[:, :-1], part[:, 1:].contiguous())
            (loss / a.microbatches).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        torch.cuda.synchronize()
        if step >= 4:
            times.append(time.perf_counter() - start)
    step_s = statistics.median(times)
    print(json.dumps({"torch": torch.__version__, "step_s": step_s,
                      "tokens_per_s": a.microbatches * a.micro * a.seq / step_s,
                      "peak_bytes": torch.cuda.max_memory_allocated(), "loss_last": loss.item()}))


if __name__ == "__main__":
    main()
