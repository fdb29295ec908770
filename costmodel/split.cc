#include "costmodel/split.h"

#include <array>
#include <utility>

namespace shardwright {
namespace {

constexpr std::array<std::pair<RecomputeModule, const char*>, 7> kModules = {
    {{kRecomputeCoreAttention, "core_attn"},
     {kRecomputeNorms, "layernorm"},
     {kRecomputeMlp, "mlp"},
     {kRecomputeMoe, "moe"},
     {kRecomputeMoeActivation, "moe_act"},
     {kRecomputeLatentUp, "mla_up_proj"},
     {kRecomputeSharedExperts, "shared_experts"}}};

}  // namespace

const char* name_of(CpKind kind) { return kind == CpKind::kRing ? "ring" : "all_to_all"; }

bool parse_cp_kind(const std::string& name, CpKind* out) {
  *out = name == name_of(CpKind::kRing) ? CpKind::kRing : CpKind::kAllToAll;
  return name == name_of(*out);
}

std::vector<std::string> names_of_modules(uint32_t modules) {
  std::vector<std::string> names;
  for (const auto& [bit, name] : kModules) {
    if ((modules & bit) != 0) names.emplace_back(name);
  }
  return names;
}

bool parse_module(const std::string& name, uint32_t* bit) {
  for (const auto& [module, known] : kModules) {
    if (name != known) continue;
    *bit = module;
    return true;
  }
  return false;
}

}  // namespace shardwright
