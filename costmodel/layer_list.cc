#include "costmodel/layer_list.h"

#include <map>
#include <nlohmann/json.hpp>

namespace shardwright {
namespace {

constexpr const char* kSchema = "shardwright.model/1";
constexpr int64_t kMaxSize = int64_t{1} << 31;
constexpr double kMaxTouches = 1000;

ListedOp read_op(Fields& fields) {
  ListedOp op;
  const std::string kind = fields.text("op");
  op.name = fields.text("name");
  op.rows = fields.integer("rows", 1, kMaxSize);
  op.out = fields.integer("out", 1, kMaxSize);
  if (kind == "pass") {
    op.kind = ListedOp::Kind::kPass;
    op.touches = fields.number_or("touches", op.touches, 0, kMaxTouches);
    op.backward_touches = fields.number_or("backward_touches", op.backward_touches, 0, kMaxTouches);
    return op;
  }
  op.in = fields.integer("in", 1, kMaxSize);
  if (kind == "lookup") {
    op.kind = ListedOp::Kind::kLookup;
  } else if (kind != "gemm" && !fields.error()) {
    fields.fail("op", '"' + printable(kind) + '"', "gemm, pass or lookup");
  }
  return op;
}

Result<LayerSpec> read_kind(const Json& ops, const std::string& file, const std::string& at) {
  LayerSpec layer;
  layer.norms = 0;
  if (!ops.is_array() || ops.empty()) {
    return Error{file, at, quote(ops), "a list of operations"};
  }
  for (size_t i = 0; i < ops.size(); ++i) {
    if (!ops[i].is_object()) return Error{file, at, quote(ops[i]), "an operation"};
    Fields fields(ops[i], file, at + "[" + std::to_string(i) + "].");
    layer.ops.push_back(read_op(fields));
    if (auto error = fields.finish()) return *error;
  }
  return layer;
}

}  // namespace

bool is_layer_list(const Json& json) { return json.is_object() && json.contains("schema"); }

Result<ModelSpec> read_layer_list(const Json& json, const std::string& file) {
  Fields fields(json, file);
  ModelSpec model;
  const std::string schema = fields.text("schema");
  if (!fields.error() && schema != kSchema) {
    fields.fail("schema", '"' + printable(schema) + '"', kSchema);
  }
  model.name = fields.text("name");
  model.model_type = "layer_list";
  model.hidden = fields.integer("boundary", 1, kMaxSize);
  model.vocab = fields.integer("classes", 1, kMaxSize);
  model.max_positions = 1;
  fields.text_or("source", "");
  const Json& kinds = fields.object("kinds");
  const Json& layers = fields.array("layers");
  if (auto error = fields.finish()) return *error;
  std::map<std::string, int> index;
  for (const auto& item : kinds.items()) {
    Result<LayerSpec> kind = read_kind(item.value(), file, "kinds." + printable(item.key()));
    if (!kind.ok()) return kind.error();
    index[item.key()] = static_cast<int>(model.kinds.size());
    model.kinds.push_back(*std::move(kind));
  }
  for (const Json& name : layers) {
    const auto found = name.is_string() ? index.find(name.get<std::string>()) : index.end();
    if (found == index.end()) return Error{file, "layers", quote(name), "names of kinds"};
    model.layer_kind.push_back(found->second);
  }
  if (model.layer_kind.empty()) return Error{file, "layers", "none", "at least one"};
  return model;
}

}  // namespace shardwright
