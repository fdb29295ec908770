// The working of Estimator: what a plan's parts, chunks and stages take. For the files of the
// estimate only: estimate_prices.cc, estimate_chunks.cc, estimate_stages.cc, estimate.cc.
#pragma once

#include <array>
#include <vector>

#include "costmodel/steps.h"
#include "planner/estimate.h"

namespace shardwright {

// Copies between device and host: that 25 of the 32 GB/s per direction of PCIe 4 x16 are reached,
// and as much of other links, is assumed. The published runs with offload, five on GB300, only say
// that its link hides the copies.
constexpr double kHostLinkReached = 25.0 / 32;

class Estimator::Timer {
 public:
  // --- Times -------------------------------------------------------------------------------------
  // Seconds of one pass over a part of the model, by what is spent, and what the host has to
  // launch.
  struct Pass {
    double compute = 0, tp = 0, cp = 0, ep = 0;
    double tp_bare = 0;  // of tp, what products beside it do not cover; for plans that overlap it
    double steps = 0, moe = 0;
    void add(const Pass& other, double times) {
      compute += times * other.compute;
      tp += times * other.tp;
      tp_bare += times * other.tp_bare;
      cp += times * other.cp;
      ep += times * other.ep;
      steps += times * other.steps;
      moe += times * other.moe;
    }
  };

  struct PartTimes {
    Pass forward, again, backward;
    Pass weight;                    // of the backward, the products that make gradients of weights
    double dense = 0, experts = 0;  // parameters on this rank
    // Bytes of a layer's tensors that wait for its backward, and those that do if it is recomputed;
    // known for plans that copy them to the host.
    double saved = 0, saved_again = 0;
  };

  // One microbatch through one chunk.
  struct ChunkTimes {
    double forward = 0, backward = 0, backward_input = 0, backward_weight = 0;
    EstimateParts spent;  // compute, tensor, context, experts, sharding and host
    double dense = 0, experts = 0;
  };

  Timer(const ModelSpec& model, const ClusterSpec& cluster, const Kernels& kernels,
        const Factors& factors, int64_t rank);

  // Parts of the model are timed again only when a factor changes that they have.
  void set_factors(const Factors& factors) {
    for (const Factor factor :
         {Factor::kGemm, Factor::kFp8Gemm, Factor::kFlash2, Factor::kAttention, Factor::kUnaligned,
          Factor::kUnalignedBatch, Factor::kNodeLink, Factor::kNetwork, Factor::kPass,
          Factor::kStackAttention, Factor::kSpecialAttention, Factor::kQuantise,
          Factor::kPermute}) {
      if (factors.at(factor) != factors_.at(factor)) timed_ = false;
    }
    factors_ = factors;
  }
  Estimate estimate(const Plan& plan);
  const PlanPrices& prices(const Plan& plan);
  const PartSeconds& parts(const Plan& plan);

 private:
  double at(Factor factor) const { return factors_.at(factor); }
  double host_copy_s(double bytes) const { return bytes / host_bytes_per_s_; }

  // --- Prices (estimate_prices.cc) ---------------------------------------------------------------
  double gemm(const GemmWork& work);
  double gemm_anew(const GemmWork& work) const;
  double attention(const AttentionWork& work, int64_t layer) const;
  double pass(StepOp op, const PassWork& work) const;
  double collective(const CollectiveWork& work, const GroupPlacement& group) const;
  double collective(CollectiveKind kind, Axis axis, double bytes,
                    const GroupPlacement& group) const;
  GroupPlacement group_of(Axis axis) const;
  // Of places of a stage (RankNumbering).
  GroupPlacement group(int64_t stage, int64_t stride, int64_t size) const {
    return numbering_.group(stage, 0, stride, size);
  }
  double message_seconds(double bytes, int64_t from, int64_t to) const;
  void add_step(size_t index, Pass* pass_times);
  double product_beside_s(size_t index);
  // `weight`: where the products that make gradients of weights are added up apart, or null.
  Pass price(double moe, Pass* weight = nullptr);

