#include "costmodel/rates_json.h"

#include <nlohmann/json.hpp>

#include "costmodel/profile_json.h"

namespace shardwright {
namespace {

// A share may exceed one: a fitted sum of terms lets memory traffic hide behind products.
constexpr double kMinShare = 1e-9;
constexpr double kMaxShare = 1e3;
constexpr double kMaxSeconds = 1e3;
constexpr size_t kTableAxes = 3;
constexpr int64_t kMaxRanks = int64_t{1} << 20;
constexpr std::array<const char*, 2> kDirections = {"forward", "backward"};

std::optional<Error> read_knots(const Json& knots, const std::string& file,
                                const std::string& field, LogTable* out) {
  if (knots.size() != kTableAxes) {
    return Error{file, field, quote(knots), "3 lists of knots, one for each axis"};
  }
  for (size_t axis = 0; axis < kTableAxes; ++axis) {
    const std::string key = element("", axis);
    // Fields reads objects: the one list is wrapped so that its numbers are checked as any others.
    Json wrapped = Json::object();
    wrapped[key] = knots[axis];
    Fields fields(wrapped, file, field);
    const std::vector<double> values = fields.numbers(key, 1e-9, 1e18);
    if (auto error = fields.finish()) return error;
    if (values.empty()) return Error{file, field + key, "an empty list", "knots"};
    for (size_t i = 1; i < values.size(); ++i) {
      if (values[i] > values[i - 1]) continue;
      return Error{file, field + key, quote(knots[axis][i]), "knots that ascend"};
    }
    out->knots.push_back(values);
  }
  return std::nullopt;
}

std::optional<Error> read_table(const Json& json, const std::string& file, const std::string& field,
                                LogTable* out) {
  Fields fields(json, file, field + ".");
  const Json& knots = fields.array("knots");
  const std::vector<double> values = fields.numbers("values", -50, 50);
  if (auto error = fields.finish()) return error;
  if (auto error = read_knots(knots, file, field + ".knots", out)) return error;
  size_t cells = 1;
  for (const auto& axis : out->knots) cells *= axis.size();
  if (values.size() != cells) {
    return Error{file, field + ".values", std::to_string(values.size()) + " values",
                 std::to_string(cells) + ", the product of the numbers of knots"};
  }
  out->values = values;
  return std::nullopt;
}

// GemmModel and AttentionModel have the same fields.
template <typename Model>
std::optional<Error> read_model(const Json& json, const std::string& file, const std::string& field,
                                Model* out) {
  Fields fields(json, file, field + ".");
  out->floor_s = fields.number("floor_s", 0, kMaxSeconds);
  out->flop_share = fields.number("flop_share", kMinShare, kMaxShare);
  out->bandwidth_share = fields.number("bandwidth_share", kMinShare, kMaxShare);
  const bool has_table = fields.has("correction");
  const Json& table = has_table ? fields.object("correction") : json;
  if (auto error = fields.finish()) return error;
  if (!has_table) return std::nullopt;
  return read_table(table, file, field + ".correction", &out->correction);
}

template <typename Model>
Json model_to_json(const Model& model) {
  Json out = {{"floor_s", model.floor_s},
              {"flop_share", model.flop_share},
              {"bandwidth_share", model.bandwidth_share}};
  if (!model.correction.empty()) {
    out["correction"] = {{"knots", model.correction.knots}, {"values", model.correction.values}};
  }
  return out;
}

// {"bf16": {"forward": model, ...}}: for each data type one model per name in `names`.
template <typename Models, size_t kCount>
std::optional<Error> read_models(const Json& json, const std::string& file,
                                 const std::string& field,
                                 const std::array<const char*, kCount>& names, Models* out) {
  for (const auto& item : json.items()) {
    DataType type;
    const std::string path = field + "." + printable(item.key());
    if (!parse_data_type(item.key(), &type)) {
      return Error{file, path, "an unknown data type", "fp32, bf16, fp16 or fp8"};
    }
    Fields fields(item.value(), file, path + ".");
    std::array<const Json*, kCount> models;
    for (size_t i = 0; i < kCount; ++i) models[i] = &fields.object(names[i]);
    if (auto error = fields.finish()) return error;
    for (size_t i = 0; i < kCount; ++i) {
      if (auto error = read_model(*models[i], file, path + "." + names[i], &(*out)[type].at(i))) {
        return error;
      }
    }
  }
  return std::nullopt;
}

template <typename Models, size_t kCount>
Json models_to_json(const Models& models, const std::array<const char*, kCount>& names) {
  Json out = Json::object();
  for (const auto& [type, by_name] : models) {
    Json one = Json::object();
    for (size_t i = 0; i < kCount; ++i) one[names[i]] = model_to_json(by_name[i]);
    out[name_of(type)] = one;
  }
  return out;
}

std::optional<Error> read_passes(const Json& json, const std::string& file,
                                 const std::string& field, RateSet* out) {
  for (const auto& item : json.items()) {
    const std::string path = field + "." + printable(item.key());
    PassKind kind;
    if (!parse_pass_kind(item.key(), &kind)) {
      return Error{file, path, "an unknown pass", "a pass such as add, rms_norm or adamw"};
    }
    if (auto error = read_curve(item.value(), file, path, &out->passes[kind])) return error;
  }
  return std::nullopt;
}

std::array<const char*, 3> layout_names() {
  return {name_of(GemmLayout::kForward), name_of(GemmLayout::kInputGrad),
          name_of(GemmLayout::kWeightGrad)};
}

}  // namespace

std::optional<Error> read_rate_set(const Json& json, const std::string& file,
                                   const std::string& field, RateSet* out) {
  Fields fields(json, file, field + ".");
  out->active_ranks = fields.integer("active_ranks", 1, kMaxRanks);
  const Json& gemm = fields.object("gemm");
  const Json& attention = fields.object("attention");
  const Json& passes = fields.object("passes");
  if (auto error = fields.finish()) return error;
  if (auto error = read_models(gemm, file, field + ".gemm", layout_names(), &out->gemm)) {
    return error;
  }
  if (auto error =
          read_models(attention, file, field + ".attention", kDirections, &out->attention)) {
    return error;
  }
  return read_passes(passes, file, field + ".passes", out);
}

Json to_json(const RateSet& rates) {
  Json passes = Json::object();
  for (const auto& [kind, curve] : rates.passes) passes[name_of(kind)] = to_json(curve);
  return {{"active_ranks", rates.active_ranks},
          {"gemm", models_to_json(rates.gemm, layout_names())},
          {"attention", models_to_json(rates.attention, kDirections)},
          {"passes", passes}};
}

}  // namespace shardwright
