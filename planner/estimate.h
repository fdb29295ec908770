// The time of a training step in closed form, over the same Steps that simulate prices: one price
// per kind of layer instead of one per instruction. Covers every choice of a plan; where compile
// can make a Program too, both agree (tests/planner/estimate_test.cc).
//
//   T = (m - 1/v) t_slowest + (1/v) sum over stages of t_stage      filling, steady state, draining
//     + messages of filling and draining
//     + gradients, where the last backward does not hide them, update, clipping, gathered weights
//     + fixed cost, and waiting that grows with the nodes
//   t = forward + backward (+ recomputed forward) of one microbatch, each of them the smooth
//       maximum of the device's time and the host's.
// Communication beside compute: max(a, b) + drag * min(a, b); of tensor parallelism, each
// collective beside its own product.
#pragma once

#include <memory>

#include "costmodel/factors.h"
#include "costmodel/pricer.h"
#include "planner/plan.h"

namespace shardwright {

// Seconds of the slowest stage's rank, adding up to the step.
struct EstimateParts {
  double compute = 0;     // of all microbatches, recomputation included
  double tensor = 0;      // exposed tp collectives
  double context = 0;     // exposed cp exchanges
  double experts = 0;     // exposed expert all-to-all
  double sharding = 0;    // exposed gathers and scatters of sharded weights inside the passes
  double host = 0;        // device waiting for the host
  double bubble = 0;      // waiting for other stages, messages included
  double gradients = 0;   // exposed reduction
  double parameters = 0;  // exposed gather of updated weights
  double optimizer = 0;
  double fixed = 0;  // with skew
  double total() const {
    return compute + tensor + context + experts + sharding + host + bubble + gradients +
           parameters + optimizer + fixed;
  }
};
struct Estimate {
  double step_s = 0;
  EstimateParts parts;
};

// One microbatch through one chunk, seconds.
struct ChunkPrices {
  double forward = 0, backward = 0;  // recomputation is part of the backward
  // The backward in two parts: gradients of inputs with recomputation and all communication, and
  // the products that make gradients of weights.
  double backward_input = 0, backward_weight = 0;
  EstimateParts spent;  // forward and backward: compute, tensor, context, experts, sharding, host
  friend bool operator==(const ChunkPrices&, const ChunkPrices&) = default;
};
// What a stage does after its last backward, seconds, as far as passes do not hide it.
struct StagePrices {
  double reduction = 0, gather = 0, update = 0;
};
// Replicas of one kind among unlike ones (Plan::replica_batches): one that stands for them, with
// the most microbatches of them.
struct ReplicaPrices {
  int64_t replica = 0, microbatches = 0;
  std::vector<ChunkPrices> chunks;
};
// The prices of every instruction of a plan. `pace` stretches all of them: waiting that grows with
// the work; `fixed` comes on top once a step.
struct PlanPrices {
  std::vector<ChunkPrices> chunks;  // in model order
  // Of unlike replicas one entry a kind; `chunks` are then the slowest of all.
  std::vector<ReplicaPrices> replicas;
  std::vector<StagePrices> stages;
  std::vector<double> messages;  // from a chunk to the next, where they are on different stages
  double tied = 0, clip = 0;
  double pace = 1, fixed = 0;
};

// Loaded once for a model on a cluster; estimates any number of plans. Not for several threads at
// once. All ranks are taken to have the device of `rank`: clusters of several kinds of devices need
// an estimator for each (search/software.h).
class Estimator {
 public:
  // All but `kernels` and `factors` must outlive this.
  Estimator(const ModelSpec& model, const ClusterSpec& cluster, const Kernels& kernels,
            const Factors& factors, int64_t rank = 0);
  ~Estimator();
  // REQUIRES: the plan obeys the rules of legality.h and its precision has a peak.
  Estimate estimate(const Plan& plan);
  // As it is valid until the next call. Plans that follow each other and differ only in what does
  // not change a layer (pp, dp, schedule, sharding, ...) cost much less than the first.
  const PlanPrices& prices(const Plan& plan);
  // One layer of each kind, the embedding and the head for one microbatch: forward and backward.
  struct PartSeconds {
    std::vector<double> kinds;       // by kind of layer
    double embedding = 0, head = 0;  // the head with the multi-token-prediction modules
    // All layers, embedding and head as one chunk, without what full recomputation computes again:
    // chunks that hold them all together take at least as long.
    double whole = 0;
    double pace = 1;  // as in PlanPrices
  };
  // As it is valid until the next call.
  const PartSeconds& parts(const Plan& plan);
  void set_factors(const Factors& factors);

 private:
  class Timer;
  std::unique_ptr<Timer> timer_;
};

}  // namespace shardwright
