#!/usr/bin/env python3
"""Lists the flags that a training framework defines, from a checkout of its repository, without
importing it. The lists lie under profiles/frameworks: lint names every flag that is on none, and the
tests hold every exported flag against them.

  framework_flags.py megatron  CHECKOUT --commit HASH --release "Megatron-LM main, core 0.20.0"
  framework_flags.py torchtitan CHECKOUT ...   (also deepspeed, accelerate, megatron-bridge)

Kinds: flag (no value), one (a value), many (values up to the next flag), any (with or without).
"""
import argparse
import ast
import json
import os
import re
import sys


def parse(root, path):
    with open(os.path.join(root, path), encoding="utf-8") as source:
        return ast.parse(source.read())


def constant(node):
    return node.value if isinstance(node, ast.Constant) else None


def argparse_kind(call):
    words = {k.arg: k.value for k in call.keywords}
    action = constant(words.get("action", ast.Constant(None)))
    if action in ("store_true", "store_false"):
        return "flag"
    if action is None and "action" in words:  # argparse.BooleanOptionalAction
        return "boolean"
    nargs = constant(words.get("nargs", ast.Constant(None)))
    return {"+": "many", "*": "many", "?": "any"}.get(nargs, "many" if isinstance(nargs, int) else "one")


def added_arguments(tree):
    """--name: kind of every add_argument call."""
    flags = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "add_argument":
            for name in (constant(a) for a in node.args):
                if name and name.startswith("--"):
                    kind = argparse_kind(node)
                    flags[name] = "flag" if kind == "boolean" else kind
                    if kind == "boolean":
                        flags["--no-" + name[2:]] = "flag"
    return flags


class Classes:
    """Dataclasses of a checkout by name; fields with those of the bases first."""

    def __init__(self, root, folders):
        self.found = {}
        for folder in folders:
            for base, _, files in os.walk(os.path.join(root, folder)):
                for name in sorted(f for f in files if f.endswith(".py")):
                    tree = parse(root, os.path.relpath(os.path.join(base, name), root))
                    for node in ast.walk(tree):
                        if isinstance(node, ast.ClassDef):
                            self.found.setdefault(node.name, node)

    def fields(self, name):
        out = {}
        node = self.found[name]
        for base in node.bases:
            if isinstance(base, ast.Name) and base.id in self.found:
                out.update(self.fields(base.id))
        for item in node.body:
            if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
                out[item.target.id] = item
        return out


def field_flags(field):
    """Names and kind of a dataclass field by the rules of Megatron's ArgumentGroupFactory."""
    name, kind = field.target.id, ast.unparse(field.annotation)
    default, meta, init = field.value, {}, True
    if isinstance(default, ast.Call):
        words = {k.arg: k.value for k in default.keywords}
        init = constant(words.get("init", ast.Constant(True)))
        for key, value in zip(*(lambda d: (d.keys, d.values))(words["metadata"])) if isinstance(
                words.get("metadata"), ast.Dict) else []:
            if constant(key) == "argparse_meta" and isinstance(value, ast.Dict):
                meta = {constant(k): v for k, v in zip(value.keys, value.values)}
        default = words.get("default", ast.Constant(None))
    if not init:
        return [], ""
    flag = name.replace("_", "-")
    names = ["--" + flag]
    plain = re.sub(r"^(Optional|typing\.Optional)\[(.*)\]$|^(.*?) \| None$", r"\2\3", kind)
    if plain.startswith(("list", "List")):
        kind = "many"
    elif plain == "bool":
        kind = "flag"
        if constant(default) is True:
            names = ["--no-" + flag, "--disable-" + flag]
    else:
        kind = "one"
    if "arg_names" in meta:
        names = [constant(n) for n in meta["arg_names"].elts]
    if "nargs" in meta:
        kind = {"+": "many", "*": "many", "?": "any"}.get(constant(meta["nargs"]), "many")
    if "action" in meta:
        action = constant(meta["action"])
        kind = "flag"
        if action is None:  # BooleanOptionalAction
            names += ["--no-" + n[2:] for n in names]
    return names, kind


