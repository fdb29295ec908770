#include "planner/plan.h"

#include <numeric>

#include "costmodel/check.h"

namespace shardwright {

const char* name_of(ScheduleKind kind) { return kind == ScheduleKind::kGPipe ? "gpipe" : "1f1b"; }

bool parse_schedule(const std::string& name, ScheduleKind* out) {
  for (ScheduleKind kind : {ScheduleKind::kGPipe, ScheduleKind::kOneFOneB}) {
    if (name != name_of(kind)) continue;
    *out = kind;
    return true;
  }
  return false;
}

const char* name_of(Recompute recompute) { return recompute == Recompute::kNone ? "none" : "full"; }

bool parse_recompute(const std::string& name, Recompute* out) {
  for (Recompute mode : {Recompute::kNone, Recompute::kFull}) {
    if (name != name_of(mode)) continue;
    *out = mode;
    return true;
  }
  return false;
}

std::string Plan::label() const {
  return "dp" + std::to_string(dp) + " tp" + std::to_string(tp) + " pp" + std::to_string(pp) +
         " mb" + std::to_string(micro_batch) + " " + name_of(schedule) + " " + name_of(recompute);
}

ChunkShape chunk_shape(const Plan& plan, int64_t stage) {
  SW_CHECK_EQ(static_cast<int64_t>(plan.stage_layers.size()), plan.pp, plan.label());
  SW_CHECK(stage >= 0 && stage < plan.pp, "stage " << stage << " of " << plan.pp);
  ChunkShape chunk;
  const auto first = plan.stage_layers.begin();
  chunk.first_layer = std::accumulate(first, first + stage, int64_t{0});
  chunk.num_layers = plan.stage_layers[stage];
  chunk.embedding = stage == 0;
  chunk.head = stage == plan.pp - 1;
  chunk.tp = plan.tp;
  chunk.micro_batch = plan.micro_batch;
  chunk.seq = plan.seq;
  chunk.recompute = plan.recompute == Recompute::kFull;
  chunk.type = plan.precision;
  return chunk;
}

Coordinates coordinates_of(const Plan& plan, int64_t rank) {
  SW_CHECK(rank >= 0 && rank < plan.ranks(), "rank " << rank << " of " << plan.ranks());
  return {rank % plan.tp, rank / plan.tp % plan.dp, rank / (plan.tp * plan.dp)};
}

int64_t rank_at(const Plan& plan, const Coordinates& at) {
  return at.tp + plan.tp * (at.dp + plan.dp * at.stage);
}

}  // namespace shardwright