  // --- Parts of the model (estimate_chunks.cc) ---------------------------------------------------
  PartTimes time_part(ChunkPart part, int64_t layer);
  void time_parts();
  bool same_layers(const Plan& plan) const;
  static bool same_expert_group(const Plan& a, const Plan& b);
  ChunkTimes time_chunk(int64_t index) const;
  // `sharding`: gathers and scatters of sharded weights; `copies`: of saved activations, from or to
  // the host.
  double pass_seconds(const Pass& spent, double sharding, double copies,
                      EstimateParts* parts) const;
  double sharded_s(CollectiveKind kind, const PartTimes& part, double size) const;
  double saved_bytes(int64_t layer, bool recompute) const;
  double beside(double compute, double communication) const {
    return std::max(compute, communication) + at(Factor::kDrag) * std::min(compute, communication);
  }

  // --- Stages and their ends (estimate_stages.cc)
  // -------------------------------------------------
  struct StageTimes {
    ChunkTimes all;  // of its chunks together, for one microbatch
    int64_t number = 0;
    double reduction = 0, gather = 0, update = 0;
  };
  bool same_kinds(int64_t before, int64_t first, int64_t index) const;
  void time_stages();
  double message_s(int64_t from, int64_t to) const;
  void time_ends();
  double left_of(double work, double pass) const;
  double sharded_bytes_s(CollectiveKind kind, double dense, double experts, double size,
                         int64_t stage) const;
  bool stages_lie_alike() const;
  bool stages_on_whole_nodes() const;
  double sum_s(Axis axis, double bytes, int64_t stage, int64_t stride, int64_t replicas,
               int64_t shard) const;
  double reduction_s(const StageTimes& stage) const;
  double gather_s(const StageTimes& stage) const;
  double update_s(const StageTimes& stage) const;

  // --- The whole step (estimate.cc) --------------------------------------------------------------
  struct Pipeline {
    double slowest = 0;                 // of a stage, for one microbatch
    const StageTimes* stage = nullptr;  // that one
    double seconds = 0;                 // filling, steady state, draining
  };
  void set_shape();
  Pipeline time_pipeline();
  void add_ends(double pipe, EstimateParts* parts);
  double tied_s() const;
  double clip_s() const;
  double per_step_s() const;
  double slowdown() const;

  const ModelSpec& model_;
  const ClusterSpec& cluster_;
  Kernels kernels_;
  Factors factors_;
  Pricer pricer_;
  double host_bytes_per_s_;                   // reached between device and host, one direction
  bool outgrown_flash_;                       // kernels of an older generation than the device
  std::vector<std::vector<int64_t>> before_;  // per kind: layers of it before each layer
  std::vector<int> example_;                  // per kind: one of its layers, or -1

  const Plan* plan_ = nullptr;
  RankNumbering numbering_;  // of plan_
  bool timed_ = false;       // kind_times_, embedding_, head_ and mtp_ are those of layers_of_
  Plan layers_of_;
  std::vector<ChunkTimes> chunks_;
  PlanPrices prices_;
  PartSeconds part_seconds_;
  struct KnownGemm {
    GemmWork work;
    double seconds = 0;
    int64_t of = 0;  // parts_timed_ when it was priced
  };
  static constexpr int kKnownGemmBits = 7;
  std::array<KnownGemm, 1 << kKnownGemmBits> known_gemms_;
  int64_t parts_timed_ = 0;  // how often parts of a plan were timed
  ChunkShape shape_;
  std::vector<Step> steps_;
  std::vector<PartTimes> kind_times_;
  PartTimes embedding_, head_, mtp_;
  std::vector<StageTimes> stages_;
  std::vector<double> messages_;  // between a stage and the next
};

}  // namespace shardwright
