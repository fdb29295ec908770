// A Plan: every choice that says how a training step is split over ranks. Nothing in it is a time.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "costmodel/kernels.h"
#include "costmodel/memory.h"
#include "costmodel/units.h"
#include "planner/rank_order.h"

namespace shardwright {

// Pipeline schedules; each is described in its file of planner/schedule/. 1F1B with virtual_stages
// above 1 is interleaved 1F1B.
enum class ScheduleKind : uint8_t {
  kGPipe,
  kOneFOneB,
  kBreadthFirst,
  kZbH1,
  kZbH2,
  kZbV,
  kVHalf,
  kDualPipeV,
  kSynthesised,  // list scheduling over the times of this plan's chunks
};
constexpr int kScheduleKinds = 9;
const char* name_of(ScheduleKind kind);  // "gpipe", "1f1b", "breadth-first", "zb-h1", ...
bool parse_schedule(const std::string& name, ScheduleKind* out);
std::string schedule_names();  // all of them, for messages
// Two chunks a stage, laid down the stages and back up: chunk c on stage min(c, 2 pp - 1 - c). The
// synthesised schedule of two chunks a stage too: every stage then has an early and a late chunk
// and needs as much memory as the others.
bool is_v_shaped(ScheduleKind kind, int64_t virtual_stages = 1);
// Backwards, or some of them, are two instructions: gradients of inputs, then (later) of weights.
bool splits_backward(ScheduleKind kind);

// Times of one chunk for one microbatch, in units that a schedule only compares.
struct ChunkUnits {
  int64_t forward = 1, backward_input = 1, backward_weight = 1;
  friend bool operator==(const ChunkUnits&, const ChunkUnits&) = default;
};

// Selective: the parts named by Plan::recompute_modules, of every layer.
enum class Recompute { kNone, kFull, kSelective };
const char* name_of(Recompute recompute);  // "none", "full", "selective"
bool parse_recompute(const std::string& name, Recompute* out);

// Which communication runs beside compute instead of between it.
struct Overlap {
  bool gradients = true;   // their reduction in buckets, behind the last backward
  bool parameters = true;  // gathers of sharded weights, behind the forward before they are used
  bool tensor = false;     // tp collectives, with the matrix product beside them
  bool pipeline = true;    // messages between stages
  bool experts = false;    // all-to-all of one microbatch behind the compute of another
  friend bool operator==(const Overlap&, const Overlap&) = default;
};

struct Plan {
  int64_t dp = 1, tp = 1, pp = 1;  // degrees; dp * tp * pp = ranks
  int64_t micro_batch = 1;         // sequences per microbatch and replica
  int64_t global_batch = 1;        // sequences per step, all replicas together
  int64_t seq = 0;                 // tokens per sequence
  ScheduleKind schedule = ScheduleKind::kOneFOneB;
  Recompute recompute = Recompute::kNone;
  DataType precision = DataType::kFp32;
  OptimizerKind optimizer = OptimizerKind::kAdamW;
  // [pp * virtual_stages] chunks in model order, sums to the model's layers.
  std::vector<int64_t> stage_layers;

  // Of what follows plan.json writes only what differs from these defaults. compile() knows all of
  // it, the executor some (check_executable).
  Split split;                 // cp, ep, etp, sequence parallel; ranks = dp * cp * tp * pp
  int64_t virtual_stages = 1;  // chunks per stage
  RankOrder rank_order = RankOrder::kTpCpDpPp;
  // [dp] sequences per step of every replica, sums to global_batch; empty: all alike.
  std::vector<int64_t> replica_batches;
  // Of the synthesised schedule: what it was made for, by chunk, and the most chunk-microbatches
  // that a stage may hold.
  std::vector<ChunkUnits> schedule_units;
  int64_t schedule_cap = 0;
  int64_t zero = 0;  // sharded over replicas: 1 optimizer state, 2 and gradients, 3 and weights
  int64_t shard_group = 0;         // replicas that share one sharded copy; 0 = all of dp * cp
  int64_t mtp_layers = 0;          // of the model's multi-token-prediction modules, those trained
  int64_t recompute_layers = 0;    // full: of so many layers of each chunk; 0 = all
  uint32_t recompute_modules = 0;  // selective: RecomputeModule bits
  DataType gradient_type = DataType::kFp32;  // accumulated and reduced
  DataType moment_type = DataType::kFp32;    // of Adam's two moments
  bool master_weights = true;                // an fp32 copy beside 16-bit weights
  double optimizer_offload = 0;   // share of the optimizer state and its update on the host
  double activation_offload = 0;  // share of saved activations that travel to the host and back
  Overlap overlap;

  int64_t ranks() const { return dp * split.cp * tp * pp; }
  // Of every replica, or of the one that has most.
  int64_t microbatches() const;
  int64_t microbatches_of(int64_t replica) const {
    return replica_batches.empty() ? microbatches() : replica_batches[replica] / micro_batch;
  }
  int64_t tokens_per_step() const { return global_batch * seq; }
  // "dp2 tp1 pp2 mb4 1f1b none", and what differs from the defaults: " cp2 zero1".
  std::string label() const;
};

// Ranks that share one copy of what ZeRO shards, of the dense parameters or of the routed experts:
// a shard group of replicas holds every dense parameter tp ways, every expert ep * etp ways. A
// group of one shards nothing.
int64_t shards_of(const Plan& plan, bool experts);

// The stage of a chunk, and a stage's chunks: its k-th in model order, k < virtual_stages.
int64_t stage_of_chunk(const Plan& plan, int64_t chunk);
int64_t chunk_of_stage(const Plan& plan, int64_t stage, int64_t k);
// The same of a schedule alone.
struct Placement {
  bool v_shaped = false;
  int64_t pp = 1;
  int64_t stage_of_chunk(int64_t chunk) const;
  int64_t chunk_of_stage(int64_t stage, int64_t k) const;
};

// What published frameworks overlap whatever a plan says: plain 1F1B sends and receives between its
// computes; several chunks a stage and split backwards send beside them. All-to-all of experts as
// the stack's kernels do.
void set_usual_overlap(const Kernels& kernels, Plan* plan);

// One chunk of the plan, in model order. Chunk 0 has the embedding, the last one the head.
ChunkShape chunk_shape(const Plan& plan, int64_t chunk);

// Ranks are numbered as Plan::rank_order says: neighbours in tp sit closest together.
RankNumbering numbering_of(const Plan& plan);
struct Coordinates {
  int64_t tp = 0, dp = 0, stage = 0, cp = 0;
};
Coordinates coordinates_of(const Plan& plan, int64_t rank);
int64_t rank_at(const Plan& plan, const Coordinates& at);

}  // namespace shardwright
