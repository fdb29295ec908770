#include "planner/search/full_search.h"

#include <algorithm>
#include <limits>
#include <queue>
#include <tuple>
#include <unordered_map>

#include "costmodel/check.h"
#include "costmodel/pricer.h"
#include "planner/schedule/schedule.h"
#include "planner/search/answers.h"
#include "planner/search/known_choices.h"
#include "planner/search/leaf.h"
#include "planner/search/memory_layers.h"
#include "planner/search/pipeline_bound.h"
#include "planner/search/plan_space.h"
#include "planner/search/stack_simulation.h"

namespace shardwright {
namespace {

constexpr int64_t kProgressEvery = 256;

// Something that plans can still come from, and the time that none of them can beat.
struct Item {
  enum Kind : uint8_t { kLayers, kPipeline, kRecompute, kLeaf, kSimulated };
  double key = 0;
  int64_t order = 0;  // of two with the same bound the one found first
  Kind kind = kLayers;
  int mesh = 0, layer = 0, pipeline = 0;
  int recompute = 0;         // index into PlanSpace::recomputations()
  int plan = -1;             // index of a leaf, or of a simulated plan
  bool synthesised = false;  // of a simulated plan
  Bytes memory = 0;          // of a simulated plan
  friend bool operator<(const Item& a, const Item& b) {
    if (a.key != b.key) return a.key > b.key;
    // What may turn out to be as fast before what is; then a schedule that frameworks know, then
    // the plan that needs least memory.
    return std::tuple(a.kind, a.synthesised, a.memory, a.order) >
           std::tuple(b.kind, b.synthesised, b.memory, b.order);
  }
};

class Search {
 public:
  Search(Software& software, const SpaceRequest& request, const Plan& base)
      : software_(software),
        model_(software.model()),
        request_(request),
        space_(software.model(), software.cluster(), request.ranks, base, request.constraints),
        known_(software_, space_),
        meshes_(space_.meshes()),
        limit_(memory_limit_of(request)),
        answers_(request.top) {}

  SpaceResult run() {
    for (size_t mesh = 0; mesh < meshes_.size(); ++mesh) admit(static_cast<int>(mesh));
    while (!queue_.empty() && !answers_.full()) {
      if (++popped_ % kProgressEvery == 0 && stopped()) break;
      const Item item = queue_.top();
      queue_.pop();
      reached_ = item.key;
      switch (item.kind) {
        case Item::kLayers:
          expand_layers(item);
          break;
        case Item::kPipeline:
          expand_pipeline(item);
          break;
        case Item::kRecompute:
          expand_recompute(item);
          break;
        case Item::kLeaf:
          simulate_leaf(item);
          break;
        case Item::kSimulated:
          answers_.accept(std::move(simulated_[item.plan]));
          break;
      }
    }
    finish();
    return std::move(result_);
  }

 private:
  // --- From the space to layer choices -----------------------------------------------------------
  void admit(int mesh_index) {
    const Mesh& mesh = meshes_[mesh_index];
    const std::vector<LayerChoice> layers = space_.layers(mesh);
    const int64_t leaves = space_.leaves(mesh);
    if (leaves == 0) return;  // the constraints leave no pipeline there
    result_.stats.candidates += leaves * static_cast<int64_t>(layers.size());
    for (size_t i = 0; i < layers.size(); ++i) {
      Plan plan = space_.plan_of(mesh, layers[i], {});
      software_.set_usual(&plan);
      space_.narrow_overlap(&plan);
      if (refused(plan, leaves)) continue;
      push(
          {layers_bound_s(plan, whole_of(plan)), 0, Item::kLayers, mesh_index, static_cast<int>(i)},
          leaves);
    }
  }

  bool refused(const Plan& plan, int64_t leaves) {
    const std::vector<Rejection> rejections = check_degrees(model_, request_.ranks, plan);
    if (rejections.empty()) return false;
    count_rule(rejections.front(), leaves);
    return true;
  }
  void count_rule(const Rejection& rejection, int64_t leaves) {
    if (leaves == 0) return;
    result_.stats.pruned_rules += leaves;
    int64_t& count = result_.stats.by_rule[rejection.rule];
    if (count == 0) result_.rejections.push_back(rejection);
    count += leaves;
  }

  // Layers do not depend on dp and hardly on pp: priced once for all meshes that share the rest.
  const WholeSeconds& whole_of(const Plan& plan) {
    const Split& split = plan.split;
    uint64_t key = static_cast<uint64_t>(plan.tp);
    for (int64_t part : {split.cp, split.ep, split.etp + 1, plan.micro_batch, spread_of(plan)}) {
      key = key * 0x9E3779B97F4A7C15ULL + static_cast<uint64_t>(part);
    }
    key = key * 4 + (split.sequence_parallel ? 2 : 0) + (split.cp_kind == CpKind::kRing ? 1 : 0);
    const auto [entry, fresh] = wholes_.try_emplace(key);
    if (fresh) {
      const Estimator::PartSeconds& parts = software_.parts(plan);
      entry->second = {parts.whole, parts.pace, model_.layers()};
    }
    return entry->second;
  }

