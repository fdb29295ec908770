#include "planner/search/plan_limits.h"

#include <iomanip>
#include <nlohmann/json.hpp>
#include <sstream>

namespace shardwright {
namespace {

constexpr int64_t kMaxBytes = int64_t{1} << 50;  // of a device; far beyond any

// Calls each(kind, name, texts) for every list of constraints.
template <typename Limits, typename Each>
void for_each_list(Limits&& limits, Each&& each) {
  each(ConstraintKind::kPin, "pin", limits.pins);
  each(ConstraintKind::kBan, "ban", limits.bans);
  each(ConstraintKind::kMin, "min", limits.mins);
  each(ConstraintKind::kMax, "max", limits.maxs);
}

std::vector<std::string> read_texts(Fields* fields, const char* name) {
  std::vector<std::string> out;
  if (!fields->has(name)) return out;
  for (const Json& text : fields->array(name)) {
    if (!text.is_string()) {
      fields->fail(name, quote(text), "a list of texts, e.g. [\"tp=2\"]");
      return {};
    }
    out.push_back(text.get<std::string>());
  }
  return out;
}

}  // namespace

std::string PlanLimits::line() const {
  std::ostringstream out;
  const auto add = [&](const std::string& name, const std::string& value) {
    out << (out.tellp() > 0 ? " --" : "--") << name << " " << value;
  };
  for_each_list(*this, [&](ConstraintKind, const char* name, const auto& texts) {
    for (const std::string& text : texts) add(name, printable(text));
  });
  if (!framework.empty()) add("for", printable(framework));
  if (memory_limit > 0) {
    std::ostringstream gib;
    gib << std::setprecision(4) << static_cast<double>(memory_limit) / (1 << 30) << " GiB";
    add("memory-limit", gib.str());
  }
  return out.str();
}

Result<Constraints> PlanLimits::constraints() const {
  Constraints out;
  std::optional<Error> failed;
  for_each_list(*this, [&](ConstraintKind kind, const char*, const auto& texts) {
    for (const std::string& text : texts) {
      if (!failed) failed = out.add(kind, text);
    }
  });
  if (failed) return *failed;
  return out;
}

std::optional<Error> limit(const PlanLimits& limits, SpaceRequest* request) {
  Result<Constraints> constraints = limits.constraints();
  if (!constraints) return constraints.error();
  request->constraints = *std::move(constraints);
  request->headroom = limits.headroom;
  request->memory_limit = limits.memory_limit;
  return std::nullopt;
}

Json to_json(const PlanLimits& limits) {
  Json json = Json::object();
  for_each_list(limits, [&](ConstraintKind, const char* name, const auto& texts) {
    if (!texts.empty()) json[name] = texts;
  });
  if (!limits.framework.empty()) json["for"] = limits.framework;
  json["headroom"] = limits.headroom;
  if (limits.memory_limit > 0) json["memory_limit_bytes"] = limits.memory_limit;
  return json;
}

Result<PlanLimits> read_limits(const Json& json, const std::string& file,
                               const std::string& prefix) {
  Fields fields(json, file, prefix);
  PlanLimits out;
  for_each_list(out, [&](ConstraintKind, const char* name, auto& texts) {
    texts = read_texts(&fields, name);
  });
  out.framework = fields.text_or("for", "");
  out.headroom = fields.number_or("headroom", out.headroom, 0, 1);
  if (!fields.error() && out.headroom == 1) fields.fail("headroom", "1", "from 0 to below 1");
  out.memory_limit = fields.integer_or("memory_limit_bytes", 0, 1, kMaxBytes);
  if (auto error = fields.finish()) return *error;
  const Result<Constraints> constraints = out.constraints();
  if (constraints.ok()) return out;
  Error error = constraints.error();
  error.file = file;
  error.field = prefix + error.field;
  return error;
}

}  // namespace shardwright
