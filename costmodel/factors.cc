#include "costmodel/factors.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "costmodel/check.h"

namespace shardwright {
namespace {

constexpr FactorOwner kDevice = FactorOwner::kDevice;
constexpr FactorOwner kLink = FactorOwner::kInterconnect;
constexpr FactorOwner kStack = FactorOwner::kStack;

// `usual` and `spread` are where a fit begins and how far it moves unasked: priors from a first,
// coarse fit to the published runs. The refit over all of them (tools/refit_stacks.sh) replaces
// both.
constexpr std::array<FactorInfo, kNumFactors> kInfos = {{
    {"gemm", kDevice, "x", 1, 1.2, 0.15, 0.9, 2.2,
     "time of long runs over short benchmarks: clocks under power, layouts of the gradients"},
    {"fp8_gemm", kDevice, "x", 1, 1.2, 0.2, 0.6, 2.5, "the same for fp8 and nvfp4 products"},
    {"attention", kDevice, "x", 1, 1.4, 0.2, 0.7, 3,
     "the same for attention; its gradient is not in the operator data"},
    {"flash_2", kDevice, "x", 1, 1.7, 0.2, 0.9, 3,
     "time of FlashAttention 2 over the device's own attention kernels, on devices with fp8 units, "
     "which came after it: 1.5-2 times on the H100 (FlashAttention-3, arXiv 2407.08608)"},
    {"unaligned", kDevice, "x", 1, 4, 0.4, 1, 12,
     "products with a width that is no multiple of 8 leave the tensor cores"},
    {"unaligned_batch", kDevice, "x", 1, 8, 0.4, 1, 20,
     "the same for the batched products of unfused attention: head sizes"},
    {"node_link", kDevice, "x", 1, 1.1, 0.2, 0.8, 3, "collectives inside a node beside other work"},
    {"network", kLink, "x", 1, 1.3, 0.7, 0.9, 12, "time on the network over its nominal rate"},
    {"skew", kLink, "share per doubling of nodes", 0, 0.006, 0.7, 0.0005, 0.06,
     "waiting for the slowest node; 1.4-4 % a doubling are seen"},
    {"pace", kStack, "x", 1, 1, 0.08, 0.7, 1.6,
     "the whole step over its parts: clocks of the site, jitter, gaps between kernels"},
    {"pass", kStack, "x", 1, 1.8, 0.5, 0.6, 7,
     "memory traffic over the least: eager kernels, casts, dropout, transposes"},
    {"stack_attention", kStack, "x", 1, 1, 0.25, 0.6, 3, "generation of the attention kernel"},
    {"special_attention", kStack, "x", 1, 1.3, 0.4, 0.7, 5,
     "attention with latent heads or sinks, whose kernels are younger than the plain ones"},
    {"quantise", kStack, "x", 1, 2, 0.5, 0.5, 12, "casts to fp8 over their least traffic"},
    {"permute", kStack, "x", 1, 2, 0.5, 0.7, 10, "traffic of dispatch and combine over the least"},
    {"host_step", kStack, "s per step", 0, 2e-5, 0.7, 1e-6, 2e-4,
     "time of the host to launch a step's kernels"},
    {"host_moe", kStack, "s per layer and pass", 0, 2e-3, 1.0, 5e-5, 2e-2,
     "the host's part in routing: counts, sorting, waiting for the device"},
    {"drag", kStack, "share", 0, 0.2, 0.5, 0.02, 1,
     "of hidden communication, what it costs the compute beside it"},
    {"message", kStack, "x", 1, 1.5, 0.7, 0.5, 12, "messages between stages over the nominal rate"},
    {"member", kStack, "s per replica", 0, 1e-4, 1.0, 1e-6, 6e-3,
     "broadcasts of the sharded optimizer, one for every shard"},
    {"fixed", kStack, "s per training step", 0, 0.03, 1.0, 1e-3, 0.5,
     "optimizer launches, gradient clipping, logging, data"},
}};

// Of the spread between owners, how much is left within a family; the rest is between families. A
// start that the refit replaces: (0.6, 0.8) has the length 1.
constexpr double kWithinShare = 0.6;

}  // namespace

const char* name_of(FactorOwner owner) {
  return owner == kDevice ? "device" : owner == kLink ? "interconnect" : "stack";
}

const std::array<FactorInfo, kNumFactors>& factor_infos() { return kInfos; }
const FactorInfo& info_of(Factor factor) { return kInfos.at(static_cast<size_t>(factor)); }

Factors neutral_factors() {
  Factors factors{};
  for (size_t i = 0; i < kNumFactors; ++i) factors.values[i] = kInfos[i].neutral;
  return factors;
}

FactorTable::FactorTable() {
  for (size_t i = 0; i < kNumFactors; ++i) {
    usual[i] = kInfos[i].usual;
    spread[i] = kInfos[i].spread;
    within[i] = kInfos[i].spread * kWithinShare;
  }
}

const std::string& FactorTable::family_of(FactorOwner kind, const std::string& owner) const {
  static const std::string kNone;
  const auto& families = family[static_cast<size_t>(kind)];
  const auto found = families.find(owner);
  return found == families.end() ? kNone : found->second;
}

namespace {

std::optional<double> find_value(const FactorTable::Values& values, const std::string& owner,
                                 Factor factor) {
  const auto found = values.find(owner);
  if (found == values.end()) return std::nullopt;
  const auto value = found->second.find(factor);
  if (value == found->second.end()) return std::nullopt;
  return value->second;
}

}  // namespace

double FactorTable::value(Factor factor, const std::string& owner) const {
  const FactorOwner kind = info_of(factor).owner;
  const Values& values = of[static_cast<size_t>(kind)];
  if (const auto own = find_value(values, owner, factor)) return *own;
  return find_value(values, family_of(kind, owner), factor)
      .value_or(usual[static_cast<size_t>(factor)]);
}

double FactorTable::doubt(Factor factor, const std::string& owner) const {
  const FactorOwner kind = info_of(factor).owner;
  const Values& values = uncertainty[static_cast<size_t>(kind)];
  if (const auto own = find_value(values, owner, factor)) return *own;
  const auto of_family = find_value(values, family_of(kind, owner), factor);
  const auto i = static_cast<size_t>(factor);
  return of_family ? std::hypot(*of_family, within[i]) : spread[i];
}

Factors FactorTable::resolve(const std::string& device, const std::string& interconnect,
                             const std::string& stack) const {
  const std::array<const std::string*, 3> owners = {&device, &interconnect, &stack};
  Factors out{};
  for (size_t i = 0; i < kNumFactors; ++i) {
    out.values[i] = value(static_cast<Factor>(i), *owners[static_cast<size_t>(kInfos[i].owner)]);
  }
  return out;
}

namespace {

Json to_json(const std::array<FactorTable::Values, 3>& by_kind) {
  Json json = Json::object();
  for (size_t kind = 0; kind < by_kind.size(); ++kind) {
    Json& owners = json[name_of(static_cast<FactorOwner>(kind))] = Json::object();
    for (const auto& [owner, values] : by_kind[kind]) {
      for (const auto& [factor, value] : values) owners[owner][info_of(factor).name] = value;
    }
  }
  return json;
}

struct Span {
  double low = 0, high = 0;
};

// `span_of(info)`: what a value of the factor may be.
template <typename SpanOf>
std::optional<Error> read_owners(Fields* top, const std::string& file, const std::string& prefix,
                                 SpanOf&& span_of, std::array<FactorTable::Values, 3>* out) {
  for (size_t kind = 0; kind < out->size(); ++kind) {
    const std::string name = name_of(static_cast<FactorOwner>(kind));
    if (!top->has(name)) continue;
    for (const auto& [owner, values] : top->object(name).items()) {
      Fields fields(values, file, prefix + name + "." + owner + ".");
      for (size_t i = 0; i < kNumFactors; ++i) {
        const FactorInfo& info = kInfos[i];
        if (info.owner != static_cast<FactorOwner>(kind) || !fields.has(info.name)) continue;
        const Span span = span_of(info);
        (*out)[kind][owner][static_cast<Factor>(i)] = fields.number(info.name, span.low, span.high);
      }
      if (auto error = fields.finish()) return error;
    }
  }
  return std::nullopt;
}

}  // namespace

Json to_json(const FactorTable& table) {
  Json json = to_json(table.of);
  json["uncertainty"] = to_json(table.uncertainty);
  for (size_t i = 0; i < kNumFactors; ++i) {
    json["usual"][kInfos[i].name] = table.usual[i];
    json["spread"][kInfos[i].name] = table.spread[i];
    json["within"][kInfos[i].name] = table.within[i];
  }
  return json;
}

Result<FactorTable> read_factors(const Json& json, const std::string& file) {
  FactorTable table;
  Fields top(json, file);
  for (const auto& [name, values] :
       {std::pair{"usual", &table.usual}, {"spread", &table.spread}, {"within", &table.within}}) {
    if (!top.has(name)) continue;
    Fields fields(top.object(name), file, std::string(name) + ".");
    for (size_t i = 0; i < kNumFactors; ++i) {
      (*values)[i] = fields.number_or(kInfos[i].name, (*values)[i], 1e-9, 1e3);
    }
    if (auto error = fields.finish()) return *error;
  }
  const auto plausible = [](const FactorInfo& info) {
    return Span{info.low * 0.1, info.high * 10};
  };
  if (auto error = read_owners(&top, file, "", plausible, &table.of)) return *error;
  if (top.has("uncertainty")) {
    Fields doubts(top.object("uncertainty"), file, "uncertainty.");
    const auto some = [](const FactorInfo&) { return Span{1e-9, 1e3}; };
    if (auto error = read_owners(&doubts, file, "uncertainty.", some, &table.uncertainty)) {
      return *error;
    }
    if (auto error = doubts.finish()) return *error;
  }
  if (auto error = top.finish()) return *error;
  return table;
}

std::optional<Error> read_families(const Json& json, const std::string& file, FactorTable* table) {
  Fields top(json, file);
  top.text("schema");
  for (FactorOwner kind : {kDevice, kStack}) {
    const std::string name = name_of(kind);
    auto& members = table->family[static_cast<size_t>(kind)];
    for (const Json& one : top.array(name)) {
      Fields fields(one, file, name + "[].");
      const std::string family = fields.text("family");
      fields.text("reason");
      for (const Json& member : fields.array("members")) {
        const std::string owner = member.is_string() ? member.get<std::string>() : "";
        if (owner.empty() || owner == family || !members.emplace(owner, family).second) {
          fields.fail("members", quote(member), "names of owners, each in one family");
          break;
        }
      }
      if (auto error = fields.finish()) return error;
    }
  }
  return top.finish();
}

}  // namespace shardwright
