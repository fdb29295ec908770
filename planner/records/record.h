// Record: one published training run as its source prints it, before any interpretation.
//
// The form is one JSON object per line. What a source does not print is null, and stays empty here:
// what an empty field means is decided in run_case.h, by rules and not by record.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "costmodel/result.h"

namespace shardwright {

struct RecordMoe {
  int64_t experts = 0, top_k = 0, ffn_hidden = 0;
  int64_t shared_experts = 0;
  int64_t moe_layers = 0;  // the last ones of the model
};
struct RecordLatent {  // multi-head latent attention
  int64_t q_lora = 0;  // 0 = queries projected directly
  int64_t kv_lora = 0, qk_nope = 0, qk_rope = 0, v = 0;
};

struct RecordModel {
  std::string name, family;
  std::optional<int64_t> layers, hidden, heads, kv_heads, head_dim, ffn_hidden, vocab, seq;
  std::optional<bool> gated_mlp, tied_embeddings;
  std::optional<RecordMoe> moe;
  std::optional<RecordLatent> latent;
  std::optional<int64_t> mtp_layers;
  std::optional<int64_t> window;  // of every other layer, in tokens
  std::optional<double> params_b;
};

struct RecordCluster {
  std::string gpu;
  int64_t gpus = 0, gpus_per_node = 0;
  std::string intra, inter;  // as printed; empty when the source is silent
};

struct RecordParallel {
  std::optional<int64_t> tp, pp, vpp, dp, cp, ep, etp, zero;
  std::optional<bool> sp, fsdp;
};

struct RecordMeasured {
  std::optional<double> iteration_s, tflops_per_gpu, mfu, tokens_per_s_per_gpu, mem_gb;
  bool oom = false;
};

struct Record {
  std::string id;
  std::string source, where;
  int64_t year = 0;
  std::string framework;
  RecordModel model;
  RecordCluster cluster;
  RecordParallel parallel;
  std::optional<int64_t> global_batch, micro_batch;
  std::string precision;  // empty when not printed
  std::string recompute;
  // features and extra by "features.flash_attention", "extra.perf_config.cuda_graph_impl": numbers
  // and truth values as JSON prints them, lists joined by spaces. Free to hold more than we know.
  std::map<std::string, std::string> facts;
  RecordMeasured measured;
  std::string convention;  // of the printed TFLOP/s or MFU
  std::string notes;

  // The fact, or "" when the source is silent.
  const std::string& fact(const std::string& key) const;
  bool is(const std::string& key) const { return fact(key) == "true"; }
  bool is_not(const std::string& key) const { return fact(key) == "false"; }
};

// A line of a records file. Fails with the field, what was found and what was expected; whatever
// the text is, it never does worse.
Result<Record> read_record(std::string_view line, const std::string& file);

// One line of a file: a record, or why it was refused.
struct RecordRow {
  std::string file;
  int64_t line = 0;
  std::string id;  // "" when it cannot be read
  std::string source;
  Result<Record> record;
};
// Files, and folders with *.jsonl files (read in order of their names). Empty lines are skipped.
// Fails only when a path cannot be read at all.
Result<std::vector<RecordRow>> read_record_files(const std::vector<std::string>& paths);

}  // namespace shardwright