def megatron(root):
    tree = parse(root, "megatron/training/arguments.py")
    flags = added_arguments(tree)
    classes = Classes(root, ["megatron/training", "megatron/core"])
    lists = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.List):
            lists[getattr(node.targets[0], "id", "")] = [constant(e) for e in node.value.elts]
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and getattr(node.func, "id", "") == "ArgumentGroupFactory"):
            continue
        exclude = next((k.value for k in node.keywords if k.arg == "exclude"), None)
        left_out = lists.get(exclude.id, []) if isinstance(exclude, ast.Name) else (
            [constant(e) for e in exclude.elts] if exclude is not None else [])
        for name, field in classes.fields(node.args[0].id).items():
            if name not in left_out:
                names, kind = field_flags(field)
                flags.update({n: kind for n in names})
    return flags, ["megatron/training/arguments.py", "megatron/core/transformer/transformer_config.py",
                   "megatron/core/model_parallel_config.py", "megatron/training/config/"]


def torchtitan(root):
    """The options that its own test freezes. Which take no value says the type of their field; a
    true one is switched off by "no_" before its name (tyro)."""
    flags = {"--module": "one", "--config": "one"}
    classes = Classes(root, ["torchtitan"])
    truths = {item.target.id for node in classes.found.values() for item in node.body
              if isinstance(item, ast.AnnAssign) and ast.unparse(item.annotation) == "bool"}
    tree = parse(root, "tests/unit_tests/test_no_new_cli_options.py")
    frozen = max((n for n in ast.walk(tree) if isinstance(n, ast.Set)), key=lambda n: len(n.elts))
    for name in sorted(constant(e) for e in frozen.elts):
        section, _, field = name.rpartition(".")
        flags["--" + name] = "flag" if field in truths else "one"
        if field in truths:
            flags[f"--{section}.no_{field}"] = "flag"
    flags["--parallelism.module_fqns_per_model_part"] = "many"
    return flags, ["tests/unit_tests/test_no_new_cli_options.py", "torchtitan/config/configs.py",
                   "torchtitan/config/manager.py", "torchtitan/distributed/activation_checkpoint.py"]


def sources(root, folder):
    for base, _, files in sorted(os.walk(os.path.join(root, folder))):
        for name in sorted(f for f in files if f.endswith(".py")):
            yield os.path.relpath(os.path.join(base, name), root)


def looked_up(tree, values):
    """Keys that are looked up in a dictionary called param_dict, by text or by a named constant."""
    def text(node):
        return constant(node) or values.get(getattr(node, "id", ""))

    def is_configuration(node):
        return getattr(node, "id", getattr(node, "attr", "")) in ("param_dict", "_param_dict", "ds_config")

    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and any(a.arg == "param_dict" for a in node.args.args):
            yield from (text(default) for default in node.args.defaults)
        if isinstance(node, ast.Subscript) and is_configuration(node.value):
            yield text(node.slice)
        elif isinstance(node, ast.Compare) and len(node.comparators) == 1:
            over = node.comparators[0]
            if is_configuration(over.func.value if isinstance(over, ast.Call) and
                                isinstance(over.func, ast.Attribute) else over):
                yield text(node.left)
        elif isinstance(node, ast.Call):
            called = node.func
            if getattr(called, "attr", "") == "get" and is_configuration(called.value) and node.args:
                yield text(node.args[0])
            elif getattr(called, "id", "") == "get_scalar_param" and is_configuration(node.args[0]):
                yield text(node.args[1])


def deepspeed(root):
    """Keys of the JSON file: those of the top level, and fields of the ZeRO sections."""
    trees = [parse(root, path) for path in sources(root, "deepspeed")]
    values = {}
    for node in (n for tree in trees for n in ast.walk(tree)):
        if isinstance(node, ast.Assign) and isinstance(constant(node.value), str):
            values[getattr(node.targets[0], "id", "")] = node.value.value
    found = {key for tree in trees for key in looked_up(tree, values)}
    found.update(Classes(root, ["deepspeed/monitor"]).fields("DeepSpeedMonitorConfig"))
    keys = {key: "one" for key in found if isinstance(key, str) and re.fullmatch(r"[a-z][a-z0-9_]*", key)}
    for path, names, section in (("deepspeed/runtime/zero/config.py", ["DeepSpeedZeroConfig"],
                                  "zero_optimization"),
                                 ("deepspeed/runtime/zero/offload_config.py",
                                  ["DeepSpeedZeroOffloadOptimizerConfig"],
                                  "zero_optimization.offload_optimizer"),
                                 ("deepspeed/runtime/zero/offload_config.py",
                                  ["DeepSpeedZeroOffloadParamConfig"], "zero_optimization.offload_param")):
        for node in ast.walk(parse(root, path)):
            if isinstance(node, ast.ClassDef) and node.name in names:
                for item in node.body:
                    if isinstance(item, ast.AnnAssign):
                        words = {k.arg: constant(k.value) for k in getattr(item.value, "keywords", [])}
                        keys[f"{section}.{words.get('alias') or item.target.id}"] = "one"
    return keys, ["deepspeed/runtime/config.py", "deepspeed/runtime/constants.py",
                  "deepspeed/runtime/zero/config.py", "deepspeed/runtime/zero/offload_config.py"]


