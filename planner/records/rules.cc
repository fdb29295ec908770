#include "planner/records/rules.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

namespace shardwright {

struct RuleList::Rule {
  Json conditions, then;
  std::string reason;
};

namespace {

constexpr const char* kSchema = "shardwright.rules/1";

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

// The text fields that conditions may name; nullptr for another name.
const std::string* field_of(const Record& r, const std::string& name) {
  if (name == "source") return &r.source;
  if (name == "where") return &r.where;
  if (name == "framework") return &r.framework;
  if (name == "convention") return &r.convention;
  if (name == "notes") return &r.notes;
  if (name == "id") return &r.id;
  if (name == "model") return &r.model.name;
  if (name == "family") return &r.model.family;
  if (name == "gpu") return &r.cluster.gpu;
  if (name == "intra") return &r.cluster.intra;
  if (name == "inter") return &r.cluster.inter;
  if (name == "precision") return &r.precision;
  if (name == "recompute") return &r.recompute;
  return nullptr;
}

bool contains_any(const std::string& text, const Json& wanted) {
  const std::string haystack = lower(text);
  const auto holds = [&](const Json& one) {
    return haystack.find(lower(one.get<std::string>())) != std::string::npos;
  };
  if (wanted.is_string()) return holds(wanted);
  return std::any_of(wanted.begin(), wanted.end(), holds);
}

bool facts_hold(const Record& record, const Json& wanted) {
  for (const auto& item : wanted.items()) {
    const std::string& value = record.fact(item.key());
    const bool absent = item.value().is_string() && item.value().get<std::string>().empty();
    if (absent ? !value.empty() : value.empty() || !contains_any(value, item.value())) return false;
  }
  return true;
}

bool all_missing(const Record& record, const Json& wanted) {
  for (const Json& name : wanted) {
    const std::string field = name.get<std::string>();
    if (field == "vpp" && record.parallel.vpp) return false;
    if (field == "micro" && record.micro_batch) return false;
    if (field == "ep" && record.parallel.ep) return false;
  }
  return true;
}

bool number_holds(const Record& r, const std::string& key, double bound) {
  const double pp = static_cast<double>(r.parallel.pp.value_or(1));
  const double tp = static_cast<double>(r.parallel.tp.value_or(1));
  if (key == "year_from") return static_cast<double>(r.year) >= bound;
  if (key == "year_to") return static_cast<double>(r.year) <= bound;
  if (key == "gpus_from") return static_cast<double>(r.cluster.gpus) >= bound;
  if (key == "gpus_to") return static_cast<double>(r.cluster.gpus) <= bound;
  if (key == "tp_from") return tp >= bound;
  if (key == "tp_to") return tp <= bound;
  return pp >= bound;  // pp_from
}

bool holds(const Record& r, const std::string& key, const Json& wanted) {
  if (key == "fact") return facts_hold(r, wanted);
  if (key == "missing") return all_missing(r, wanted);
  if (key == "moe") return r.model.moe.has_value() == wanted.get<bool>();
  if (key == "multi_node") {
    return (r.cluster.gpus > r.cluster.gpus_per_node) == wanted.get<bool>();
  }
  if (key.starts_with("no_")) return !contains_any(*field_of(r, key.substr(3)), wanted);
  if (const std::string* field = field_of(r, key)) return contains_any(*field, wanted);
  return number_holds(r, key, wanted.get<double>());
}

bool is_texts(const Json& value) {
  if (value.is_string()) return true;
  return value.is_array() &&
         std::all_of(value.begin(), value.end(), [](const Json& one) { return one.is_string(); });
}

bool valid_condition(const std::string& key, const Json& value) {
  static const std::set<std::string> kNumbers = {"year_from", "year_to", "gpus_from", "gpus_to",
                                                 "tp_from",   "tp_to",   "pp_from"};
  if (key == "fact") {
    return value.is_object() &&
           std::all_of(value.begin(), value.end(), [](const Json& v) { return is_texts(v); });
  }
  if (key == "missing") return value.is_array() && is_texts(value);
  if (key == "moe" || key == "multi_node") return value.is_boolean();
  if (kNumbers.count(key) > 0) return value.is_number();
  const Record none;
  const bool text = field_of(none, key.starts_with("no_") ? key.substr(3) : key) != nullptr;
  return text && is_texts(value);
}

std::optional<Error> check_rule(const Json& conditions, const Json& then, const std::string& file,
                                const std::string& at, const std::vector<const char*>& allowed) {
  for (const auto& item : conditions.items()) {
    if (valid_condition(item.key(), item.value())) continue;
    return Error{file, at + ".if." + printable(item.key()), quote(item.value()),
                 "a known condition with a value of its kind"};
  }
  for (const auto& item : then.items()) {
    if (std::any_of(allowed.begin(), allowed.end(),
                    [&](const char* key) { return item.key() == key; })) {
      continue;
    }
    return Error{file, at + ".then." + printable(item.key()), "an unknown key", "only known keys"};
  }
  return std::nullopt;
}

}  // namespace

RuleList::RuleList() = default;
RuleList::~RuleList() = default;
RuleList::RuleList(RuleList&&) noexcept = default;
RuleList& RuleList::operator=(RuleList&&) noexcept = default;

Result<RuleList> RuleList::load(const std::string& path, const std::vector<const char*>& allowed,
                                const std::string& last_key) {
  const Result<Json> json = read_json_file(path);
  if (!json) return json.error();
  Fields fields(*json, path);
  if (fields.text("schema") != kSchema && !fields.error()) {
    fields.fail("schema", "another one", kSchema);
  }
  const Json& rules = fields.array("rules");
  if (auto error = fields.finish()) return *error;
  RuleList list;
  list.last_key_ = last_key;
  for (const Json& entry : rules) {
    const std::string at = "rules[" + std::to_string(list.rules_.size()) + "]";
    Fields rule(entry, path, at + ".");
    Rule read{rule.object("if"), rule.object("then"), rule.text("reason")};
    if (auto error = rule.finish()) return *error;
    if (auto error = check_rule(read.conditions, read.then, path, at, allowed)) return *error;
    list.rules_.push_back(std::move(read));
  }
  return list;
}

const RuleList::Rule* RuleList::first(const Record& record) const {
  const std::vector<const Rule*> found = all(record);
  return found.empty() ? nullptr : found.front();
}

std::vector<const RuleList::Rule*> RuleList::all(const Record& record) const {
  std::vector<const Rule*> found;
  for (const Rule& rule : rules_) {
    bool every = true;
    for (const auto& item : rule.conditions.items()) {
      every = every && holds(record, item.key(), item.value());
    }
    if (!every) continue;
    found.push_back(&rule);
    if (!last_key_.empty() && rule.then.contains(last_key_)) break;
  }
  return found;
}

std::string RuleList::text(const Record& record, const std::string& key) const {
  for (const Rule* rule : all(record)) {
    if (rule->then.contains(key)) return text_of(*rule, key);
  }
  return "";
}

std::optional<double> RuleList::number(const Record& record, const std::string& key) const {
  for (const Rule* rule : all(record)) {
    if (rule->then.contains(key)) return number_of(*rule, key);
  }
  return std::nullopt;
}

std::vector<std::string> RuleList::texts(const Record& record, const std::string& key) const {
  for (const Rule* rule : all(record)) {
    if (!rule->then.contains(key)) continue;
    const Json& value = rule->then[key];
    if (value.is_string()) return {value.get<std::string>()};
    if (!is_texts(value)) return {};
    return value.get<std::vector<std::string>>();
  }
  return {};
}

const std::string& RuleList::reason_of(const Rule& rule) { return rule.reason; }

std::string RuleList::text_of(const Rule& rule, const std::string& key) {
  const auto found = rule.then.find(key);
  return found != rule.then.end() && found->is_string() ? found->get<std::string>() : "";
}

std::optional<double> RuleList::number_of(const Rule& rule, const std::string& key) {
  const auto found = rule.then.find(key);
  if (found == rule.then.end() || !found->is_number()) return std::nullopt;
  return found->get<double>();
}

size_t RuleList::size() const { return rules_.size(); }

}  // namespace shardwright
