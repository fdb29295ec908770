#include "costmodel/rates_json.h"

#include <nlohmann/json.hpp>

#include "costmodel/profile_json.h"

namespace shardwright {
namespace {

// A share may exceed one: a fitted sum of terms lets memory traffic hide behind products.
constexpr double kMinShare = 1e-9;
constexpr double kMaxShare = 1e3;
constexpr double kMaxSeconds = 1e3;
constexpr int64_t kMaxRanks = int64_t{1} << 20;
constexpr std::array<const char*, 2> kDirections = {"forward", "backward"};

std::optional<Error> read_knots(const Json& knots, const std::string& file,
                                const std::string& field, size_t axes,
                                std::vector<std::vector<double>>* out) {
  if (knots.size() != axes) {
    return Error{file, field, quote(knots),
                 std::to_string(axes) + " lists of knots, one for each axis"};
  }
  for (size_t axis = 0; axis < axes; ++axis) {
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
    out->push_back(values);
  }
  return std::nullopt;
}

// {"knots": [one list for each axis], "values": [row major]}
std::optional<Error> read_table(const Json& json, const std::string& file, const std::string& field,
                                size_t axes, LogTable* out) {
  Fields fields(json, file, field + ".");
  const Json& knots = fields.array("knots");
  const std::vector<double> values = fields.numbers("values", -50, 50);
  if (auto error = fields.finish()) return error;
  std::vector<std::vector<double>> read;
  if (auto error = read_knots(knots, file, field + ".knots", axes, &read)) return error;
  size_t cells = 1;
  for (const auto& axis : read) cells *= axis.size();
  if (values.size() != cells) {
    return Error{file, field + ".values", std::to_string(values.size()) + " values",
                 std::to_string(cells) + ", the product of the numbers of knots"};
  }
  *out = LogTable(std::move(read), values);
  return std::nullopt;
}

// Tables that a model may have, taken from its object before it is finished and read afterwards.
class OptionalTables {
 public:
  OptionalTables(Fields* fields, const std::string& file, const std::string& field)
      : fields_(fields), file_(file), field_(field) {}
  void want(const std::string& key, size_t axes, LogTable* out) {
    if (fields_->has(key)) wanted_.push_back({key, &fields_->object(key), axes, out});
  }
  std::optional<Error> read() const {
    for (const Wanted& one : wanted_) {
      if (auto error = read_table(*one.json, file_, field_ + "." + one.key, one.axes, one.out)) {
        return error;
      }
    }
    return std::nullopt;
  }

