// How one stage's layers are split over its ranks, and what its backward computes again: the parts
// of a plan that decide the shapes of Steps and of saved tensors.
//
// A stage has tp * cp * dp ranks, tp fastest. For its routed experts the same ranks are
// etp * ep * edp, etp fastest: ep ranks share the experts out, edp ranks hold the same experts.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace shardwright {

// Context parallelism: keys and values travel around a ring while queries stay, or heads are
// exchanged for sequence around attention (Ulysses, arXiv 2309.14509).
enum class CpKind : uint8_t { kRing, kAllToAll };
const char* name_of(CpKind kind);  // "ring", "all_to_all"
bool parse_cp_kind(const std::string& name, CpKind* out);

struct Split {
  int64_t cp = 1;
  CpKind cp_kind = CpKind::kRing;
  int64_t ep = 1;
  int64_t etp = 0;                 // tensor parallel inside an expert; 0 = as tp
  bool sequence_parallel = false;  // the residual stream is split over tp by tokens (2205.05198)
  int64_t expert_tp(int64_t tp) const { return etp == 0 ? tp : etp; }
  friend bool operator==(const Split&, const Split&) = default;
};

// Parts of a layer that its backward can compute again instead of keeping them. A set is a sum of
// bits. Names are Megatron-Core's --recompute-modules.
enum RecomputeModule : uint32_t {
  kRecomputeCoreAttention = 1,  // scores, softmax and their product with the values
  kRecomputeNorms = 2,
  kRecomputeMlp = 4,  // a dense layer's MLP
  kRecomputeMoe = 8,  // router, dispatch, experts and combine
  kRecomputeMoeActivation = 16,
  kRecomputeLatentUp = 32,  // up-projections of latent attention
  kRecomputeSharedExperts = 64,
};
// "core_attn", "layernorm", "mlp", "moe", "moe_act", "mla_up_proj", "shared_experts".
std::vector<std::string> names_of_modules(uint32_t modules);
bool parse_module(const std::string& name, uint32_t* bit);

}  // namespace shardwright