  // --- From a layer choice to its pipelines ------------------------------------------------------
  void expand_layers(const Item& item) {
    const Mesh& mesh = meshes_[item.mesh];
    const LayerChoice layer = space_.layers(mesh)[item.layer];
    const std::vector<PipelineChoice>& pipelines = space_.pipelines(mesh.pp);
    shares_.clear();
    for (size_t i = 0; i < pipelines.size(); ++i) {
      const int64_t leaves = space_.leaves(mesh, pipelines[i]);
      Plan plan = space_.plan_of(mesh, layer, pipelines[i]);
      if (!place_layers(mesh, &plan, leaves)) continue;
      std::vector<int64_t> by_memory = layers_that_fit(software_, known_, space_, limit_, plan);
      if (by_memory != plan.stage_layers) {
        plan.stage_layers = by_memory;
        by_memory_.emplace(std::tuple(item.mesh, item.layer, static_cast<int>(i)),
                           std::move(by_memory));
      }
      const PlanPrices& prices = software_.prices(plan);
      ++result_.stats.priced;
      push({pipeline_bound_s(plan, prices), 0, Item::kPipeline, item.mesh, item.layer,
            static_cast<int>(i)},
           leaves);
    }
  }

  // The schedule's rules, then batches of replicas and layers per chunk.
  bool place_layers(const Mesh& mesh, Plan* plan, int64_t leaves) {
    const std::string problem = schedule_problem(schedule_shape(*plan));
    if (!problem.empty()) {
      count_rule({"schedule", problem}, leaves);
      return false;
    }
    software_.set_usual(plan);
    space_.narrow_overlap(plan);
    if (mesh.unlike && !software_.share_batch(plan)) {
      count_rule({"replica_batches", "shared by speed they are equal"}, leaves);
      return false;
    }
    const auto [entry, fresh] = shares_.try_emplace(
        {plan->virtual_stages, is_v_shaped(plan->schedule, plan->virtual_stages)});
    if (fresh) entry->second = software_.share_layers(*plan, space_.layer_limits());
    plan->stage_layers = entry->second;
    if (refuses_pinned_layers(*plan, leaves)) return false;
    if (!plan->stage_layers.empty()) {
      if (plan->schedule == ScheduleKind::kSynthesised) {
        set_schedule_units(software_.prices(*plan), plan);
      }
      const std::optional<Rejection> refusal = known_.pipeline_refusal(*plan);
      if (refusal) count_rule(*refusal, leaves);
      return !refusal;
    }
    count_rule({"layers", std::to_string(model_.layers()) + " layers are too few or too many for " +
                              std::to_string(plan->pp * plan->virtual_stages) + " chunks"},
               leaves);
    return false;
  }

  // Layers that follow from the times are legal; a list that a user gives need not be.
  bool refuses_pinned_layers(const Plan& plan, int64_t leaves) {
    if (space_.layer_limits().of(plan.pp * plan.virtual_stages) == nullptr) return false;
    for (const Rejection& rejection : check_plan(model_, request_.ranks, plan)) {
      if (rejection.rule != "stage_layers") continue;
      count_rule(rejection, leaves);
      return true;
    }
    return false;
  }

  // --- From a pipeline to its recomputations -----------------------------------------------------
  // With the sharding that needs least memory: what does not fit then never fits, and of full
  // recomputation no fewer layers will do.
  void expand_pipeline(const Item& item) {
    Plan plan = plan_of(item);
    int64_t all_layers = 0;
    for (const RecomputeChoice& choice : space_.recomputations()) {
      all_layers += static_cast<int64_t>(known_.all_layers(choice, plan).size());
    }
    const std::vector<ShardingChoice> shardings = known_.shardings(
        plan, [&](const Rejection& rejection) { count_rule(rejection, all_layers); });
    if (shardings.empty()) return;
    for (size_t i = 0; i < space_.recomputations().size(); ++i) {
      const RecomputeChoice& choice = space_.recomputations()[i];
      PlanSpace::set(shardings.front(), &plan);
      const std::vector<int64_t> layers =
          known_.layers(choice, plan, [&](const Rejection& rejection) {
            count_rule(rejection, static_cast<int64_t>(shardings.size()));
          });
      const int64_t leaves = static_cast<int64_t>(layers.size() * shardings.size());
      if (layers.empty()) continue;
      auto fewest = static_cast<int64_t>(layers.size());
      for (const ShardingChoice& sharding : smallest_shardings(shardings)) {
        PlanSpace::set(choice, 0, &plan);
        PlanSpace::set(sharding, &plan);
        fewest = std::min(fewest, first_that_fits(&plan, layers));
      }
      if (fewest == static_cast<int64_t>(layers.size())) {
        result_.stats.pruned_memory += leaves;
        continue;
      }
      PlanSpace::set(choice, layers[fewest], &plan);
      PlanSpace::set(ShardingChoice(), &plan);
      const PlanPrices& prices = software_.prices(plan);
      ++result_.stats.priced;
      Item next = item;
      next.kind = Item::kRecompute;
      next.key = pipeline_bound_s(plan, prices);
      next.recompute = static_cast<int>(i);
      push(next, leaves);
    }
  }

