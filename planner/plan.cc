#include "planner/plan.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "costmodel/check.h"

namespace shardwright {

namespace {
constexpr std::array<const char*, kScheduleKinds> kScheduleNames = {
    "gpipe", "1f1b",   "breadth-first", "zb-h1",      "zb-h2",
    "zb-v",  "v-half", "dualpipe-v",    "synthesised"};
}  // namespace

const char* name_of(ScheduleKind kind) { return kScheduleNames.at(static_cast<size_t>(kind)); }

bool parse_schedule(const std::string& name, ScheduleKind* out) {
  const auto found = std::find(kScheduleNames.begin(), kScheduleNames.end(), name);
  if (found == kScheduleNames.end()) return false;
  *out = static_cast<ScheduleKind>(found - kScheduleNames.begin());
  return true;
}

std::string schedule_names() {
  std::string text = kScheduleNames.front();
  for (size_t i = 1; i < kScheduleNames.size(); ++i) {
    text += (i + 1 == kScheduleNames.size() ? " or " : ", ") + std::string(kScheduleNames[i]);
  }
  return text;
}

bool is_v_shaped(ScheduleKind kind, int64_t virtual_stages) {
  return kind == ScheduleKind::kZbV || kind == ScheduleKind::kVHalf ||
         kind == ScheduleKind::kDualPipeV ||
         (kind == ScheduleKind::kSynthesised && virtual_stages == 2);
}

bool splits_backward(ScheduleKind kind) {
  return kind == ScheduleKind::kZbH1 || kind == ScheduleKind::kZbH2 || kind == ScheduleKind::kZbV ||
         kind == ScheduleKind::kVHalf || kind == ScheduleKind::kDualPipeV ||
         kind == ScheduleKind::kSynthesised;
}

const char* name_of(Recompute recompute) {
  switch (recompute) {
    case Recompute::kNone:
      return "none";
    case Recompute::kFull:
      return "full";
    case Recompute::kSelective:
      return "selective";
  }
  return "?";
}

bool parse_recompute(const std::string& name, Recompute* out) {
  for (Recompute mode : {Recompute::kNone, Recompute::kFull, Recompute::kSelective}) {
    if (name != name_of(mode)) continue;
    *out = mode;
    return true;
  }
  return false;
}

int64_t Plan::microbatches() const {
  if (replica_batches.empty()) return global_batch / (dp * micro_batch);
  return *std::max_element(replica_batches.begin(), replica_batches.end()) / micro_batch;
}

std::string Plan::label() const {
  std::string text = "dp" + std::to_string(dp) + " tp" + std::to_string(tp) + " pp" +
                     std::to_string(pp) + " mb" + std::to_string(micro_batch) + " " +
                     name_of(schedule) + " " + name_of(recompute);
  const auto add = [&](const char* name, int64_t value, int64_t usual) {
    if (value != usual) text += std::string(" ") + name + std::to_string(value);
  };
  for (const std::string& module : names_of_modules(recompute_modules)) text += "+" + module;
  add("layers", recompute_layers, 0);
  add("v", virtual_stages, 1);
  add("held", schedule_cap, 0);
  add("cp", split.cp, 1);
  if (split.cp > 1 && split.cp_kind != CpKind::kRing)
    text += "-" + std::string(name_of(split.cp_kind));
  add("ep", split.ep, 1);
  add("etp", split.etp, 0);
  if (split.sequence_parallel) text += " sp";
  add("zero", zero, 0);
  add("group", shard_group, 0);
  if (optimizer_offload > 0) text += " offload";
  if (activation_offload > 0) {
    text += " away" + std::to_string(std::lround(100 * activation_offload)) + "%";
  }
  if (rank_order != RankOrder::kTpCpDpPp) text += std::string(" ") + name_of(rank_order);
  // Runs of equal batches: " batches 1x16+3x16".
  for (size_t i = 0; i < replica_batches.size();) {
    size_t end = i;
    while (end < replica_batches.size() && replica_batches[end] == replica_batches[i]) ++end;
    text += (i == 0 ? " batches " : "+") + std::to_string(replica_batches[i]) + "x" +
            std::to_string(end - i);
    i = end;
  }
  return text;
}

int64_t Placement::stage_of_chunk(int64_t chunk) const {
  return v_shaped ? std::min(chunk, 2 * pp - 1 - chunk) : chunk % pp;
}

int64_t Placement::chunk_of_stage(int64_t stage, int64_t k) const {
  return v_shaped && k == 1 ? 2 * pp - 1 - stage : stage + k * pp;
}

int64_t shards_of(const Plan& plan, bool experts) {
  const int64_t replicas = plan.dp * plan.split.cp;
  const int64_t group = plan.shard_group > 0 ? plan.shard_group : replicas;
  if (!experts || group == 1) return group;
  const int64_t block = plan.split.ep * plan.split.expert_tp(plan.tp);
  // Copies are as many on every rank: where blocks do not fill the group, what divides all holders.
  const int64_t holders = std::max<int64_t>(1, plan.tp * replicas / block);
  return std::gcd(holders, std::max<int64_t>(1, plan.tp * group / block));
}

int64_t stage_of_chunk(const Plan& plan, int64_t chunk) {
  return Placement{is_v_shaped(plan.schedule, plan.virtual_stages), plan.pp}.stage_of_chunk(chunk);
}

int64_t chunk_of_stage(const Plan& plan, int64_t stage, int64_t k) {
  return Placement{is_v_shaped(plan.schedule, plan.virtual_stages), plan.pp}.chunk_of_stage(stage,
                                                                                            k);
}

void set_usual_overlap(const Kernels& kernels, Plan* plan) {
  plan->overlap.pipeline = plan->virtual_stages > 1 || splits_backward(plan->schedule);
  if (kernels.expert_overlap) plan->overlap.experts = true;
}

ChunkShape chunk_shape(const Plan& plan, int64_t index) {
  const int64_t chunks = plan.pp * plan.virtual_stages;
  SW_CHECK_EQ(static_cast<int64_t>(plan.stage_layers.size()), chunks, plan.label());
  SW_CHECK(index >= 0 && index < chunks, "chunk " << index << " of " << chunks);
  ChunkShape chunk;
  const auto first = plan.stage_layers.begin();
  chunk.first_layer = std::accumulate(first, first + index, int64_t{0});
  chunk.num_layers = plan.stage_layers[index];
  chunk.embedding = index == 0;
  chunk.head = index == chunks - 1;
  chunk.mtp_layers = chunk.head ? plan.mtp_layers : 0;
  chunk.tp = plan.tp;
  chunk.split = plan.split;
  chunk.micro_batch = plan.micro_batch;
  chunk.seq = plan.seq;
  chunk.recompute = plan.recompute == Recompute::kFull;
  chunk.recompute_layers = plan.recompute_layers;
  if (plan.recompute == Recompute::kSelective) chunk.recompute_modules = plan.recompute_modules;
  chunk.type = plan.precision;
  chunk.gradient_type = plan.gradient_type;
  return chunk;
}

RankNumbering numbering_of(const Plan& plan) {
  return RankNumbering::of(plan.rank_order, plan.tp * plan.split.cp, plan.dp, plan.pp);
}

Coordinates coordinates_of(const Plan& plan, int64_t rank) {
  SW_CHECK(rank >= 0 && rank < plan.ranks(), "rank " << rank << " of " << plan.ranks());
  const RankNumbering numbering = numbering_of(plan);
  const int64_t cp = plan.split.cp, place = numbering.place_of(rank);
  return {place % plan.tp, place / (plan.tp * cp), numbering.stage_of(rank), place / plan.tp % cp};
}

int64_t rank_at(const Plan& plan, const Coordinates& at) {
  return numbering_of(plan).rank(at.stage, at.tp + plan.tp * (at.cp + plan.split.cp * at.dp));
}

}  // namespace shardwright
