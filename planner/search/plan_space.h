// PlanSpace: every way to split a model over a number of ranks that the planner considers, as a
// tree that search descends: mesh, then what a layer looks like, then the pipeline, then sharding.
//
//   mesh      dp * cp * tp * pp = ranks, all divisors; ep of the experts, etp 1 or tp; order of the
//             axes: dp outside pp too where there are both and ranks do not all share one link; of
//             unlike devices, where dp is outermost, batches of replicas equal or by speed
//   layer     microbatch, sequence parallel, kind of cp
//   pipeline  schedule and virtual stages; of the synthesised schedule what a stage may hold
//   leaf      recomputation (with the number of layers, when full) or, of plans that recompute
//             nothing, half or all saved activations on the host; ZeRO stage and shard group,
//             overlap of gradients and of gathered weights, optimizer on the host or not
//
// Layers per chunk are not enumerated: they follow from the times of the parts (chunk_layers.h),
// and where nothing fits with those from the stages' memory (memory_layers.h), unless they are
// pinned. Nor is what else the framework overlaps: it is usual, unless a constraint says otherwise.
#pragma once

#include <map>
#include <vector>

#include "costmodel/cluster_spec.h"
#include "costmodel/model_spec.h"
#include "planner/plan.h"
#include "planner/search/constraints.h"
#include "planner/search/layer_limits.h"

namespace shardwright {

struct Mesh {
  int64_t dp = 1, tp = 1, pp = 1, cp = 1, ep = 1, etp = 0;
  RankOrder order = RankOrder::kTpCpDpPp;
  bool unlike = false;  // the batch is shared over replicas by speed (Software::share_batch)
};
struct LayerChoice {
  int64_t micro_batch = 1;
  bool sequence_parallel = false;
  CpKind cp_kind = CpKind::kRing;
};
struct PipelineChoice {
  ScheduleKind schedule = ScheduleKind::kOneFOneB;
  int64_t virtual_stages = 1;
  int64_t cap = 0;  // of the synthesised schedule: chunk-microbatches that a stage may hold
};
struct RecomputeChoice {
  Recompute kind = Recompute::kNone;
  uint32_t modules = 0;
  double activation_offload = 0;
  bool nothing() const { return kind == Recompute::kNone && activation_offload == 0; }
};
struct ShardingChoice {
  int64_t zero = 0, shard_group = 0;
  bool overlap_gradients = true, overlap_parameters = true;
  double optimizer_offload = 0;
};

class PlanSpace {
 public:
  // `base` has what all plans share: batch, seq, precision, optimizer, types. All must outlive
  // this.
  PlanSpace(const ModelSpec& model, const ClusterSpec& cluster, int64_t ranks, const Plan& base,
            const Constraints& constraints);

  std::vector<Mesh> meshes() const;
  std::vector<LayerChoice> layers(const Mesh& mesh) const;
  const std::vector<PipelineChoice>& pipelines(int64_t pp) const;
  const std::vector<RecomputeChoice>& recomputations() const { return recomputations_; }
  const std::vector<ShardingChoice>& shardings(int64_t replicas) const;
  // Numbers of recomputed layers that full recomputation may take in a pipeline; 0 stands for all.
  std::vector<int64_t> recomputed_layers(int64_t pp, int64_t virtual_stages) const;

  // Plans below a pipeline, below a layer choice of a mesh, and of the whole space.
  int64_t leaves(const Mesh& mesh, const PipelineChoice& pipeline) const;
  int64_t leaves(const Mesh& mesh) const;
  int64_t candidates() const;

  // What is said of layers per chunk.
  const LayerLimits& layer_limits() const { return layer_limits_; }
  // From the overlaps that are usual to those that the constraints allow.
  void narrow_overlap(Plan* plan) const;

  // The plan of these choices, without stage_layers, recomputation and sharding.
  Plan plan_of(const Mesh& mesh, const LayerChoice& layer, const PipelineChoice& pipeline) const;
  static void set(const RecomputeChoice& choice, int64_t layers, Plan* plan);
  static void set(const ShardingChoice& choice, Plan* plan);

 private:
  std::vector<PipelineChoice> make_pipelines(int64_t pp) const;
  void add_synthesised(int64_t pp, int64_t most, std::vector<PipelineChoice>* out) const;
  std::vector<ShardingChoice> make_shardings(int64_t replicas) const;
  std::vector<RecomputeChoice> make_recomputations() const;
  std::vector<RankOrder> orders(const Mesh& mesh) const;
  void add_batches(Mesh mesh, std::vector<Mesh>* out) const;

  const ModelSpec& model_;
  int64_t ranks_;
  const Plan& base_;
  const Constraints& constraints_;
  const LayerLimits layer_limits_;
  int64_t experts_ = 0;   // of a layer; 0: a dense model
  bool one_link_ = true;  // joins all ranks
  bool unlike_ = false;   // there are several kinds of devices
  std::vector<RecomputeChoice> recomputations_;
  mutable std::map<int64_t, std::vector<PipelineChoice>> pipelines_;  // by pp
  mutable std::map<int64_t, std::vector<ShardingChoice>> shardings_;  // by replicas
  mutable std::map<std::pair<int64_t, int64_t>, int64_t> leaves_;     // by pp and replicas
};

// What a layer's time depends on beside its own choices: with dp outside pp the ranks of several
// replicas that share experts out have their stages between them, pp of them. 0: on nothing.
int64_t spread_of(const Plan& plan);

// Numbers of chunks a stage that are looked at unasked: as long as each other, or two.
inline bool usual_virtual_stages(int64_t layers_of_stage, int64_t virtual_stages) {
  return layers_of_stage % virtual_stages == 0 || virtual_stages == 2;
}
// Whether a schedule is defined for so many chunks a stage.
bool takes_virtual_stages(ScheduleKind schedule, int64_t virtual_stages);

}  // namespace shardwright