  Plan plan_of(const Item& item) {
    const Mesh& mesh = meshes_[item.mesh];
    Plan plan = space_.plan_of(mesh, space_.layers(mesh)[item.layer],
                               space_.pipelines(mesh.pp)[item.pipeline]);
    shares_.clear();
    SW_CHECK(place_layers(mesh, &plan, 0), "a pipeline in the queue is legal");
    const auto found = by_memory_.find({item.mesh, item.layer, item.pipeline});
    if (found != by_memory_.end()) plan.stage_layers = found->second;
    return plan;
  }

  // --- From a recomputation to its leaves --------------------------------------------------------
  void expand_recompute(const Item& item) {
    Plan plan = plan_of(item);
    const RecomputeChoice& choice = space_.recomputations()[item.recompute];
    const std::vector<ShardingChoice> shardings = known_.shardings(plan);
    PlanSpace::set(shardings.front(), &plan);
    const std::vector<int64_t> layers = known_.layers(choice, plan);
    keeps_all_ = space_.recomputations().front().nothing();
    leaves_.clear();
    for (const ShardingChoice& sharding : shardings) {
      PlanSpace::set(choice, 0, &plan);
      PlanSpace::set(sharding, &plan);
      consider(item, plan, layers);
    }
  }

  // What is not recomputed or taken to the host takes no time: of plans that differ in this alone,
  // only the first that fits is looked at.
  void consider(const Item& item, Plan& plan, const std::vector<int64_t>& layers) {
    const auto count = static_cast<int64_t>(layers.size());
    if (fits_without_recompute(plan)) {
      result_.stats.pruned_bound += count;
      return;
    }
    const int64_t fitting = first_that_fits(&plan, layers);
    result_.stats.pruned_memory += fitting;
    if (fitting == count) return;
    result_.stats.pruned_bound += count - fitting - 1;
    add_leaf(item, plan);
  }
  bool fits_without_recompute(const Plan& plan) {
    const bool nothing = plan.recompute == Recompute::kNone && plan.activation_offload == 0;
    if (nothing || !keeps_all_) return false;
    Plan whole = plan;
    PlanSpace::set(RecomputeChoice(), 0, &whole);
    return software_.fullest_share(whole, limit_) <= 1;
  }

  // The more layers are recomputed the less memory is needed: bisection over their numbers, of
  // which the last, 0, means all.
  int64_t first_that_fits(Plan* plan, const std::vector<int64_t>& layers) {
    int64_t low = 0, high = static_cast<int64_t>(layers.size());
    while (low < high) {
      const int64_t middle = low + (high - low) / 2;
      plan->recompute_layers = layers[middle];
      const double share = software_.fullest_share(*plan, limit_);
      if (share <= 1) {
        high = middle;
      } else {
        low = middle + 1;
        remember_nearest(*plan, share);
      }
    }
    if (low < static_cast<int64_t>(layers.size())) {
      plan->recompute_layers = layers[low];
      memory_share_ = software_.fullest_share(*plan, limit_);
    }
    return low;
  }

  void add_leaf(const Item& item, const Plan& plan) {
    const PlanPrices& prices = software_.prices(plan);
    ++result_.stats.priced;
    Leaf leaf{step_bound_s(plan, prices), memory_share_, step_ns(plan, prices)};
    const bool useless = leaf.bound_s > answers_.worst_s() ||
                         std::any_of(leaves_.begin(), leaves_.end(),
                                     [&](const Leaf& other) { return leaf.dominated_by(other); });
    if (useless) {
      ++result_.stats.pruned_bound;
      return;
    }
    plans_.push_back(plan);
    Item next = item;
    next.key = leaf.bound_s;
    next.kind = Item::kLeaf;
    next.plan = static_cast<int>(plans_.size()) - 1;
    push(next, 1);
    leaves_.push_back(std::move(leaf));
  }

  void remember_nearest(const Plan& plan, double share) {
    if (share >= nearest_share_) return;
    nearest_share_ = share;
    nearest_ = plan;
  }

