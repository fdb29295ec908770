#include "planner/search/constraints.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "costmodel/check.h"
#include "costmodel/json.h"
#include "costmodel/split.h"
#include "planner/plan.h"
#include "planner/search/layer_limits.h"

namespace shardwright {
namespace {

constexpr const char* kCommandLine = "command line";
constexpr int64_t kLargest = int64_t{1} << 30;
constexpr std::array<const char*, 12> kNumbers = {"dp",
                                                  "tp",
                                                  "pp",
                                                  "cp",
                                                  "ep",
                                                  "etp",
                                                  "virtual_stages",
                                                  "micro_batch",
                                                  "zero",
                                                  "shard_group",
                                                  "recompute_layers",
                                                  "schedule_cap"};
constexpr std::array<const char*, 8> kSwitches = {
    "sequence_parallel", "overlap_gradients", "overlap_parameters", "overlap_tensor",
    "overlap_pipeline",  "overlap_experts",   "optimizer_offload",  "unlike_batches"};
constexpr const char* kLayers = "stage_layers";
constexpr const char* kNames =
    "dp, tp, pp, cp, ep, etp, virtual_stages, stage_layers, micro_batch, zero, shard_group, "
    "recompute_layers, schedule, schedule_cap, recompute, cp_kind, rank_order, sequence_parallel, "
    "overlap_gradients, overlap_parameters, overlap_tensor, overlap_pipeline, overlap_experts, "
    "optimizer_offload, activation_offload or unlike_batches";

const char* word(ConstraintKind kind) {
  switch (kind) {
    case ConstraintKind::kPin:
      return "pin";
    case ConstraintKind::kBan:
      return "ban";
    case ConstraintKind::kMin:
      return "min";
    case ConstraintKind::kMax:
      return "max";
  }
  return "?";
}

template <typename Names>
bool holds(const Names& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

bool parse_number(const std::string& text, int64_t* out) {
  const char* end = text.data() + text.size();
  const auto [stop, status] = std::from_chars(text.data(), end, *out);
  return status == std::errc() && stop == end && *out >= 0 && *out <= kLargest;
}

// "none", "full", "selective", or a set of modules: "core_attn+layernorm".
bool is_recompute(const std::string& text) {
  Recompute mode{};
  if (parse_recompute(text, &mode)) return true;
  for (size_t start = 0; start <= text.size();) {
    const size_t end = std::min(text.find('+', start), text.size());
    uint32_t bit = 0;
    if (!parse_module(text.substr(start, end - start), &bit)) return false;
    start = end + 1;
  }
  return true;
}

std::string expected_number(const std::string& value) {
  int64_t number = 0;
  return parse_number(value, &number) ? "" : "a whole number";
}

// What is wrong with a value, as what was expected; "" when nothing is.
std::string expected(const std::string& name, const std::string& value) {
  if (holds(kNumbers, name)) return expected_number(value);
  if (holds(kSwitches, name)) return value == "true" || value == "false" ? "" : "true or false";
  if (name == "schedule") {
    ScheduleKind kind{};
    return parse_schedule(value, &kind) ? "" : schedule_names();
  }
  if (name == "cp_kind") {
    CpKind kind{};
    return parse_cp_kind(value, &kind) ? "" : "ring or all_to_all";
  }
  if (name == "activation_offload") {
    const bool known = std::any_of(std::begin(kOffloadShares), std::end(kOffloadShares),
                                   [&](const OffloadShare& one) { return value == one.name; });
    return known ? "" : "0, 0.5 or 1";
  }
  if (name == "rank_order") {
    RankOrder order{};
    return parse_rank_order(value, &order) ? "" : "tp-cp-dp-pp or tp-cp-pp-dp";
  }
  if (name == kLayers) {
    return parse_layers(value).empty() ? "layers of every chunk, e.g. 3+4x6+3" : "";
  }
  return is_recompute(value) ? "" : "none, full, selective, or modules as in core_attn+layernorm";
}

std::vector<std::string> split_values(const std::string& text) {
  std::vector<std::string> values;
  for (size_t start = 0; start <= text.size();) {
    const size_t end = std::min(text.find('|', start), text.size());
    values.push_back(text.substr(start, end - start));
    start = end + 1;
  }
  return values;
}

bool known_name(const std::string& name) {
  return holds(kNumbers, name) || holds(kSwitches, name) || name == "schedule" ||
         name == "recompute" || name == "cp_kind" || name == "rank_order" ||
         name == "activation_offload" || name == kLayers;
}

}  // namespace

std::optional<Error> Constraints::add(ConstraintKind kind, const std::string& text) {
  const size_t equals = text.find('=');
  const std::string name = text.substr(0, equals);
  if (equals == std::string::npos || !known_name(name)) {
    return Error{kCommandLine, word(kind), '"' + printable(text) + '"',
                 std::string("NAME=VALUE with ") + kNames};
  }
  const std::string field = std::string(word(kind)) + " " + name;
  Rule rule{kind, split_values(text.substr(equals + 1)), 0};
  const bool bounds = kind == ConstraintKind::kMin || kind == ConstraintKind::kMax;
  if (name == kLayers && kind == ConstraintKind::kBan) {
    return Error{kCommandLine, field, '"' + printable(text) + '"', "a pin, or a min or max of it"};
  }
  for (std::string& value : rule.values) {
    const bool number = bounds && name == kLayers;
    const std::string wanted = number ? expected_number(value) : expected(name, value);
    if (!wanted.empty()) return Error{kCommandLine, field, '"' + printable(value) + '"', wanted};
    if (name == kLayers && !bounds) value = layers_text(parse_layers(value));
  }
  if (bounds) {
    if ((!holds(kNumbers, name) && name != kLayers) || rule.values.size() != 1) {
      return Error{kCommandLine, field, '"' + printable(text) + '"', "a choice that is a number"};
    }
    parse_number(rule.values.front(), &rule.limit);
  }
  const auto [first, last] = rules_.equal_range(name);
  const bool twice = std::any_of(first, last, [&](const auto& entry) {
    return entry.second.kind == kind && kind != ConstraintKind::kBan;
  });
  if (twice) {
    return Error{kCommandLine, field, "a second value, " + text.substr(equals + 1),
                 "each choice given once"};
  }
  rules_.emplace(name, std::move(rule));
  return std::nullopt;
}

void Constraints::narrow(const std::string& name, const std::string& value) {
  SW_CHECK(known_name(name) && expected(name, value).empty(), "a choice: " << name << "=" << value);
  rules_.emplace(name, Rule{ConstraintKind::kPin, {value}, 0});
}

bool Constraints::allows(const std::string& name, const std::string& value) const {
  const auto [first, last] = rules_.equal_range(name);
  return std::all_of(first, last, [&](const auto& entry) {
    const Rule& rule = entry.second;
    int64_t number = 0;
    switch (rule.kind) {
      case ConstraintKind::kPin:
        return holds(rule.values, value);
      case ConstraintKind::kBan:
        return !holds(rule.values, value);
      case ConstraintKind::kMin:
        return !parse_number(value, &number) || number >= rule.limit;
      case ConstraintKind::kMax:
        return !parse_number(value, &number) || number <= rule.limit;
    }
    return true;
  });
}

bool Constraints::allows(const std::string& name, int64_t value) const {
  return rules_.empty() || allows(name, std::to_string(value));
}

std::vector<int64_t> Constraints::allowed(const std::string& name,
                                          const std::vector<int64_t>& values) const {
  if (rules_.count(name) == 0) return values;
  std::vector<int64_t> out;
  for (int64_t value : values) {
    if (allows(name, value)) out.push_back(value);
  }
  return out;
}

std::vector<std::string> Constraints::names() const {
  std::vector<std::string> out;
  for (const auto& [name, rule] : rules_) {
    if (out.empty() || out.back() != name) out.push_back(name);
  }
  return out;
}

std::optional<std::vector<std::string>> Constraints::pins_of(const std::string& name) const {
  const auto [first, last] = rules_.equal_range(name);
  for (auto entry = first; entry != last; ++entry) {
    if (entry->second.kind != ConstraintKind::kPin) continue;
    std::vector<std::string> out;
    for (const std::string& value : entry->second.values) {
      if (allows(name, value)) out.push_back(value);
    }
    return out;
  }
  return std::nullopt;
}

std::optional<int64_t> Constraints::bound(ConstraintKind kind, const std::string& name) const {
  const auto [first, last] = rules_.equal_range(name);
  for (auto entry = first; entry != last; ++entry) {
    if (entry->second.kind == kind) return entry->second.limit;
  }
  return std::nullopt;
}

std::string Constraints::stuck_switch() const {
  for (const char* name : kSwitches) {
    if (!allows(name, true) && !allows(name, false)) return name;
  }
  return "";
}

std::optional<std::string> Constraints::pinned(const std::string& name) const {
  const auto [first, last] = rules_.equal_range(name);
  for (auto entry = first; entry != last; ++entry) {
    if (entry->second.kind == ConstraintKind::kPin && entry->second.values.size() == 1) {
      return entry->second.values.front();
    }
  }
  return std::nullopt;
}

}  // namespace shardwright
