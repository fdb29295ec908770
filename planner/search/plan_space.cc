#include "planner/search/plan_space.h"

#include <algorithm>

#include "planner/schedule/schedule.h"
#include "planner/space.h"

namespace shardwright {
namespace {

std::string joined(uint32_t modules) {
  std::string text;
  for (const std::string& name : names_of_modules(modules)) {
    text += (text.empty() ? "" : "+") + name;
  }
  return text;
}

int64_t experts_of(const ModelSpec& model) {
  int64_t most = 0;
  for (const LayerSpec& kind : model.kinds) most = std::max(most, kind.moe.experts);
  return most;
}

// Sets of modules that save much for little first: each alone, and together with those before it.
std::vector<uint32_t> module_sets(const ModelSpec& model, bool moe) {
  std::vector<uint32_t> modules = {kRecomputeCoreAttention, kRecomputeNorms};
  const bool latent = std::any_of(model.kinds.begin(), model.kinds.end(),
                                  [](const LayerSpec& kind) { return kind.attention.mla(); });
  if (latent) modules.push_back(kRecomputeLatentUp);
  if (moe) {
    modules.push_back(kRecomputeMoeActivation);
    modules.push_back(kRecomputeMoe);
  } else {
    modules.push_back(kRecomputeMlp);
  }
  std::vector<uint32_t> sets;
  uint32_t all = 0;
  for (uint32_t module : modules) {
    all |= module;
    sets.push_back(module);
    if (all != module) sets.push_back(all);
  }
  return sets;
}

}  // namespace

int64_t spread_of(const Plan& plan) {
  const bool beyond_replica =
      plan.split.ep * plan.split.expert_tp(plan.tp) > plan.tp * plan.split.cp;
  return plan.rank_order == RankOrder::kTpCpPpDp && beyond_replica ? plan.pp : 0;
}

bool takes_virtual_stages(ScheduleKind schedule, int64_t v) {
  if (schedule == ScheduleKind::kSynthesised) return false;  // PlanSpace::add_synthesised
  if (is_v_shaped(schedule, 2)) return v == 2;
  if (schedule == ScheduleKind::kBreadthFirst) return v >= 2;
  return v == 1 || schedule == ScheduleKind::kOneFOneB;
}

PlanSpace::PlanSpace(const ModelSpec& model, const ClusterSpec& cluster, int64_t ranks,
                     const Plan& base, const Constraints& constraints)
    : model_(model),
      ranks_(ranks),
      base_(base),
      constraints_(constraints),
      layer_limits_(constraints),
      experts_(experts_of(model)),
      one_link_(cluster.groups.size() == 1 && ranks <= cluster.levels.front().size),
      recomputations_(make_recomputations()) {
  for (const NodeGroup& group : cluster.groups) {
    unlike_ = unlike_ || group.device != cluster.groups.front().device;
  }
}

std::vector<RecomputeChoice> PlanSpace::make_recomputations() const {
  std::vector<RecomputeChoice> out;
  const auto allowed = [&](const char* kind) { return constraints_.allows("recompute", kind); };
  for (const OffloadShare& offload : kOffloadShares) {
    if (!allowed("none") || !constraints_.allows("activation_offload", offload.name)) continue;
    out.push_back({Recompute::kNone, 0, offload.share});
  }
  if (!constraints_.allows("activation_offload", kOffloadShares[0].name)) return out;
  for (uint32_t set : module_sets(model_, experts_ > 0)) {
    if (allowed("selective") || (constraints_.pinned("recompute") == joined(set))) {
      if (allowed(joined(set).c_str()) || allowed("selective")) {
        out.push_back({Recompute::kSelective, set});
      }
    }
  }
  if (allowed("full")) out.push_back({Recompute::kFull, 0});
  return out;
}

std::vector<Mesh> PlanSpace::meshes() const {
  std::vector<Mesh> out;
  const std::vector<int64_t> eps =
      constraints_.allowed("ep", experts_ > 0 ? divisors(experts_) : std::vector<int64_t>{1});
  for (int64_t tp : constraints_.allowed("tp", divisors(ranks_))) {
    std::vector<int64_t> etps = {0};
    if (experts_ > 0) {
      etps.clear();
      if (constraints_.allows("etp", int64_t{1})) etps.push_back(1);
      if (tp > 1 && constraints_.allows("etp", tp)) etps.push_back(tp);
    }
    for (int64_t cp : constraints_.allowed("cp", divisors(ranks_ / tp))) {
      for (int64_t pp : constraints_.allowed("pp", divisors(ranks_ / tp / cp))) {
        const int64_t dp = ranks_ / tp / cp / pp;
        if (!constraints_.allows("dp", dp)) continue;
        for (int64_t ep : eps) {
          if (ep > tp * cp * dp) continue;
          for (int64_t etp : etps) {
            const Mesh mesh{dp, tp, pp, cp, ep, etp};
            for (RankOrder order : orders(mesh)) {
              Mesh ordered = mesh;
              ordered.order = order;
              add_batches(ordered, &out);
            }
          }
        }
      }
    }
  }
  return out;
}

void PlanSpace::add_batches(Mesh mesh, std::vector<Mesh>* out) const {
  const bool outermost = mesh.pp == 1 || mesh.order == RankOrder::kTpCpPpDp;
  const bool choice = unlike_ && outermost && mesh.dp > 1;
  for (bool unlike : {false, true}) {
    mesh.unlike = unlike;
    const bool allowed = constraints_.allows("unlike_batches", unlike);
    if (choice ? allowed : !unlike) out->push_back(mesh);
  }
}

// A pinned order that makes no difference to a mesh is its usual one.
std::vector<RankOrder> PlanSpace::orders(const Mesh& mesh) const {
  if (mesh.pp == 1 || mesh.dp == 1) return {RankOrder::kTpCpDpPp};
  std::vector<RankOrder> out;
  for (RankOrder order : {RankOrder::kTpCpDpPp, RankOrder::kTpCpPpDp}) {
    const bool makes_sense = order == RankOrder::kTpCpDpPp || !one_link_ ||
                             constraints_.pinned("rank_order").has_value();
    if (makes_sense && constraints_.allows("rank_order", name_of(order))) out.push_back(order);
  }
  return out;
}

std::vector<LayerChoice> PlanSpace::layers(const Mesh& mesh) const {
  std::vector<LayerChoice> out;
  const int64_t each = base_.global_batch / mesh.dp;
  const bool divides = each * mesh.dp == base_.global_batch;
  // A batch that the replicas cannot share equally is one choice, so that it is counted as refused.
  std::vector<int64_t> sizes =
      constraints_.allowed("micro_batch", divides ? divisors(each) : std::vector<int64_t>{1});
  if (const auto pinned = constraints_.pinned("micro_batch"); sizes.empty() && pinned) {
    sizes = {std::stoll(*pinned)};
  }
  for (int64_t size : sizes) {
    for (bool split : {false, true}) {
      if (split && mesh.tp == 1) continue;
      if (!constraints_.allows("sequence_parallel", split)) continue;
      for (CpKind kind : {CpKind::kRing, CpKind::kAllToAll}) {
        if (mesh.cp == 1 && kind != CpKind::kRing) continue;
        if (mesh.cp > 1 && !constraints_.allows("cp_kind", name_of(kind))) continue;
        out.push_back({size, split, kind});
      }
    }
  }
  return out;
}

std::vector<PipelineChoice> PlanSpace::make_pipelines(int64_t pp) const {
  std::vector<PipelineChoice> out;
  const auto consider = [&](ScheduleKind kind, int64_t v) {
    if (layer_limits_.take(pp * v) && constraints_.allows("schedule", name_of(kind)) &&
        constraints_.allows("virtual_stages", v)) {
      out.push_back({kind, v});
    }
  };
  if (pp == 1) {
    consider(ScheduleKind::kOneFOneB, 1);
    return out;
  }
  // Chunks of a stage as long as each other where the stages are; V-shaped schedules have two.
  const int64_t most = ceil_div(model_.layers(), pp);
  const bool pinned = constraints_.pinned("virtual_stages").has_value();
  const auto may_be = [&](int64_t v) {
    return usual_virtual_stages(most, v) || pinned || layer_limits_.of(pp * v) != nullptr;
  };
  for (int kind = 0; kind < kScheduleKinds; ++kind) {
    const auto schedule = static_cast<ScheduleKind>(kind);
    for (int64_t v = 1; v <= most; ++v) {
      if (may_be(v) && takes_virtual_stages(schedule, v)) consider(schedule, v);
    }
  }
  add_synthesised(pp, most, &out);
  return out;
}

// Caps: about half of what 1F1B holds on its fullest stage (V-Half), as much (ZB-H1, ZB-V), twice
// as much (ZB-H2); which of them fits the search finds out.
void PlanSpace::add_synthesised(int64_t pp, int64_t most, std::vector<PipelineChoice>* out) const {
  const ScheduleKind kind = ScheduleKind::kSynthesised;
  if (!constraints_.allows("schedule", name_of(kind))) return;
  const std::optional<std::string> pinned = constraints_.pinned("schedule_cap");
  for (int64_t v = 1; v <= std::min<int64_t>(2, most); ++v) {
    if (!constraints_.allows("virtual_stages", v) || !layer_limits_.take(pp * v)) continue;
    std::vector<int64_t> caps = {v * ((pp + 2) / 2), v * pp, v * 2 * pp};
    if (pinned) caps = {std::max<int64_t>(v, std::stoll(*pinned))};
    caps.erase(std::unique(caps.begin(), caps.end()), caps.end());
    for (int64_t cap : constraints_.allowed("schedule_cap", caps)) out->push_back({kind, v, cap});
  }
}

const std::vector<PipelineChoice>& PlanSpace::pipelines(int64_t pp) const {
  const auto found = pipelines_.find(pp);
  if (found != pipelines_.end()) return found->second;
  return pipelines_.emplace(pp, make_pipelines(pp)).first->second;
}

std::vector<ShardingChoice> PlanSpace::make_shardings(int64_t replicas) const {
  std::vector<ShardingChoice> out;
  for (int64_t zero = 0; zero <= 3; ++zero) {
    if (!constraints_.allows("zero", zero)) continue;
    std::vector<int64_t> groups = {0};
    // A group of one is no sharding; a group of all is written 0.
    for (int64_t group : zero == 0 || replicas == 1 ? std::vector<int64_t>{} : divisors(replicas)) {
      if (group > 1 && group < replicas) groups.push_back(group);
    }
    if (zero > 0 && replicas == 1) continue;
    for (int64_t group : constraints_.allowed("shard_group", groups)) {
      for (bool gradients : {true, false}) {
        if (!gradients && replicas == 1) continue;
        if (!constraints_.allows("overlap_gradients", gradients)) continue;
        for (bool parameters : {true, false}) {
          if (!parameters && zero == 0) continue;
          if (!constraints_.allows("overlap_parameters", parameters)) continue;
          for (bool offload : {false, true}) {
            if (!constraints_.allows("optimizer_offload", offload)) continue;
            out.push_back({zero, group, gradients, parameters, offload ? 1.0 : 0.0});
          }
        }
      }
    }
  }
  return out;
}

const std::vector<ShardingChoice>& PlanSpace::shardings(int64_t replicas) const {
  const auto found = shardings_.find(replicas);
  if (found != shardings_.end()) return found->second;
  return shardings_.emplace(replicas, make_shardings(replicas)).first->second;
}

std::vector<int64_t> PlanSpace::recomputed_layers(int64_t pp, int64_t virtual_stages) const {
  const int64_t most = ceil_div(model_.layers(), pp * virtual_stages);
  std::vector<int64_t> out;
  for (int64_t n = 1; n < most; ++n) {
    if (constraints_.allows("recompute_layers", n)) out.push_back(n);
  }
  if (constraints_.allows("recompute_layers", int64_t{0})) out.push_back(0);
  return out;
}

int64_t PlanSpace::leaves(const Mesh& mesh, const PipelineChoice& pipeline) const {
  int64_t recomputations = 0;
  for (const RecomputeChoice& choice : recomputations_) {
    recomputations +=
        choice.kind == Recompute::kFull
            ? static_cast<int64_t>(recomputed_layers(mesh.pp, pipeline.virtual_stages).size())
            : 1;
  }
  return recomputations * static_cast<int64_t>(shardings(mesh.dp * mesh.cp).size());
}

int64_t PlanSpace::leaves(const Mesh& mesh) const {
  const auto [entry, fresh] = leaves_.try_emplace({mesh.pp, mesh.dp * mesh.cp}, 0);
  if (fresh) {
    int64_t sum = 0;
    for (const PipelineChoice& pipeline : pipelines(mesh.pp)) sum += leaves(mesh, pipeline);
    entry->second = sum;
  }
  return entry->second;
}

int64_t PlanSpace::candidates() const {
  int64_t sum = 0;
  for (const Mesh& mesh : meshes()) {
    sum += static_cast<int64_t>(layers(mesh).size()) * leaves(mesh);
  }
  return sum;
}

void PlanSpace::narrow_overlap(Plan* plan) const {
  const auto narrow = [&](const char* name, bool matters, bool* value) {
    if (matters && !constraints_.allows(name, *value)) *value = !*value;
  };
  narrow("overlap_tensor", plan->tp > 1, &plan->overlap.tensor);
  narrow("overlap_pipeline", plan->pp > 1, &plan->overlap.pipeline);
  narrow("overlap_experts", plan->split.ep > 1, &plan->overlap.experts);
}

Plan PlanSpace::plan_of(const Mesh& mesh, const LayerChoice& layer,
                        const PipelineChoice& pipeline) const {
  Plan plan = base_;
  plan.dp = mesh.dp;
  plan.tp = mesh.tp;
  plan.pp = mesh.pp;
  plan.micro_batch = layer.micro_batch;
  plan.schedule = pipeline.schedule;
  plan.virtual_stages = pipeline.virtual_stages;
  plan.schedule_cap = pipeline.cap;
  plan.split.cp = mesh.cp;
  plan.split.cp_kind = layer.cp_kind;
  plan.split.ep = mesh.ep;
  plan.split.etp = mesh.etp == mesh.tp ? 0 : mesh.etp;
  plan.split.sequence_parallel = layer.sequence_parallel;
  plan.rank_order = mesh.order;
  return plan;
}

void PlanSpace::set(const RecomputeChoice& choice, int64_t layers, Plan* plan) {
  plan->recompute = choice.kind;
  plan->recompute_modules = choice.modules;
  plan->recompute_layers = layers;
  plan->activation_offload = choice.activation_offload;
}

void PlanSpace::set(const ShardingChoice& choice, Plan* plan) {
  plan->zero = choice.zero;
  plan->shard_group = choice.shard_group;
  plan->overlap.gradients = choice.overlap_gradients;
  plan->overlap.parameters = choice.overlap_parameters;
  plan->optimizer_offload = choice.optimizer_offload;
}

}  // namespace shardwright
