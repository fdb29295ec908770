// A Plan: every choice that says how a training step is split over ranks. Nothing in it is a time.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "costmodel/memory.h"
#include "costmodel/units.h"

namespace shardwright {

enum class ScheduleKind { kGPipe, kOneFOneB };
const char* name_of(ScheduleKind kind);  // "gpipe", "1f1b"
bool parse_schedule(const std::string& name, ScheduleKind* out);

enum class Recompute { kNone, kFull };
const char* name_of(Recompute recompute);  // "none", "full"
bool parse_recompute(const std::string& name, Recompute* out);

struct Plan {
  int64_t dp = 1, tp = 1, pp = 1;  // degrees; dp * tp * pp = ranks
  int64_t micro_batch = 1;         // sequences per microbatch and replica
  int64_t global_batch = 1;        // sequences per step, all replicas together
  int64_t seq = 0;                 // tokens per sequence
  ScheduleKind schedule = ScheduleKind::kOneFOneB;
  Recompute recompute = Recompute::kNone;
  DataType precision = DataType::kFp32;
  OptimizerKind optimizer = OptimizerKind::kAdamW;
  std::vector<int64_t> stage_layers;  // [pp], sums to the model's layers

  int64_t ranks() const { return dp * tp * pp; }
  int64_t microbatches() const { return global_batch / (dp * micro_batch); }
  int64_t tokens_per_step() const { return global_batch * seq; }
  std::string label() const;  // "dp2 tp1 pp2 mb4 1f1b none", for tables
};

// What one rank of the plan holds. Stage 0 has the embedding, the last stage the head.
ChunkShape chunk_shape(const Plan& plan, int64_t stage);

// Ranks are numbered with tp fastest, then dp, then pp: neighbours in tp sit closest together.
struct Coordinates {
  int64_t tp = 0, dp = 0, stage = 0;
};
Coordinates coordinates_of(const Plan& plan, int64_t rank);
int64_t rank_at(const Plan& plan, const Coordinates& at);

}  // namespace shardwright