  // --- From a leaf to a simulated plan -----------------------------------------------------------
  void simulate_leaf(const Item& item) {
    ++result_.stats.simulated;
    RankedPlan ranked = evaluate(software_, plans_[item.plan]);
    const double seconds = to_seconds(ranked.step_ns);
    SW_CHECK_LE(item.key, seconds, "bound and time of " << ranked.plan.label());
    Item done{seconds, 0, Item::kSimulated, item.mesh, item.layer, item.pipeline};
    done.plan = static_cast<int>(simulated_.size());
    done.synthesised = ranked.plan.schedule == ScheduleKind::kSynthesised;
    done.memory = ranked.memory_peak_bytes;
    answers_.note(ranked);
    simulated_.push_back(std::move(ranked));
    push(done, 0);
  }

  void push(Item item, int64_t count) {
    if (item.key > answers_.worst_s()) {
      result_.stats.pruned_bound += count;
      return;
    }
    item.order = order_++;
    waiting_ += count;
    queue_.push(item);
  }

  bool stopped() {
    if (!request_.progress) return false;
    const SpaceStats& stats = result_.stats;
    SpaceRequest::Progress progress;
    progress.candidates = stats.candidates;
    progress.decided =
        stats.pruned_rules + stats.pruned_memory + stats.pruned_bound + stats.simulated;
    progress.bound_s = reached_;
    for (const RankedPlan& plan : simulated_) {
      if (progress.best_s == 0 || plan.step_time_s < progress.best_s) {
        progress.best_s = plan.step_time_s;
      }
    }
    return !request_.progress(progress);
  }

  void finish() {
    SpaceStats& stats = result_.stats;
    stats.complete = queue_.empty() || answers_.full();
    if (!stats.complete) answers_.accept_best(&simulated_);
    result_.plans = std::move(answers_.plans());
    stats.lower_bound_s = reached_;
    if (!result_.plans.empty()) {
      const double best = result_.plans.front().step_time_s;
      stats.lower_bound_s = stats.complete ? best : std::min(best, reached_);
      stats.optimality_gap_pct = 100 * (best / stats.lower_bound_s - 1);
    }
    // What is left in the queue is slower than the plans returned, or was not looked at.
    const int64_t decided =
        stats.pruned_rules + stats.pruned_memory + stats.pruned_bound + stats.simulated;
    SW_CHECK_LE(decided, stats.candidates, "plans decided and candidates");
    stats.pruned_bound += stats.candidates - decided;
    if (result_.plans.empty() && nearest_) result_.nearest = evaluate(software_, *nearest_);
    if (!result_.plans.empty() || nearest_) result_.rejections.clear();
  }

  Software& software_;
  const ModelSpec& model_;
  const SpaceRequest& request_;
  PlanSpace space_;
  KnownChoices known_;
  std::vector<Mesh> meshes_;
  MemoryLimit limit_;

  std::priority_queue<Item> queue_;
  std::vector<Plan> plans_;            // of leaves
  std::vector<RankedPlan> simulated_;  // empty stages: given away as a result
  Answers answers_;
  double reached_ = 0;  // no plan that is still open is faster
  int64_t order_ = 0, popped_ = 0, waiting_ = 0;

  std::unordered_map<uint64_t, WholeSeconds> wholes_;
  std::map<std::pair<int64_t, bool>, std::vector<int64_t>> shares_;  // of the layers at hand
  // Of pipelines whose layers by speed do not fit, by mesh, layer choice and pipeline.
  std::map<std::tuple<int, int, int>, std::vector<int64_t>> by_memory_;
  std::vector<Leaf> leaves_;  // of the pipeline and recomputation at hand
  bool keeps_all_ = true;     // neither recomputing nor offloading is a choice
  double memory_share_ = 0;   // of the plan that first_that_fits found
  std::optional<Plan> nearest_;
  double nearest_share_ = std::numeric_limits<double>::infinity();
  SpaceResult result_;
};

}  // namespace

Result<SpaceResult> search_space(Software& software, const SpaceRequest& given) {
  if (auto error = check_request(software, given)) return *error;
  SpaceRequest request = given;
  if (request.ranks == 0) request.ranks = software.cluster().num_devices();
  const Plan base = base_plan(software.model(), request);
  const PlanSpace space(software.model(), software.cluster(), request.ranks, base,
                        request.constraints);
  if (space.meshes().empty()) {
    return Error{"command line", "pin", "no degrees",
                 "some with dp * cp * tp * pp = " + std::to_string(request.ranks) + " ranks"};
  }
  SpaceResult result = Search(software, request, base).run();
  simulate_found(software, &result.plans);
  return result;
}

}  // namespace shardwright