 private:
  struct Wanted {
    std::string key;
    const Json* json;
    size_t axes;
    LogTable* out;
  };
  Fields* fields_;
  std::string file_, field_;
  std::vector<Wanted> wanted_;
};

template <typename Model>
void read_roofline(Fields* fields, Model* out) {
  out->floor_s = fields->number("floor_s", 0, kMaxSeconds);
  out->flop_share = fields->number("flop_share", kMinShare, kMaxShare);
  out->bandwidth_share = fields->number("bandwidth_share", kMinShare, kMaxShare);
}

// Tiles are [rows, columns, efficiency].
std::optional<Error> read_tiling(const Json& json, const std::string& file,
                                 const std::string& field, TileModel* out) {
  Fields fields(json, file, field + ".");
  out->whole_waves = fields.number("whole_waves", 0, 1);
  out->least_wave = fields.number("least_wave", 0, 1);
  out->split_columns = fields.number("split_columns", 0, 1e6);
  const Json& tiles = fields.array("tiles");
  if (auto error = fields.finish()) return error;
  for (size_t i = 0; i < tiles.size(); ++i) {
    const Json& tile = tiles[i];
    const bool is_tile = tile.is_array() && tile.size() == 3 && tile[0].is_number_integer() &&
                         tile[1].is_number_integer() && tile[2].is_number() && tile[0] > 0 &&
                         tile[1] > 0 && tile[0] <= 4096 && tile[1] <= 4096 && tile[2] > 0;
    if (!is_tile) {
      return Error{file, element(field + ".tiles", i), quote(tile), "[rows, columns, efficiency]"};
    }
    out->tiles.push_back({tile[0].get<int64_t>(), tile[1].get<int64_t>(), tile[2].get<double>()});
  }
  return std::nullopt;
}

std::optional<Error> read_model(const Json& json, const std::string& file, const std::string& field,
                                GemmModel* out) {
  Fields fields(json, file, field + ".");
  read_roofline(&fields, out);
  OptionalTables tables(&fields, file, field);
  const Json* tiling = fields.has("tiling") ? &fields.object("tiling") : nullptr;
  tables.want("correction", 3, &out->correction);
  tables.want("unaligned", 3, &out->unaligned);
  if (fields.has("large_flops")) {
    out->large_flops = fields.number("large_flops", 1, 1e30);
    tables.want("large", 3, &out->large);
  }
  if (auto error = fields.finish()) return error;
  if (tiling != nullptr) {
    if (auto error = read_tiling(*tiling, file, field + ".tiling", &out->tiling)) return error;
  }
  return tables.read();
}

std::optional<Error> read_model(const Json& json, const std::string& file, const std::string& field,
                                AttentionModel* out) {
  Fields fields(json, file, field + ".");
  read_roofline(&fields, out);
  out->cache_passes = fields.number_or("cache_passes", 0, 0, 100);
  OptionalTables tables(&fields, file, field);
  tables.want("correction", 3, &out->correction);
  tables.want("grouping", 3, &out->grouping);
  if (auto error = fields.finish()) return error;
  return tables.read();
}

std::optional<Error> read_quantise(const Json& json, const std::string& file,
                                   const std::string& field, QuantiseModel* out) {
  Fields fields(json, file, field + ".");
  out->floor_s = fields.number("floor_s", 0, kMaxSeconds);
  out->block_s = fields.number("block_s", 0, kMaxSeconds);
  out->rows_at_once = fields.number("rows_at_once", 1, 1e12);
  out->row_s = fields.number("row_s", 0, kMaxSeconds);
  out->block_columns = fields.integer("block_columns", 1, int64_t{1} << 30);
  OptionalTables tables(&fields, file, field);
  tables.want("correction", 2, &out->correction);
  if (auto error = fields.finish()) return error;
  return tables.read();
}

void put_table(const char* key, const LogTable& table, Json* out) {
  if (table.empty()) return;
  (*out)[key] = {{"knots", table.knots()}, {"values", table.values()}};
}

Json tiling_to_json(const TileModel& tiling) {
  Json out = {{"whole_waves", tiling.whole_waves},
              {"least_wave", tiling.least_wave},
              {"split_columns", tiling.split_columns},
              {"tiles", Json::array()}};
  for (const GemmTile& tile : tiling.tiles) {
    out["tiles"].push_back(Json::array({tile.rows, tile.columns, tile.efficiency}));
  }
  return out;
}

template <typename Model>
Json roofline_to_json(const Model& model) {
  return {{"floor_s", model.floor_s},
          {"flop_share", model.flop_share},
          {"bandwidth_share", model.bandwidth_share}};
}

Json model_to_json(const GemmModel& model) {
  Json out = roofline_to_json(model);
  if (!model.tiling.tiles.empty()) out["tiling"] = tiling_to_json(model.tiling);
  put_table("correction", model.correction, &out);
  put_table("unaligned", model.unaligned, &out);
  if (!model.large.empty()) {
    out["large_flops"] = model.large_flops;
    put_table("large", model.large, &out);
  }
  return out;
}

Json model_to_json(const AttentionModel& model) {
  Json out = roofline_to_json(model);
  put_table("correction", model.correction, &out);
  put_table("grouping", model.grouping, &out);
  if (model.cache_passes > 0) out["cache_passes"] = model.cache_passes;
  return out;
}

Json quantise_to_json(const QuantiseModel& model) {
  Json out = {{"floor_s", model.floor_s},
              {"block_s", model.block_s},
              {"rows_at_once", model.rows_at_once},
              {"row_s", model.row_s},
              {"block_columns", model.block_columns}};
  put_table("correction", model.correction, &out);
  return out;
}

// {"bf16": {"forward": model, ...}}: for each data type a model of the first of `names`, and of
// others as far as they are measured.
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
    for (size_t i = 0; i < kCount; ++i) {
      models[i] = i == 0 || fields.has(names[i]) ? &fields.object(names[i]) : nullptr;
    }
    if (auto error = fields.finish()) return error;
    for (size_t i = 0; i < kCount; ++i) {
      if (models[i] == nullptr) continue;
      auto& model = (*out)[type].at(i).emplace();
      if (auto error = read_model(*models[i], file, path + "." + names[i], &model)) return error;
    }
  }
  return std::nullopt;
}

template <typename Models, size_t kCount>
Json models_to_json(const Models& models, const std::array<const char*, kCount>& names) {
  Json out = Json::object();
  for (const auto& [type, by_name] : models) {
    Json one = Json::object();
    for (size_t i = 0; i < kCount; ++i) {
      if (by_name[i]) one[names[i]] = model_to_json(*by_name[i]);
    }
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
  const Json* quantise = fields.has("quantise") ? &fields.object("quantise") : nullptr;
  const Json& passes = fields.object("passes");
  if (auto error = fields.finish()) return error;
  if (auto error = read_models(gemm, file, field + ".gemm", layout_names(), &out->gemm)) {
    return error;
  }
  if (auto error =
          read_models(attention, file, field + ".attention", kDirections, &out->attention)) {
    return error;
  }
  if (quantise != nullptr) {
    QuantiseModel& model = out->quantise.emplace();
    if (auto error = read_quantise(*quantise, file, field + ".quantise", &model)) return error;
  }
  return read_passes(passes, file, field + ".passes", out);
}

Json to_json(const RateSet& rates) {
  Json passes = Json::object();
  for (const auto& [kind, curve] : rates.passes) passes[name_of(kind)] = to_json(curve);
  Json out = {{"active_ranks", rates.active_ranks},
              {"gemm", models_to_json(rates.gemm, layout_names())},
              {"attention", models_to_json(rates.attention, kDirections)}};
  if (rates.quantise) out["quantise"] = quantise_to_json(*rates.quantise);
  out["passes"] = passes;
  return out;
}

}  // namespace shardwright
