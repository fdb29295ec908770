// A complete record, to be changed field by field.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "costmodel/json.h"

namespace shardwright {

inline Json sample_record() {
  return Json::parse(R"({
    "id": "sample-7b", "source": {"title": "Sample runs", "where": "row 1", "url": "u", "year": 2024},
    "framework": "Megatron-LM",
    "model": {"name": "Llama 7B", "family": "llama", "layers": 32, "hidden": 4096, "heads": 32,
              "kv_heads": 32, "ffn_hidden": 11008, "vocab": 32000, "seq": 4096, "gated_mlp": true,
              "tied_embeddings": false, "moe": null, "params_b": 6.74},
    "cluster": {"gpu": "A100-80GB-SXM", "gpus": 16, "gpus_per_node": 8, "intra": "NVLink3",
                "inter": null},
    "parallel": {"tp": 2, "pp": 2, "vpp": null, "dp": 4, "cp": 1, "ep": 1, "etp": null, "sp": true,
                 "zero": 1, "fsdp": false},
    "batch": {"global": 128, "micro": 2}, "precision": "bf16", "recompute": "none",
    "features": {"flash_attention": true, "something_new": [1, "two"]},
    "measured": {"iteration_s": 4.0, "tflops_per_gpu": null, "mfu": null,
                 "tokens_per_s_per_gpu": null, "mem_gb": 40.0, "oom": false},
    "flops_convention": "none", "notes": ""})");
}

}  // namespace shardwright