def accelerate(root):
    """Keys of the YAML file of `accelerate launch`, and of its fsdp_config and parallelism_config."""
    keys = {}
    classes = Classes(root, ["src/accelerate/commands/config"])
    for name in ("BaseConfig", "ClusterConfig"):
        keys.update({field: "one" for field in classes.fields(name)})
    with open(os.path.join(root, "src/accelerate/commands/launch.py"), encoding="utf-8") as source:
        launch = source.read()
    for name in re.findall(r"--(fsdp_[a-z0-9_]+)", launch):
        keys["fsdp_config." + name] = "one"
    for name in re.findall(r"--(parallelism_config_[a-z0-9_]+)", launch):
        keys["parallelism_config." + name] = "one"
    return keys, ["src/accelerate/commands/config/config_args.py", "src/accelerate/commands/launch.py"]


def megatron_bridge(root, core):
    """Dotted names of ConfigContainer. Its sections extend Megatron's classes: CORE has those."""
    keys = {"--model": "one", "--recipe": "one", "--mode": "one", "--dataset": "one"}
    own = Classes(root, ["src/megatron/bridge/training", "src/megatron/bridge/models"])
    base = Classes(core, ["megatron/training", "megatron/core"])
    sections = {"model": ["GPTModelProvider", "TransformerConfig"],
                "train": ["TrainingConfig"], "ddp": ["DistributedDataParallelConfig"],
                "optimizer": ["OptimizerConfig"], "comm_overlap": ["CommOverlapConfig"],
                "mixed_precision": ["MixedPrecisionConfig"], "dataset": ["GPTDatasetConfig"],
                "checkpoint": ["CheckpointConfig"], "dist": ["DistributedInitConfig"],
                "scheduler": ["SchedulerConfig"], "rng": ["RNGConfig"], "logger": ["LoggerConfig"],
                "tokenizer": ["TokenizerConfig"], "validation": ["ValidationConfig"]}
    for section, names in sections.items():
        for classes in (own, base):
            for name in names:
                if name in classes.found:
                    keys.update({f"{section}.{field}": "one" for field in classes.fields(name)
                                 if not field.startswith("_")})
    keys["mixed_precision"] = "one"
    return keys, ["scripts/training/run_recipe.py", "src/megatron/bridge/training/config.py",
                  "src/megatron/bridge/training/comm_overlap.py",
                  "src/megatron/bridge/training/mixed_precision.py",
                  "src/megatron/bridge/models/gpt_provider.py"]


READERS = {"megatron": megatron, "torchtitan": torchtitan, "deepspeed": deepspeed,
           "accelerate": accelerate, "megatron-bridge": megatron_bridge}
REPOSITORIES = {"megatron": "NVIDIA/Megatron-LM", "torchtitan": "pytorch/torchtitan",
                "deepspeed": "deepspeedai/DeepSpeed", "accelerate": "huggingface/accelerate",
                "megatron-bridge": "NVIDIA-NeMo/Megatron-Bridge"}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("framework", choices=READERS)
    parser.add_argument("checkout")
    parser.add_argument("--core", help="megatron-bridge: a checkout of Megatron-LM besides")
    parser.add_argument("--commit", required=True)
    parser.add_argument("--release", required=True)
    args = parser.parse_args()
    more = [args.core] if args.framework == "megatron-bridge" else []
    flags, files = READERS[args.framework](args.checkout, *more)
    by_kind = {}
    for name, kind in sorted(flags.items()):
        by_kind.setdefault(kind, []).append(name)
    json.dump({"schema": "shardwright.framework/1", "name": args.framework, "release": args.release,
               "repository": "github.com/" + REPOSITORIES[args.framework], "commit": args.commit,
               "files": files, "flags": by_kind}, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
