#include <nlohmann/json.hpp>

#include "costmodel/device_profile.h"
#include "costmodel/profile_json.h"
#include "costmodel/rates_json.h"

namespace shardwright {
namespace {

constexpr const char* kSchema = "shardwright.device/1";
constexpr double kMaxRate = 1e21;  // FLOP/s and bytes/s: far above any device, far below overflow

std::optional<Error> read_peaks(const Json& json, const std::string& file, const std::string& field,
                                DeviceProfile* out) {
  Fields fields(json, file, field + ".");
  for (DataType type :
       {DataType::kFp32, DataType::kBf16, DataType::kFp16, DataType::kFp8, DataType::kNvfp4}) {
    if (!fields.has(name_of(type))) continue;
    out->peak_flops_per_s[type] = fields.number(name_of(type), 1, kMaxRate);
  }
  if (auto error = fields.finish()) return error;
  if (!out->peak_flops_per_s.empty()) return std::nullopt;
  return Error{file, field, "no data type", "a peak for at least one of fp32, bf16, fp16, fp8"};
}

std::optional<Error> read_link(const Json& json, const std::string& file, const std::string& field,
                               UsualLink* out) {
  Fields fields(json, file, field + ".");
  out->name = fields.text("name");
  const std::string scope = fields.text("scope");
  if (scope != "node" && scope != "network") fields.fail("scope", quote(scope), "node or network");
  out->network = scope == "network";
  out->bytes_per_s = kGigabyte * fields.number("gb_per_s", 1e-9, 1e9);
  out->latency_s = kPerMicrosecond * fields.number("latency_us", 0, 1e9);
  out->topology = fields.text("topology");
  const Json& curves = fields.has("curves") ? fields.array("curves") : Json::array();
  if (auto error = fields.finish()) return error;
  return read_collective_curves(curves, file, field + ".curves", &out->curves);
}

std::optional<Error> read_links(const Json& json, const std::string& file, const std::string& field,
                                DeviceProfile* out) {
  for (size_t i = 0; i < json.size(); ++i) {
    UsualLink link;
    const std::string path = element(field, i);
    if (auto error = read_link(json[i], file, path, &link)) return error;
    for (const UsualLink& other : out->links) {
      if (other.network != link.network) continue;
      return Error{file, path + ".scope", "a second link of this scope",
                   "at most one inside a node and one of the network"};
    }
    out->links.push_back(std::move(link));
  }
  return std::nullopt;
}

// A share of a peak means nothing without the peak.
template <typename Models>
std::optional<Error> require_peaks(const Models& models, const std::string& file,
                                   const std::string& field, const DeviceProfile& device) {
  for (const auto& [type, unused] : models) {
    if (device.peak_flops_per_s.count(type) > 0) continue;
    return Error{file, field + "." + name_of(type), "a data type without a peak",
                 std::string("peak_flops_per_s.") + name_of(type)};
  }
  return std::nullopt;
}

std::optional<Error> read_rates(const Json& json, const std::string& file, const std::string& field,
                                DeviceProfile* out) {
  if (json.empty()) return Error{file, field, "an empty list", "at least one set of rates"};
  for (size_t i = 0; i < json.size(); ++i) {
    RateSet set;
    const std::string path = element(field, i);
    if (auto error = read_rate_set(json[i], file, path, &set)) return error;
    if (!out->rates.empty() && set.active_ranks <= out->rates.back().active_ranks) {
      return Error{file, path + ".active_ranks", std::to_string(set.active_ranks),
                   "active_ranks that ascend"};
    }
    if (auto error = require_peaks(set.gemm, file, path + ".gemm", *out)) return error;
    if (auto error = require_peaks(set.attention, file, path + ".attention", *out)) return error;
    out->rates.push_back(std::move(set));
  }
  return std::nullopt;
}

Json link_to_json(const UsualLink& link) {
  Json out = {{"name", link.name},
              {"scope", link.network ? "network" : "node"},
              {"gb_per_s", in_unit(link.bytes_per_s, kGigabyte)},
              {"latency_us", in_unit(link.latency_s, kPerMicrosecond)},
              {"topology", link.topology}};
  if (!link.curves.empty()) out["curves"] = to_json(link.curves);
  return out;
}

// Names of DeviceFactors in the order of the file.
struct FactorField {
  const char* name;
  StatedFactor DeviceFactors::*field;
};
constexpr FactorField kFactors[] = {{"sustained", &DeviceFactors::sustained},
                                    {"gemm", &DeviceFactors::gemm},
                                    {"attention", &DeviceFactors::attention},
                                    {"input_grad", &DeviceFactors::input_grad},
                                    {"weight_grad", &DeviceFactors::weight_grad},
                                    {"attention_backward", &DeviceFactors::attention_backward}};

std::optional<Error> read_factors(const Json& json, const std::string& file,
                                  const std::string& field, DeviceFactors* out) {
  Fields fields(json, file, field + ".");
  for (const FactorField& factor : kFactors) {
    if (!fields.has(factor.name)) continue;
    Fields one(fields.object(factor.name), file, field + "." + factor.name + ".");
    (out->*factor.field).value = one.number("value", 1e-3, 1e3);
    (out->*factor.field).source = one.text("source");
    if (auto error = one.finish()) return error;
  }
  return fields.finish();
}

Json factors_to_json(const DeviceFactors& factors) {
  Json out = Json::object();
  for (const FactorField& factor : kFactors) {
    const StatedFactor& stated = factors.*factor.field;
    if (stated.source.empty()) continue;
    out[factor.name] = {{"value", stated.value}, {"source", stated.source}};
  }
  return out;
}

std::optional<Error> read_power(const Json& json, const std::string& file, const std::string& field,
                                StatedPower* out) {
  Fields fields(json, file, field + ".");
  out->watts = fields.number("watts", 1e-3, 1e6);
  out->source = fields.text("source");
  return fields.finish();
}

std::optional<Error> read_host_link(const Json& json, const std::string& file,
                                    const std::string& field, StatedHostLink* out) {
  Fields fields(json, file, field + ".");
  out->bytes_per_s = 1e9 * fields.number("gb_per_s", 1e-3, 1e6);
  out->source = fields.text("source");
  return fields.finish();
}

// The plain fields; the parts with structure are read by the functions above.
void read_scalars(Fields* fields, DeviceProfile* out) {
  const std::string schema = fields->text("schema");
  if (schema != kSchema) fields->fail("schema", quote(schema), kSchema);
  out->name = fields->text("name");
  if (!is_plain_name(out->name)) {
    fields->fail("name", quote(out->name), "letters, digits, '.', '_' and '-'");
  }
  out->source = fields->text("source");
  out->memory_bytes = fields->integer("memory_bytes", 1, int64_t{1} << 50);
  out->memory_bytes_per_s = fields->number("memory_bytes_per_s", 1, kMaxRate);
  out->processors = fields->integer_or("processors", 0, 1, int64_t{1} << 20);
  out->launch_s = fields->number("launch_s", 0, 1);
  out->pass_floor_s = fields->number("pass_floor_s", 0, 1);
  out->pass_bandwidth_share = fields->number("pass_bandwidth_share", 1e-9, 1e3);
  out->overlaps_communication = fields->boolean("overlaps_communication");
}

}  // namespace

Result<DeviceProfile> read_device_profile(const Json& json, const std::string& file,
                                          const std::string& prefix) {
  DeviceProfile out;
  Fields fields(json, file, prefix);
  read_scalars(&fields, &out);
  const Json& peaks = fields.object("peak_flops_per_s");
  const Json links = fields.has("links") ? fields.array("links") : Json::array();
  const Json factors = fields.has("factors") ? fields.object("factors") : Json::object();
  const Json power = fields.has("power") ? fields.object("power") : Json();
  const Json host_link = fields.has("host_link") ? fields.object("host_link") : Json();
  const Json& rates = fields.array("rates");
  if (auto error = fields.finish()) return *error;
  if (!power.is_null()) {
    if (auto error = read_power(power, file, prefix + "power", &out.power)) return *error;
  }
  if (!host_link.is_null()) {
    const std::string field = prefix + "host_link";
    if (auto error = read_host_link(host_link, file, field, &out.host_link)) return *error;
  }
  if (auto error = read_peaks(peaks, file, prefix + "peak_flops_per_s", &out)) return *error;
  if (auto error = read_links(links, file, prefix + "links", &out)) return *error;
  if (auto error = read_factors(factors, file, prefix + "factors", &out.factors)) return *error;
  if (auto error = read_rates(rates, file, prefix + "rates", &out)) return *error;
  return out;
}

Json to_json(const DeviceProfile& profile) {
  Json peaks = Json::object();
  for (const auto& [type, peak] : profile.peak_flops_per_s) peaks[name_of(type)] = peak;
  Json out = {{"schema", kSchema},
              {"name", profile.name},
              {"source", profile.source},
              {"memory_bytes", profile.memory_bytes},
              {"memory_bytes_per_s", profile.memory_bytes_per_s},
              {"peak_flops_per_s", peaks},
              {"launch_s", profile.launch_s},
              {"pass_floor_s", profile.pass_floor_s},
              {"pass_bandwidth_share", profile.pass_bandwidth_share},
              {"overlaps_communication", profile.overlaps_communication}};
  if (profile.power.watts > 0) {
    out["power"] = {{"watts", profile.power.watts}, {"source", profile.power.source}};
  }
  if (!profile.host_link.source.empty()) {
    out["host_link"] = {{"gb_per_s", profile.host_link.bytes_per_s / 1e9},
                        {"source", profile.host_link.source}};
  }
  if (profile.processors > 0) out["processors"] = profile.processors;
  for (const UsualLink& link : profile.links) out["links"].push_back(link_to_json(link));
  const Json factors = factors_to_json(profile.factors);
  if (!factors.empty()) out["factors"] = factors;
  for (const RateSet& rates : profile.rates) out["rates"].push_back(to_json(rates));
  return out;
}

}  // namespace shardwright
