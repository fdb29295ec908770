// Software: how a training framework's stack prices a plan and what memory it takes, for search and
// for everything that explains its answers.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "costmodel/stack.h"
#include "planner/estimate.h"
#include "planner/export/framework.h"
#include "planner/footprint.h"
#include "planner/legality.h"
#include "planner/rank_memory.h"
#include "planner/schedule/schedule.h"
#include "planner/search/layer_limits.h"

namespace shardwright {

// Memory that a device may use: `bytes`, or with 0 all that it has, less a share kept free.
struct MemoryLimit {
  Bytes bytes = 0;
  double headroom = 0;
};

// Where a cluster has several kinds of devices, a stage is as fast as its slowest and may use as
// much memory as its smallest.
class Software {
 public:
  // model and cluster must outlive this.
  Software(const ModelSpec& model, const ClusterSpec& cluster, Stack stack, MemoryStack memory);
  ~Software();
  // A stack by name or file, with its memory stack. Fails as load_stack does.
  static Result<std::unique_ptr<Software>> load(const ModelSpec& model, const ClusterSpec& cluster,
                                                const std::string& stack,
                                                const std::string& profiles_dir);

  // Whose options a plan has to be said in: "megatron", ... (export/framework.h), "any" for no
  // limits. The stack's own at first.
  std::optional<Error> plan_for(const std::string& framework);
  std::string framework() const;
  // Choices of the plan that it cannot express. What a user asked for is none of them: the model,
  // its precision and its optimizer.
  std::vector<Rejection> refusals(const Plan& plan) const;

  // What the framework always does, whatever a plan chooses: it decides these fields of a plan.
  void set_usual(Plan* plan) const;

  // Valid until the next call.
  const PlanPrices& prices(const Plan& plan);
  // On the fastest kind of device.
  const Estimator::PartSeconds& parts(const Plan& plan);
  // Layers per chunk as pinned, or so that the slowest chunk is as fast as possible within the
  // bounds. Empty: too few layers, or too many.
  std::vector<int64_t> share_layers(const Plan& plan, const LayerLimits& limits = {});
  // Shares the batch over replicas by the speed of their devices, so that the slowest is done as
  // early as possible (replica_shares.h). False, and nothing changed, where that is equally.
  bool share_batch(Plan* plan);
  // The same under the condition that every stage fits: moves layers from stages that do not to
  // others. False when there is no such sharing. REQUIRES: one chunk a stage, layers of one kind,
  // stage_layers of share_layers, none pinned.
  bool fit_layers(const MemoryLimit& limit, Plan* plan, const LayerLimits& limits = {});
  // What share_layers and fit_layers make as small as they can.
  double slowest_chunk_s(const Plan& plan);

  // As the device reports it, on the fullest stage.
  double device_bytes(const Plan& plan);
  std::vector<StageMemory> stages(const Plan& plan);
  RankMemory memory(const Plan& plan, int64_t stage);  // with the moment of the peak and its parts
  // What the fullest stage needs of what its devices may use; up to 1 fits.
  double fullest_share(const Plan& plan, const MemoryLimit& limit);
  double emptiest_share(const Plan& plan, const MemoryLimit& limit);  // of the emptiest stage
  // The stage whose share that is, and what its devices may use.
  int64_t fullest_stage(const Plan& plan, const MemoryLimit& limit);
  double usable_bytes(const Plan& plan, int64_t stage, const MemoryLimit& limit) const;
  double usable_bytes(const MemoryLimit& limit) const;  // of the smallest device of all
  Bytes available() const;  // memory of a device, the smallest of all kinds

  // The model as the framework runs it with so many tp ranks: some pad the vocabulary.
  const ModelSpec& model_for(int64_t tp);
  OrdersMemo& orders() { return orders_; }
  const ModelSpec& model() const { return model_; }
  const ClusterSpec& cluster() const { return cluster_; }
  const Stack& stack() const { return stack_; }
  const MemoryStack& memory_stack() const { return memory_; }

 private:
  struct ForTp;
  struct Kind {
    int64_t rank = 0;  // one with this device
    Bytes memory = 0;
    Factors factors;
  };
  ForTp& at(int64_t tp);
  void find_kinds();
  // Kinds of the devices of a stage's ranks, as indices of kinds_.
  std::vector<int> kinds_of(const Plan& plan, int64_t stage) const;
  // Of those of one replica.
  std::vector<int> kinds_of(const Plan& plan, int64_t stage, int64_t replica) const;
  // So many blocks of `block` ranks, the first at `first`, `apart` from each other.
  struct RankBlocks {
    int64_t first, block, apart, blocks;
  };
  std::vector<int> kinds_in(const RankBlocks& ranks) const;
  std::vector<ReplicaPrices> unlike_replicas(const Plan& plan);
  Bytes available_to(const Plan& plan, int64_t stage) const;
  const PlanPrices& mixed_prices(const Plan& plan);
  std::vector<double> chunk_speeds(const Plan& plan);

  const ModelSpec& model_;
  const ClusterSpec& cluster_;
  Stack stack_;
  MemoryStack memory_;
  std::optional<Framework> framework_;
  std::vector<Kind> kinds_;
  std::vector<int> kind_of_group_;  // by group of the cluster
  PlanPrices mixed_;
  OrdersMemo orders_;
  std::map<int64_t, std::unique_ptr<ForTp>> for_tp_;
};

}  // namespace shardwright
