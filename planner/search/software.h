// Software: how a training framework's stack prices a plan and what memory it takes, for search and
// for everything that explains its answers.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "costmodel/stack.h"
#include "planner/estimate.h"
#include "planner/footprint.h"
#include "planner/rank_memory.h"

namespace shardwright {

class Software {
 public:
  // model and cluster must outlive this. REQUIRES: the cluster's devices are of one kind.
  Software(const ModelSpec& model, const ClusterSpec& cluster, Stack stack, MemoryStack memory);
  ~Software();
  // A stack by name or file, with its memory stack. Fails as load_stack does.
  static Result<std::unique_ptr<Software>> load(const ModelSpec& model, const ClusterSpec& cluster,
                                                const std::string& stack,
                                                const std::string& profiles_dir);

  // What the framework always does, whatever a plan chooses: it decides these fields of a plan.
  void set_usual(Plan* plan) const;

  // Valid until the next call.
  const PlanPrices& prices(const Plan& plan);
  const Estimator::PartSeconds& parts(const Plan& plan);
  Estimate estimate(const Plan& plan);

  // As the device reports it, on the fullest stage.
  double device_bytes(const Plan& plan);
  std::vector<StageMemory> stages(const Plan& plan);
  RankMemory memory(const Plan& plan, int64_t stage);  // with the moment of the peak and its parts
  Bytes available() const;                             // memory of a device

  // The model as the framework runs it with so many tp ranks: some pad the vocabulary.
  const ModelSpec& model_for(int64_t tp);
  const ModelSpec& model() const { return model_; }
  const ClusterSpec& cluster() const { return cluster_; }
  const Stack& stack() const { return stack_; }
  const MemoryStack& memory_stack() const { return memory_; }

 private:
  struct ForTp;
  ForTp& at(int64_t tp);

  const ModelSpec& model_;
  const ClusterSpec& cluster_;
  Stack stack_;
  MemoryStack memory_;
  Factors factors_;
  std::map<int64_t, std::unique_ptr<ForTp>> for_tp_;
};

}  // namespace shardwright
