#include "planner/legality.h"

#include <algorithm>
#include <array>

#include "costmodel/cluster_spec.h"
#include "planner/schedule/schedule.h"

namespace shardwright {
namespace {

constexpr int64_t kMaxBatch = int64_t{1} << 30;
constexpr int64_t kMaxSeq = int64_t{1} << 30;
constexpr double kMaxBytes = 1e18;  // what 64-bit sums of bytes hold with room to spare

struct Case {
  const ModelSpec& model;
  int64_t devices;
  const Plan& plan;
};

std::string text(int64_t value) { return std::to_string(value); }

// "" when `low` <= value <= `high`.
std::string outside(const char* name, int64_t value, int64_t low, int64_t high) {
  if (value >= low && value <= high) return "";
  return std::string(name) + " " + text(value) + " is not from " + text(low) + " to " + text(high);
}
std::string first_of(std::initializer_list<std::string> complaints) {
  for (const std::string& complaint : complaints) {
    if (!complaint.empty()) return complaint;
  }
  return "";
}
std::string undivided(int64_t count, const char* what, const char* axis, int64_t degree) {
  if (count % degree == 0) return "";
  return text(count) + " " + what + " are not divisible by " + axis + " " + text(degree);
}
// The first complaint over the kinds of layer.
template <typename Check>
std::string any_kind(const ModelSpec& model, Check&& check) {
  for (const LayerSpec& kind : model.kinds) {
    if (std::string complaint = check(kind); !complaint.empty()) return complaint;
  }
  return "";
}

std::string degrees(const Case& c) {
  return first_of(
      {outside("dp", c.plan.dp, 1, kMaxDevices), outside("tp", c.plan.tp, 1, kMaxDevices),
       outside("pp", c.plan.pp, 1, kMaxDevices), outside("cp", c.plan.split.cp, 1, kMaxDevices),
       outside("ep", c.plan.split.ep, 1, kMaxDevices),
       outside("etp", c.plan.split.etp, 0, kMaxDevices),
       outside("virtual_stages", c.plan.virtual_stages, 1, kMaxDevices),
       outside("zero", c.plan.zero, 0, 3)});
}
std::string sizes(const Case& c) {
  return first_of({outside("micro_batch", c.plan.micro_batch, 1, kMaxBatch),
                   outside("global_batch", c.plan.global_batch, 1, kMaxBatch),
                   outside("seq", c.plan.seq, 1, kMaxSeq)});
}

std::string ranks(const Case& c) {
  if (c.plan.ranks() == c.devices) return "";
  const std::string cp = c.plan.split.cp > 1 ? " * cp " + text(c.plan.split.cp) : "";
  return "dp " + text(c.plan.dp) + cp + " * tp " + text(c.plan.tp) + " * pp " + text(c.plan.pp) +
         " = " + text(c.plan.ranks()) + " ranks, but " + text(c.devices) + " devices are used";
}

std::string heads(const Case& c) {
  if (c.model.layer_list() && c.plan.tp > 1) {
    return "layers given by their operations are not split over tp " + text(c.plan.tp);
  }
  return any_kind(c.model, [&](const LayerSpec& kind) {
    return undivided(kind.attention.heads, "heads", "tp", c.plan.tp);
  });
}
std::string kv_heads(const Case& c) {
  return any_kind(c.model, [&](const LayerSpec& kind) {
    return kind.attention.mla() ? std::string()
                                : undivided(kind.attention.kv_heads, "KV heads", "tp", c.plan.tp);
  });
}
std::string ffn(const Case& c) {
  return any_kind(c.model, [&](const LayerSpec& kind) {
    return kind.moe.experts > 0
               ? std::string()
               : undivided(kind.mlp.ffn_hidden, "columns of the MLP", "tp", c.plan.tp);
  });
}
std::string expert_ffn(const Case& c) {
  return any_kind(c.model, [&](const LayerSpec& kind) {
    if (kind.moe.experts == 0) return std::string();
    const int64_t etp = c.plan.split.expert_tp(c.plan.tp);
    return first_of(
        {undivided(kind.moe.ffn_hidden, "columns of an expert", "tp", etp),
         undivided(kind.moe.shared_ffn_hidden, "columns of the shared experts", "tp", c.plan.tp)});
  });
}
std::string experts(const Case& c) {
  const Split& split = c.plan.split;
  if (split.ep == 1 && split.etp == 0) return "";
  return first_of({undivided(c.plan.tp * split.cp * c.plan.dp, "ranks of a stage", "ep * etp",
                             split.ep * split.expert_tp(c.plan.tp)),
                   any_kind(c.model, [&](const LayerSpec& kind) {
                     return kind.moe.experts == 0
                                ? std::string()
                                : undivided(kind.moe.experts, "experts", "ep", split.ep);
                   })});
}
std::string context(const Case& c) {
  return undivided(c.plan.seq, "tokens of a sequence", "cp", c.plan.split.cp);
}
// With dp outside pp the groups that cross replicas are runs of ranks; these are to be equally
// long.
std::string rank_order(const Case& c) {
  if (c.plan.rank_order == RankOrder::kTpCpDpPp || c.plan.pp == 1 || c.plan.dp == 1) return "";
  const RankNumbering numbering = numbering_of(c.plan);
  const Split& split = c.plan.split;
  const int64_t etp = split.expert_tp(c.plan.tp), holders = etp * split.ep;
  const int64_t replicas = c.plan.dp * split.cp, places = c.plan.tp * replicas;
  const int64_t all = places / holders;  // replicas of an expert
  const int64_t shards = shards_of(c.plan, false), expert_shards = shards_of(c.plan, true);
  const std::pair<int64_t, int64_t> groups[] = {
      {etp, split.ep},          {holders, all},
      {holders, expert_shards}, {holders * expert_shards, all / expert_shards},
      {c.plan.tp, shards},      {c.plan.tp * shards, replicas / shards}};
  for (const auto& [stride, size] : groups) {
    if (size <= 1 || (places % (stride * size) == 0 && numbering.is_regular(stride, size)))
      continue;
    return "groups of " + text(size) + " ranks " + text(stride) + " apart are cut unevenly by " +
           name_of(c.plan.rank_order) + " with tp * cp " + text(numbering.together);
  }
  return "";
}
std::string shards(const Case& c) {
  if (c.plan.shard_group == 0) return "";
  if (c.plan.shard_group < 0) return "shard_group " + text(c.plan.shard_group) + " is below 0";
  return undivided(c.plan.dp * c.plan.split.cp, "replicas", "shard_group", c.plan.shard_group);
}
std::string vocab(const Case& c) {
  // Without padding, which may leave a rank with nothing else.
  const int64_t share = ceil_div(c.model.vocab, c.plan.tp);
  if ((c.plan.tp - 1) * share < c.model.vocab) return "";
  return "shares of " + text(share) + " of " + text(c.model.vocab) + " rows leave the last of tp " +
         text(c.plan.tp) + " ranks without any";
}

std::string positions(const Case& c) {
  if (c.model.position != Position::kLearned || c.plan.seq <= c.model.max_positions) return "";
  return "seq " + text(c.plan.seq) + " is longer than the " + text(c.model.max_positions) +
         " learned positions";
}
// Replicas of unlike batches meet once a step: what they do together in every microbatch would wait
// for ever for the one that has fewer.
std::string replica_batches(const Case& c) {
  const Plan& p = c.plan;
  if (p.replica_batches.empty()) return "";
  if (static_cast<int64_t>(p.replica_batches.size()) != p.dp) {
    return text(static_cast<int64_t>(p.replica_batches.size())) + " entries for dp " + text(p.dp);
  }
  int64_t left = p.global_batch;
  for (int64_t batch : p.replica_batches) {
    if (batch < 1 || batch > p.global_batch || batch % p.micro_batch != 0) {
      return "a replica's " + text(batch) + " sequences are no multiple of micro_batch " +
             text(p.micro_batch);
    }
    left -= batch;
  }
  if (left != 0) {
    return "they sum to " + text(p.global_batch - left) + ", not to global_batch " +
           text(p.global_batch);
  }
  return unlike_batches_problem(p);
}
std::string batch(const Case& c) {
  if (!c.plan.replica_batches.empty()) return "";
  if (c.plan.global_batch % (c.plan.dp * c.plan.micro_batch) == 0) return "";
  return "global_batch " + text(c.plan.global_batch) + " is not divisible by dp " +
         text(c.plan.dp) + " * micro_batch " + text(c.plan.micro_batch);
}

std::string layers(const Case& c) {
  const int64_t chunks = c.plan.pp * c.plan.virtual_stages;
  if (c.model.layers() >= chunks - (c.plan.virtual_stages > 1 ? 2 : 0)) return "";
  return text(c.model.layers()) + " layers are fewer than pp " + text(c.plan.pp) +
         (c.plan.virtual_stages > 1 ? " * virtual_stages " + text(c.plan.virtual_stages) : "") +
         " stages";
}
std::string stage_layers(const Case& c) {
  const std::vector<int64_t>& stages = c.plan.stage_layers;
  const int64_t chunks = c.plan.pp * c.plan.virtual_stages;
  if (static_cast<int64_t>(stages.size()) != chunks) {
    return text(static_cast<int64_t>(stages.size())) + " entries for pp " + text(c.plan.pp) +
           (c.plan.virtual_stages > 1 ? " * virtual_stages " + text(c.plan.virtual_stages) : "");
  }
  int64_t left = c.model.layers();
  for (size_t stage = 0; stage < stages.size(); ++stage) {
    // Of many chunks the first may hold the embedding alone and the last the head.
    const bool end = c.plan.virtual_stages > 1 && (stage == 0 || stage + 1 == stages.size());
    if (stages[stage] < (end ? 0 : 1) || stages[stage] > c.model.layers()) {
      return "stage " + std::to_string(stage) + " has " + text(stages[stage]) + " of " +
             text(c.model.layers()) + " layers";
    }
    left -= stages[stage];
  }
  if (left == 0) return "";
  return "they sum to " + text(c.model.layers() - left) + ", not to " + text(c.model.layers()) +
         " layers";
}

std::string schedule(const Case& c) {
  ScheduleShape shape = schedule_shape(c.plan);
  if (c.plan.replica_batches.empty()) return schedule_problem(shape);
  for (int64_t batch : c.plan.replica_batches) {
    shape.microbatches = static_cast<int>(batch / c.plan.micro_batch);
    const std::string problem = schedule_problem(shape);
    if (!problem.empty()) return problem;
  }
  return "";
}

std::string microbatches(const Case& c) {
  const int64_t slots = c.plan.pp * c.plan.microbatches();
  if (slots <= kMaxPipelineSlots) return "";
  return "pp " + text(c.plan.pp) + " times " + text(slots / c.plan.pp) +
         " microbatches are more than " + text(kMaxPipelineSlots) + " slots";
}

// Elements that a token has in the widest place of a layer, times a handful of such places.
double elements_per_token(const ModelSpec& model, const LayerSpec& kind) {
  const AttentionSpec& a = kind.attention;
  const double attention =
      static_cast<double>(a.heads) * static_cast<double>(a.head_dim + a.v_head_dim) +
      2.0 * static_cast<double>(a.kv_width()) + static_cast<double>(a.q_lora_rank + a.kv_lora_rank);
  const double dense =
      static_cast<double>(std::max(kind.mlp.ffn_hidden, kind.moe.shared_ffn_hidden));
  const double routed = static_cast<double>(std::max(kind.moe.top_k, kind.moe.experts)) *
                        static_cast<double>(kind.moe.ffn_hidden + model.hidden);
  return 8 * static_cast<double>(model.hidden) + 2 * attention + 4 * (dense + routed);
}

std::string memory_range(const Case& c) {
  double per_token = static_cast<double>(c.model.vocab);
  for (int kind : c.model.layer_kind) {
    per_token += elements_per_token(c.model, c.model.kinds[kind]);
  }
  const double tokens = static_cast<double>(c.plan.global_batch) * static_cast<double>(c.plan.seq);
  if (tokens * per_token * 4 <= kMaxBytes) return "";
  return "global_batch " + text(c.plan.global_batch) + " * seq " + text(c.plan.seq) +
         " tokens need more than 1e18 bytes of activations";
}

struct Rule {
  const char* name;
  std::string (*check)(const Case&);
  bool first = false;  // the rules after it need this one
  bool needs_stages = false;
};
constexpr std::array<Rule, 20> kRules = {{{"degrees", degrees, true},
                                          {"sizes", sizes, true},
                                          {"ranks", ranks},
                                          {"heads", heads},
                                          {"kv_heads", kv_heads},
                                          {"ffn", ffn},
                                          {"expert_ffn", expert_ffn},
                                          {"experts", experts},
                                          {"context", context},
                                          {"shards", shards},
                                          {"rank_order", rank_order},
                                          {"vocab", vocab},
                                          {"positions", positions},
                                          {"replica_batches", replica_batches},
                                          {"batch", batch},
                                          {"layers", layers},
                                          {"schedule", schedule},
                                          {"microbatches", microbatches},
                                          {"memory_range", memory_range},
                                          {"stage_layers", stage_layers, false, true}}};

std::vector<Rejection> check(const Case& c, bool with_stages) {
  std::vector<Rejection> rejections;
  bool first = true;
  for (const Rule& rule : kRules) {
    if (first && !rule.first && !rejections.empty()) return rejections;
    first = rule.first;
    if (rule.needs_stages && !with_stages) continue;
    std::string what = rule.check(c);
    if (!what.empty()) rejections.push_back({rule.name, std::move(what)});
  }
  return rejections;
}

}  // namespace

std::vector<std::string> rule_names() {
  std::vector<std::string> names;
  for (const Rule& rule : kRules) names.push_back(rule.name);
  return names;
}

std::vector<Rejection> check_degrees(const ModelSpec& model, int64_t num_devices,
                                     const Plan& plan) {
  return check({model, num_devices, plan}, false);
}

std::vector<Rejection> check_plan(const ModelSpec& model, int64_t num_devices, const Plan& plan) {
  return check({model, num_devices, plan}, true);
}

std::string unlike_batches_problem(const Plan& plan) {
  if (plan.zero == 3) return "zero 3 gathers weights in every microbatch";
  const int64_t holders = plan.split.ep * plan.split.expert_tp(plan.tp);
  if ((plan.tp * plan.split.cp) % holders != 0) {
    return "experts of several replicas exchange tokens in every microbatch";
  }
  return "";
}

}  // namespace shardwright
