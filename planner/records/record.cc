#include "planner/records/record.h"

#include <nlohmann/json.hpp>

#include "costmodel/cluster_spec.h"
#include "costmodel/hf_families.h"
#include "costmodel/json.h"

namespace shardwright {
namespace {

constexpr int64_t kMaxBatch = int64_t{1} << 30;
constexpr int64_t kMaxDegree = kMaxDevices;
constexpr double kMaxMeasured = 1e12;
constexpr size_t kMaxFacts = 256;
constexpr size_t kMaxIdBytes = 200;

std::optional<int64_t> maybe_integer(Fields& f, const char* key, int64_t low, int64_t high) {
  if (!f.has(key)) return std::nullopt;
  return f.integer(key, low, high);
}
std::optional<bool> maybe_boolean(Fields& f, const char* key) {
  if (!f.has(key)) return std::nullopt;
  return f.boolean(key);
}
// Positive, since a rate or a time of zero says nothing.
std::optional<double> maybe_measured(Fields& f, const char* key) {
  if (!f.has(key)) return std::nullopt;
  return f.number(key, 1e-9, kMaxMeasured);
}

using MaybeError = std::optional<Error>;

MaybeError read_moe(const Json& json, const std::string& file, RecordModel* model) {
  Fields f(json, file, "model.moe.");
  RecordMoe moe;
  moe.experts = f.integer("experts", 1, kMaxExperts);
  moe.top_k = f.integer("top_k", 1, kMaxExperts);
  moe.ffn_hidden = f.integer("ffn_hidden", 1, kMaxFfnHidden);
  moe.shared_experts = f.integer_or("shared_experts", 0, 0, kMaxExperts);
  const int64_t all = model->layers.value_or(kMaxLayers);
  moe.moe_layers = f.integer_or("moe_layers", all, 1, all);
  model->moe = moe;
  return f.finish();
}

MaybeError read_model(const Json& json, const std::string& file, RecordModel* model) {
  Fields f(json, file, "model.");
  model->name = f.text_or("name", "");
  model->family = f.text_or("family", "");
  model->layers = maybe_integer(f, "layers", 1, kMaxLayers);
  model->hidden = maybe_integer(f, "hidden", 1, kMaxHidden);
  model->heads = maybe_integer(f, "heads", 1, kMaxHeads);
  model->kv_heads = maybe_integer(f, "kv_heads", 1, kMaxHeads);
  model->head_dim = maybe_integer(f, "head_dim", 1, kMaxHeadDim);
  model->ffn_hidden = maybe_integer(f, "ffn_hidden", 1, kMaxFfnHidden);
  model->vocab = maybe_integer(f, "vocab", 1, kMaxVocab);
  model->seq = maybe_integer(f, "seq", 1, kMaxPositions);
  model->gated_mlp = maybe_boolean(f, "gated_mlp");
  model->tied_embeddings = maybe_boolean(f, "tied_embeddings");
  if (f.has("params_b")) model->params_b = f.number("params_b", 0, 1e9);
  if (f.has("moe")) {
    const Json& moe = f.object("moe");
    if (f.error()) return f.error();
    if (auto error = read_moe(moe, file, model)) return error;
  }
  return f.finish();
}

MaybeError read_cluster(const Json& json, const std::string& file, RecordCluster* cluster) {
  Fields f(json, file, "cluster.");
  cluster->gpu = f.text("gpu");
  cluster->gpus = f.integer("gpus", 1, kMaxDevices);
  cluster->gpus_per_node = f.integer_or("gpus_per_node", 8, 1, kMaxDevices);
  cluster->intra = f.text_or("intra", "");
  cluster->inter = f.text_or("inter", "");
  return f.finish();
}

MaybeError read_parallel(const Json& json, const std::string& file, RecordParallel* p) {
  Fields f(json, file, "parallel.");
  p->tp = maybe_integer(f, "tp", 1, kMaxDegree);
  p->pp = maybe_integer(f, "pp", 1, kMaxDegree);
  p->vpp = maybe_integer(f, "vpp", 1, kMaxLayers);
  p->dp = maybe_integer(f, "dp", 1, kMaxDegree);
  p->cp = maybe_integer(f, "cp", 1, kMaxDegree);
  p->ep = maybe_integer(f, "ep", 1, kMaxDegree);
  p->etp = maybe_integer(f, "etp", 1, kMaxDegree);
  p->zero = maybe_integer(f, "zero", 0, 3);
  p->sp = maybe_boolean(f, "sp");
  p->fsdp = maybe_boolean(f, "fsdp");
  return f.finish();
}

MaybeError read_measured(const Json& json, const std::string& file, RecordMeasured* m) {
  Fields f(json, file, "measured.");
  m->iteration_s = maybe_measured(f, "iteration_s");
  m->tflops_per_gpu = maybe_measured(f, "tflops_per_gpu");
  m->mfu = maybe_measured(f, "mfu");
  m->tokens_per_s_per_gpu = maybe_measured(f, "tokens_per_s_per_gpu");
  m->mem_gb = maybe_measured(f, "mem_gb");
  m->oom = f.boolean_or("oom", false);
  return f.finish();
}

MaybeError read_source(const Json& json, const std::string& file, Record* record) {
  Fields f(json, file, "source.");
  record->source = f.text("title");
  record->where = f.text_or("where", "");
  record->year = f.integer_or("year", 0, 0, 9999);
  f.ignore({"url"});
  return f.finish();
}

std::string plain(const Json& value) {
  if (value.is_string()) {
    std::string text = value.get<std::string>();
    std::erase(text, '"');
    return text;
  }
  if (!value.is_array()) return value.dump(-1, ' ', true, Json::error_handler_t::replace);
  std::string out;
  for (const Json& element : value) out += (out.empty() ? "" : " ") + plain(element);
  return out;
}

// Objects inside one another are at most as deep as the parser allows.
void collect_facts(const Json& json, const std::string& prefix, Record* record) {
  for (const auto& item : json.items()) {
    if (record->facts.size() >= kMaxFacts) return;
    const std::string key = prefix + "." + item.key();
    if (item.value().is_object()) {
      collect_facts(item.value(), key, record);
    } else if (!item.value().is_null()) {
      record->facts[key] = plain(item.value());
    }
  }
}

// Sizes of the model that the form has no place for and that stand in `extra`.
MaybeError read_extra_shapes(const Json& extra, const std::string& file, RecordModel* model) {
  Fields f(extra, file, "extra.");
  if (!model->head_dim) model->head_dim = maybe_integer(f, "head_dim", 1, kMaxHeadDim);
  model->mtp_layers = maybe_integer(f, "mtp_layers", 0, kMaxLayers);
  model->window = maybe_integer(f, "sliding_window_alternate_layers", 1, kMaxPositions);
  const bool has_latent = f.has("mla");
  const Json& mla = has_latent ? f.object("mla") : extra;
  if (f.error() || !has_latent) return f.error();
  Fields g(mla, file, "extra.mla.");
  RecordLatent latent;
  latent.q_lora = g.integer_or("q_lora", 0, 1, kMaxHidden);
  latent.kv_lora = g.integer("kv_lora", 1, kMaxHidden);
  latent.qk_nope = g.integer("qk_nope", 1, kMaxHeadDim);
  latent.qk_rope = g.integer("qk_rope", 1, kMaxHeadDim);
  latent.v = g.integer("v", 1, kMaxHeadDim);
  model->latent = latent;
  return g.finish();
}

MaybeError read_batch(const Json& json, const std::string& file, Record* record) {
  Fields f(json, file, "batch.");
  record->global_batch = maybe_integer(f, "global", 1, kMaxBatch);
  record->micro_batch = maybe_integer(f, "micro", 1, kMaxBatch);
  return f.finish();
}

MaybeError read_parts(Fields& f, const std::string& file, Record* record) {
  const Json& source = f.object("source");
  const Json& model = f.object("model");
  const Json& cluster = f.object("cluster");
  const Json& parallel = f.object("parallel");
  const Json& batch = f.object("batch");
  const Json& measured = f.object("measured");
  if (f.error()) return f.error();
  if (auto error = read_source(source, file, record)) return error;
  if (auto error = read_model(model, file, &record->model)) return error;
  if (auto error = read_cluster(cluster, file, &record->cluster)) return error;
  if (auto error = read_parallel(parallel, file, &record->parallel)) return error;
  if (auto error = read_batch(batch, file, record)) return error;
  if (auto error = read_measured(measured, file, &record->measured)) return error;
  if (f.has("features")) collect_facts(f.object("features"), "features", record);
  if (f.error() || !f.has("extra")) return f.error();
  const Json& extra = f.object("extra");
  if (f.error()) return f.error();
  collect_facts(extra, "extra", record);
  return read_extra_shapes(extra, file, &record->model);
}

}  // namespace

const std::string& Record::fact(const std::string& key) const {
  static const std::string kNone;
  const auto found = facts.find(key);
  return found == facts.end() ? kNone : found->second;
}

Result<Record> read_record(std::string_view line, const std::string& file) {
  const Result<Json> json = parse_json(line, file);
  if (!json) return json.error();
  Record record;
  Fields f(*json, file);
  record.id = f.text("id");
  record.framework = f.text_or("framework", "");
  record.precision = f.text_or("precision", "");
  record.recompute = f.text_or("recompute", "");
  record.convention = f.text_or("flops_convention", "");
  record.notes = f.text_or("notes", "");
  if (!f.error() && (record.id.empty() || record.id.size() > kMaxIdBytes)) {
    f.fail("id", printable(record.id), "1 to 200 characters");
  }
  if (f.error()) return *f.error();
  if (auto error = read_parts(f, file, &record)) return *error;
  if (auto error = f.finish()) return *error;
  return record;
}

}  // namespace shardwright
